package handler

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/vfs"
)

func logDirsRequest(version int16, topics ...kmsg.DescribeLogDirsRequestTopic) *kmsg.DescribeLogDirsRequest {
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Version, req.Topics = version, topics
	return req
}

func logDirsTopic(name string, partitions ...int32) kmsg.DescribeLogDirsRequestTopic {
	return kmsg.DescribeLogDirsRequestTopic{Topic: name, Partitions: partitions}
}

// whereOf writes an answer as "DIR: TOPIC-PARTITION=SIZE/LAG ...; ...".
func whereOf(resp *kmsg.DescribeLogDirsResponse) string {
	var dirs []string
	for _, d := range resp.Dirs {
		text := d.Dir + ":"
		if d.ErrorCode != 0 {
			text += fmt.Sprintf(" error %d", d.ErrorCode)
		}
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				text += fmt.Sprintf(" %s-%d=%d/%d", t.Topic, p.Partition, p.Size, p.OffsetLag)
			}
		}
		dirs = append(dirs, text)
	}
	return strings.Join(dirs, "; ")
}

func TestDescribeLogDirs(t *testing.T) {
	b := startBrokerOn(t, vfs.NewMem(), "/a:/b")
	defer b.stop()
	b.create("t", 3)
	b.create("s", 1) // t-0 and t-2 are in /a, t-1 and s-0 in /b
	c := b.dial()
	defer c.close()
	first, second := values("v"), values("some", "more")
	c.produce("t", first)
	c.produce("t", second)
	size := len(first) + len(second)
	t0 := fmt.Sprintf("t-0=%d/0", size)
	for _, tc := range []struct {
		name   string
		topics []kmsg.DescribeLogDirsRequestTopic
		want   string
	}{
		{"all", nil, "/a: " + t0 + " t-2=0/0; /b: s-0=0/0 t-1=0/0"},
		{"no topic", []kmsg.DescribeLogDirsRequestTopic{}, "/a:; /b:"},
		{"no partition", []kmsg.DescribeLogDirsRequestTopic{logDirsTopic("t")}, "/a:; /b:"},
		{"a partition with records", []kmsg.DescribeLogDirsRequestTopic{logDirsTopic("t", 0)}, "/a: " + t0 + "; /b:"},
		{"a partition without a record", []kmsg.DescribeLogDirsRequestTopic{logDirsTopic("t", 1)}, "/a:; /b: t-1=0/0"},
		{"a partition twice", []kmsg.DescribeLogDirsRequestTopic{logDirsTopic("t", 1, 1)}, "/a:; /b: t-1=0/0"},
		{"a topic twice", []kmsg.DescribeLogDirsRequestTopic{logDirsTopic("t", 2), logDirsTopic("s", 0), logDirsTopic("t", 0)}, "/a: " + t0 + " t-2=0/0; /b: s-0=0/0"},
		{"an unknown topic", []kmsg.DescribeLogDirsRequestTopic{logDirsTopic("nobody", 0), logDirsTopic("s", 0)}, "/a:; /b: s-0=0/0"},
		{"unknown partitions", []kmsg.DescribeLogDirsRequestTopic{logDirsTopic("t", 3, -1)}, "/a:; /b:"},
		{"names that cannot be", []kmsg.DescribeLogDirsRequestTopic{logDirsTopic("not a name!", 0), logDirsTopic("", 0)}, "/a:; /b:"},
		{"the metadata", []kmsg.DescribeLogDirsRequestTopic{logDirsTopic("__cluster_metadata", 0)}, "/a:; /b:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for version := int16(1); version <= 5; version++ {
				got := ask[*kmsg.DescribeLogDirsResponse](c, logDirsRequest(version, tc.topics...))
				if tc.topics != nil && len(tc.topics) == 0 {
					req := logDirsRequest(version)
					req.Topics = tc.topics
					got = ask[*kmsg.DescribeLogDirsResponse](c, req)
				}
				wantCode(t, "describe log dirs", got.ErrorCode, nil)
				if where := whereOf(got); where != tc.want {
					t.Errorf("v%d: %s, want %s", version, where, tc.want)
				}
			}
		})
	}
}

// TestDescribeLogDirsVolume: from version 4 an answer has the size of the volume, where the system tells it.
func TestDescribeLogDirsVolume(t *testing.T) {
	mem := vfs.NewMem()
	mem.SetCapacity(1 << 20)
	b := startBrokerOn(t, mem, "/a:relative")
	defer b.stop()
	c := b.dial()
	defer c.close()
	for version := int16(1); version <= 5; version++ {
		got := ask[*kmsg.DescribeLogDirsResponse](c, logDirsRequest(version))
		total, usable := got.Dirs[0].TotalBytes, got.Dirs[0].UsableBytes
		if version < 4 && (total != -1 || usable != -1) || version >= 4 && (total != 1<<20 || usable <= 0 || usable >= total) {
			t.Errorf("v%d: %d of %d bytes", version, usable, total)
		}
		if want, _ := filepath.Abs("relative"); got.Dirs[1].Dir != want {
			t.Errorf("v%d: directory %s, want %s", version, got.Dirs[1].Dir, want)
		}
	}
	b.fs.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpUsage}, Err: syscall.ENOSYS})
	for _, d := range ask[*kmsg.DescribeLogDirsResponse](c, logDirsRequest(5)).Dirs {
		if d.ErrorCode != 0 || d.TotalBytes != -1 || d.UsableBytes != -1 {
			t.Errorf("a system that does not tell: %+v", d)
		}
	}
}

// TestDescribeLogDirsOffline: a directory whose disk failed says so and lists nothing; the others go on.
func TestDescribeLogDirsOffline(t *testing.T) {
	b := startBrokerOn(t, vfs.NewMem(), "/a:/b")
	defer b.stop()
	b.create("t", 2)
	c := b.dial()
	defer c.close()
	b.fs.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Path: "*.log", Err: syscall.EIO})
	_ = ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", values("v"))) // fails, and its directory
	got := ask[*kmsg.DescribeLogDirsResponse](c, logDirsRequest(5))
	want := fmt.Sprintf("/a: error %d; /b: t-1=0/0", kerr.KafkaStorageError.Code)
	if where := whereOf(got); where != want {
		t.Errorf("%s, want %s", where, want)
	}
	if d := got.Dirs[0]; d.TotalBytes != -1 || d.UsableBytes != -1 {
		t.Errorf("an offline directory has %d of %d bytes", d.UsableBytes, d.TotalBytes)
	}
}

// TestDescribeLogDirsLag: a log that is on disk but not served has no lag to tell.
func TestDescribeLogDirsLag(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.create("t", 1)
	c := b.dial()
	defer c.close()
	l := b.partition("t", 0).Log()
	tp := l.TopicPartition()
	tp.Topic = "unserved"
	if _, err := b.store.Create(tp, id, l.Config()); err != nil {
		t.Fatal(err)
	}
	got := ask[*kmsg.DescribeLogDirsResponse](c, logDirsRequest(5))
	if where := whereOf(got); where != "/data: t-0=0/0 unserved-0=0/-1" {
		t.Error(where)
	}
}

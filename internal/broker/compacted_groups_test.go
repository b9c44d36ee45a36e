package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// hoard commits offsets of many groups over and over, and knows what they have to be.
type hoard struct {
	t      *testing.T
	b      *Broker
	cl     *kgo.Client
	admin  *kadm.Client
	groups map[string]map[int32]string // group -> partition of the topic -> offset and metadata
}

const (
	hoardTopic      = "many"
	hoardPartitions = 100
)

// at goes on with a broker, which may be another one on the same files.
func (h *hoard) at(b *Broker) {
	h.t.Helper()
	if h.cl != nil {
		h.cl.Close()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		h.t.Fatal(err)
	}
	h.b, h.cl, h.admin = b, cl, kadm.NewClient(cl)
}

// commit commits an offset of every partition for a group.
func (h *hoard) commit(group string, round int) {
	h.t.Helper()
	var offsets kadm.Offsets
	if h.groups[group] == nil {
		h.groups[group] = make(map[int32]string)
	}
	for p := range int32(hoardPartitions) {
		o := kadm.Offset{Topic: hoardTopic, Partition: p, At: int64(round)*1000 + int64(p), LeaderEpoch: -1, Metadata: fmt.Sprintf("%s %d %d ", group, p, round) + strings.Repeat("x", 500)}
		offsets.Add(o)
		h.groups[group][p] = fmt.Sprintf("%d %s", o.At, o.Metadata)
	}
	if err := h.admin.CommitAllOffsets(h.t.Context(), group, offsets); err != nil {
		h.t.Fatal(err)
	}
}

// judge compares what every group has committed with what it should have.
func (h *hoard) judge(when string) {
	h.t.Helper()
	for group, want := range h.groups {
		fetched, err := h.admin.FetchOffsets(h.t.Context(), group)
		if err != nil {
			h.t.Fatalf("%s: %s: %v", when, group, err)
		}
		got := make(map[int32]string)
		fetched.Each(func(o kadm.OffsetResponse) {
			if o.Topic != hoardTopic || o.Err != nil {
				h.t.Errorf("%s: %s: %v", when, group, o)
			}
			got[o.Partition] = fmt.Sprintf("%d %s", o.At, o.Metadata)
		})
		if !maps.Equal(got, want) {
			h.t.Errorf("%s: %s has %d offsets, or others, not %d", when, group, len(got), len(want))
		}
	}
}

// described says how all groups are listed, and their members.
func (h *hoard) described() string {
	h.t.Helper()
	ctx := h.t.Context()
	list := kmsg.NewPtrListGroupsRequest()
	listed, err := list.RequestWith(ctx, h.cl)
	if err != nil {
		h.t.Fatal(err)
	}
	var lines []string
	for _, g := range listed.Groups {
		line := fmt.Sprintf("%s %s %s %s", g.Group, g.GroupType, g.ProtocolType, g.GroupState)
		classic := kmsg.NewPtrDescribeGroupsRequest()
		classic.Groups = []string{g.Group}
		consumer := kmsg.NewPtrConsumerGroupDescribeRequest()
		consumer.Groups = []string{g.Group}
		if g.GroupType == "consumer" {
			resp, err := consumer.RequestWith(ctx, h.cl)
			if err != nil {
				h.t.Fatal(err)
			}
			members, err := json.Marshal(resp.Groups[0].Members)
			if err != nil {
				h.t.Fatal(err)
			}
			line += fmt.Sprintf(" %d %s", resp.Groups[0].Epoch, members)
		} else {
			resp, err := classic.RequestWith(ctx, h.cl)
			if err != nil {
				h.t.Fatal(err)
			}
			for _, m := range resp.Groups[0].Members {
				line += fmt.Sprintf(" %s %s %x %x", m.MemberID, *m.InstanceID, m.ProtocolMetadata, m.MemberAssignment)
			}
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// compacted waits until the cleaner has left little of the topic of the coordinator.
func (h *hoard) compacted() {
	h.t.Helper()
	const most = 3 << 20 // the last values of all keys and the active segment; a round of a broker writes 5 MB
	waitUntil(h.t, "the topic is compacted", func() bool {
		dirs, err := h.admin.DescribeAllLogDirs(h.t.Context(), nil)
		if err != nil {
			h.t.Fatal(err)
		}
		size := int64(0)
		dirs.Each(func(d kadm.DescribedLogDir) {
			d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
				if p.Topic == config.OffsetsTopic {
					size += p.Size
				}
			})
		})
		return size < most
	})
}

// A member of each protocol: a static one of a classic group that goes to come back, and one of a consumer group. Their
// records are older than all commits that follow.
func (h *hoard) members() {
	h.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(h.b.Addr()), kgo.ConsumerGroup("classic"), kgo.InstanceID("one"), kgo.ConsumeTopics(hoardTopic),
		kgo.SessionTimeout(20*time.Minute), kgo.Balancers(kgo.RangeBalancer()))
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	polled := make(chan struct{})
	go func() { defer close(polled); cl.PollFetches(ctx) }()
	waitUntil(h.t, "the classic member has its partitions", func() bool {
		return strings.Contains(h.described(), "classic classic consumer Stable")
	})
	cancel()
	<-polled
	cl.Close()

	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.RebalanceTimeoutMillis = "modern", ids.NewUUID().String(), 60_000
	req.SubscribedTopicNames, req.Topics = []string{hoardTopic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	resp, err := req.RequestWith(h.t.Context(), h.cl)
	if err != nil || resp.ErrorCode != 0 {
		h.t.Fatalf("%+v, %v", resp, err)
	}
}

// What groups have committed, and who is in them, is the same after their topic was compacted and read anew, tombstones and
// all: after a stop, and after a power cut.
func TestCompactedGroupsAreWhatTheyWere(t *testing.T) {
	settings := [][2]string{
		{"offsets.topic.num.partitions", "1"}, {"offsets.topic.segment.bytes", "1048576"}, {"group.initial.rebalance.delay.ms", "0"},
		{"log.cleaner.backoff.ms", "20"}, {"log.cleaner.min.cleanable.ratio", "0.01"}, {"log.cleaner.delete.retention.ms", "1"},
		{"group.consumer.max.session.timeout.ms", "600000"}, {"group.consumer.session.timeout.ms", "600000"},
	}
	disk := vfs.NewMem()
	b := started(t, disk, settings...)
	h := &hoard{t: t, groups: make(map[string]map[int32]string)}
	h.at(b)
	if _, err := h.admin.CreateTopic(t.Context(), hoardPartitions, 1, nil, hoardTopic); err != nil {
		t.Fatal(err)
	}
	h.commit("left behind", 0)
	h.members()
	round := 0
	for _, when := range []string{"after a stop", "after a power cut"} {
		for range 10 {
			round++
			for g := range 8 {
				h.commit(fmt.Sprint("group-", g), round)
			}
		}
		h.forget(fmt.Sprint("gone ", when), fmt.Sprint("group-", round%8))
		h.compacted()
		h.judge("compacted")
		before := h.described()
		if when == "after a stop" {
			stopped(t, h.b)
			h.at(started(t, disk, settings...))
		} else {
			cut := disk.CrashClone(vfs.SomeUnsynced, 1)
			stopped(t, h.b)
			h.at(started(t, cut, settings...))
		}
		h.judge(when)
		if after := h.described(); after != before {
			t.Errorf("groups %s:\n%s\nbefore:\n%s", when, after, before)
		}
	}
	h.cl.Close()
	stopped(t, h.b)
}

// forget makes a group and deletes it, and deletes some offsets of another one.
func (h *hoard) forget(group, some string) {
	h.t.Helper()
	h.commit(group, 1)
	if err := h.deleteGroup(group); err != nil {
		h.t.Fatal(err)
	}
	h.groups[group] = map[int32]string{}
	var offsets kadm.TopicsSet
	for p := range int32(hoardPartitions / 2) {
		offsets.Add(hoardTopic, p)
		delete(h.groups[some], p)
	}
	deleted, err := h.admin.DeleteOffsets(h.t.Context(), some, offsets)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.commit("last", 1) // behind the tombstones
}

func (h *hoard) deleteGroup(group string) error {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{group}
	resp, err := req.RequestWith(h.t.Context(), h.cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Groups[0].ErrorCode)
}

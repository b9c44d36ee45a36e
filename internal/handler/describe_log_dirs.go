package handler

import (
	"cmp"
	"iter"
	"maps"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeLogDirs: v1-v5 (KIP-113)
//
//	v3 top-level error; v4 bytes of the volume (KIP-827); v5 cordoned (KIP-1066)
//
// The metadata log is not listed, as in Kafka. Gaps: no replica moves between directories and
// none of them can be cordoned, so is_future and is_cordoned are false.
func init() {
	register(kmsg.DescribeLogDirs, 1, 5, describeLogDirs, "a partition without a record has size 0 in the directory that it will be in")
}

// LogDirs tells of the data directories and of the logs in them; *log.Store does.
type LogDirs interface {
	Dirs() []log.DirInfo
	Volume(dir string) (totalBytes, usableBytes int64)
	All() iter.Seq[*log.Log]
}

// lagUnknown is the offset lag of a log that this broker does not serve.
const lagUnknown = -1

func describeLogDirs(h *Handlers, x *server.Exchange) {
	var req kmsg.DescribeLogDirsRequest
	if !decode(x, &req) {
		return
	}
	logs := h.logsByDir(askedOf(&req))
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	for _, d := range h.LogDirs.Dirs() {
		out := kmsg.NewDescribeLogDirsResponseDir()
		out.Dir, out.ErrorCode = d.Path, code(d.Err)
		if path, err := filepath.Abs(d.Path); err == nil {
			out.Dir = path
		}
		if d.Err == nil {
			out.TotalBytes, out.UsableBytes = h.LogDirs.Volume(d.Path)
			out.Topics = h.describeLogs(logs[d.Path])
		}
		resp.Dirs = append(resp.Dirs, out)
	}
	reply(x, resp)
}

// askedOf returns the partitions that a request names, nil for all.
func askedOf(req *kmsg.DescribeLogDirsRequest) map[ids.TopicPartition]bool {
	if req.Topics == nil {
		return nil
	}
	asked := map[ids.TopicPartition]bool{}
	for i := range req.Topics {
		for _, p := range req.Topics[i].Partitions {
			asked[ids.TopicPartition{Topic: req.Topics[i].Topic, Partition: p}] = true
		}
	}
	return asked
}

// logsByDir returns the logs that are asked for, by data directory, sorted.
func (h *Handlers) logsByDir(asked map[ids.TopicPartition]bool) map[string][]*log.Log {
	logs := map[string][]*log.Log{}
	for l := range h.LogDirs.All() {
		if asked == nil || asked[l.TopicPartition()] {
			logs[l.DataDir()] = append(logs[l.DataDir()], l)
		}
	}
	for in := range maps.Values(logs) {
		slices.SortFunc(in, func(a, b *log.Log) int {
			at, bt := a.TopicPartition(), b.TopicPartition()
			return cmp.Or(cmp.Compare(at.Topic, bt.Topic), cmp.Compare(at.Partition, bt.Partition))
		})
	}
	return logs
}

// describeLogs describes sorted logs of one directory.
func (h *Handlers) describeLogs(logs []*log.Log) []kmsg.DescribeLogDirsResponseDirTopic {
	var topics []kmsg.DescribeLogDirsResponseDirTopic
	for _, l := range logs {
		tp := l.TopicPartition()
		if n := len(topics); n == 0 || topics[n-1].Topic != tp.Topic {
			topics = append(topics, kmsg.DescribeLogDirsResponseDirTopic{Topic: tp.Topic})
		}
		t := &topics[len(topics)-1]
		t.Partitions = append(t.Partitions, kmsg.DescribeLogDirsResponseDirTopicPartition{
			Partition: tp.Partition, Size: l.SizeBytes(), OffsetLag: h.offsetLag(l),
		})
	}
	return topics
}

// offsetLag returns how far a log is behind what is committed.
func (h *Handlers) offsetLag(l *log.Log) int64 {
	tp := l.TopicPartition()
	p, err := h.Partitions.ByName([]byte(tp.Topic), tp.Partition)
	if err != nil || p.Log() != l {
		return lagUnknown
	}
	return max(0, int64(l.HighWatermark()-l.EndOffset()))
}

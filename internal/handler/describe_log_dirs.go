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
// The metadata log is not listed, as in Kafka. Gap: no directory can be cordoned, so is_cordoned is false.
func init() {
	register(kmsg.DescribeLogDirs, 1, 5, describeLogDirs, "a partition without a record has size 0 in the directory that it will be in")
}

// LogDirs tells of the data directories and of the logs in them; *log.Store does.
type LogDirs interface {
	Dirs() []log.DirInfo
	Volume(dir string) (totalBytes, usableBytes int64)
	All() iter.Seq[*log.Log]
	Moves() []log.MoveInfo
}

// lagUnknown is the offset lag of a log that this broker does not serve.
const lagUnknown = -1

func describeLogDirs(h *Handlers, x *server.Exchange) {
	var req kmsg.DescribeLogDirsRequest
	if !decode(x, &req) {
		return
	}
	replicas := h.replicasByDir(askedOf(&req))
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	for _, d := range h.LogDirs.Dirs() {
		out := kmsg.NewDescribeLogDirsResponseDir()
		out.Dir, out.ErrorCode = d.Path, code(d.Err)
		if path, err := filepath.Abs(d.Path); err == nil {
			out.Dir = path
		}
		if d.Err == nil {
			out.TotalBytes, out.UsableBytes = h.LogDirs.Volume(d.Path)
			out.Topics = describeReplicas(replicas[d.Path])
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

// dirReplica is what a data directory has of a partition.
type dirReplica struct {
	tp ids.TopicPartition
	kmsg.DescribeLogDirsResponseDirTopicPartition
}

// replicasByDir returns the logs that are asked for, and the copies of those that are being moved, by data
// directory, sorted.
func (h *Handlers) replicasByDir(asked map[ids.TopicPartition]bool) map[string][]dirReplica {
	replicas := map[string][]dirReplica{}
	add := func(dir string, tp ids.TopicPartition, size, lag int64, future bool) {
		if asked == nil || asked[tp] {
			replicas[dir] = append(replicas[dir], dirReplica{tp, kmsg.DescribeLogDirsResponseDirTopicPartition{
				Partition: tp.Partition, Size: size, OffsetLag: lag, IsFuture: future,
			}})
		}
	}
	for l := range h.LogDirs.All() {
		add(l.DataDir(), l.TopicPartition(), l.SizeBytes(), h.offsetLag(l), false)
	}
	for _, m := range h.LogDirs.Moves() {
		add(m.Dir, m.TopicPartition, m.SizeBytes, m.OffsetLag, true)
	}
	for in := range maps.Values(replicas) {
		slices.SortFunc(in, func(a, b dirReplica) int {
			return cmp.Or(cmp.Compare(a.tp.Topic, b.tp.Topic), cmp.Compare(a.tp.Partition, b.tp.Partition))
		})
	}
	return replicas
}

// describeReplicas groups sorted replicas of one directory by topic.
func describeReplicas(replicas []dirReplica) []kmsg.DescribeLogDirsResponseDirTopic {
	var topics []kmsg.DescribeLogDirsResponseDirTopic
	for _, r := range replicas {
		if n := len(topics); n == 0 || topics[n-1].Topic != r.tp.Topic {
			topics = append(topics, kmsg.DescribeLogDirsResponseDirTopic{Topic: r.tp.Topic})
		}
		t := &topics[len(topics)-1]
		t.Partitions = append(t.Partitions, r.DescribeLogDirsResponseDirTopicPartition)
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

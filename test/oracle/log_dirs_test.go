package oracle

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeLogDirs asks where partitions lie and how large they are.
func (s *suite) describeLogDirs() {
	s.make("dirs", 3)
	s.quiet(at(9, s.produceTo("dirs", simple(3).encode(), rich().encode())))
	name := s.topic("dirs")
	ask := func(topic string, partitions ...int32) *kmsg.DescribeLogDirsRequest {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		t := kmsg.NewDescribeLogDirsRequestTopic()
		t.Topic, t.Partitions = topic, partitions
		req.Topics = append(req.Topics, t)
		return req
	}
	each(35, func(v int16) {
		s.good(v, "every topic", kmsg.NewPtrDescribeLogDirsRequest())
		s.good(v, "three partitions", ask(name, 2, 0, 1))
		s.good(v, "one partition", ask(name, 1))
		s.good(v, "a partition without a record", ask(name, 2))
		s.good(v, "a partition twice", ask(name, 0, 0))
		s.good(v, "no partition", ask(name))
		none := kmsg.NewPtrDescribeLogDirsRequest()
		none.Topics = []kmsg.DescribeLogDirsRequestTopic{}
		s.good(v, "no topic", none)
		several := ask(name, 0)
		several.Topics = append(several.Topics, ask(s.topic("idem"), 0).Topics[0], ask(s.topic("nosuch"), 0).Topics[0], ask(name, 1).Topics[0])
		s.good(v, "several topics, one of them twice", several)
		s.bad(v, "an unknown topic", ask(s.topic("nosuch"), 0))
		s.bad(v, "an unknown partition", ask(name, 1, 9))
		s.bad(v, "a partition below zero", ask(name, -1))
		s.bad(v, "an impossible name", ask("not a name!", 0))
		s.bad(v, "the metadata", ask("__cluster_metadata", 0))
	})
}

// alterReplicaLogDirs asks for moves that have nowhere to go: the broker of the oracle has one directory.
func (s *suite) alterReplicaLogDirs() {
	s.make("moved", 2)
	name := s.topic("moved")
	here := s.quiet(at(1, kmsg.NewPtrDescribeLogDirsRequest())).(*kmsg.DescribeLogDirsResponse).Dirs[0].Dir
	move := func(dir, topic string, partitions ...int32) *kmsg.AlterReplicaLogDirsRequest {
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		d := kmsg.NewAlterReplicaLogDirsRequestDir()
		d.Dir = dir
		d.Topics = []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: topic, Partitions: partitions}}
		req.Dirs = append(req.Dirs, d)
		return req
	}
	each(34, func(v int16) {
		s.good(v, "to where they are", move(here, name, 0, 1))
		s.good(v, "nothing", kmsg.NewPtrAlterReplicaLogDirsRequest())
		s.good(v, "no partition", move(here, name))
		s.bad(v, "to a directory that is none of the broker's", move("/nowhere/at/all", name, 0, 1))
		s.bad(v, "to a relative path", move("relative", name, 0))
		s.bad(v, "to no path", move("", name, 0))
		s.bad(v, "an unknown topic", move(here, s.topic("nosuch"), 0))
		s.bad(v, "an unknown topic to an unknown directory", move("/nowhere/at/all", s.topic("nosuch"), 0))
		s.bad(v, "unknown partitions", move(here, name, 7, -1, 1))
		s.bad(v, "the metadata", move(here, "__cluster_metadata", 0))
	})
}

// ofThisRun tells whether a line of a DescribeLogDirs answer is of a topic that this part made, or the metadata: what else
// there is belongs to the broker's past.
func (d *dumper) ofThisRun(path string) bool {
	_, topic, inside := strings.Cut(path, "Topics{")
	return !inside || strings.HasPrefix(topic, "~dirs") || strings.HasPrefix(topic, "~idem") || strings.HasPrefix(topic, "__cluster_metadata")
}

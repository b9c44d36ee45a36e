package sim

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// moveReplica has a partition go on in another data directory, and sometimes come back at once.
func (w *workload) moveReplica() error {
	p := w.anyPartition()
	for range 1 + w.rng.IntN(3) {
		if err := w.moveTo(p, w.dirs[w.rng.IntN(len(w.dirs))]); err != nil {
			return err
		}
		if w.chance(2) {
			time.Sleep(time.Millisecond) // it has moved then
		}
		if w.chance(2) {
			w.send(w.history.producers[w.rng.IntN(len(w.history.producers))], []*partition{p})
		}
	}
	return nil
}

func (w *workload) moveTo(p *partition, dir string) error {
	req := kmsg.NewPtrAlterReplicaLogDirsRequest()
	rd := kmsg.NewAlterReplicaLogDirsRequestDir()
	rd.Dir = dir
	rt := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
	rt.Topic, rt.Partitions = p.topic.name, []int32{p.index}
	rd.Topics = append(rd.Topics, rt)
	req.Dirs = append(req.Dirs, rd)
	resp, err := ask[*kmsg.AlterReplicaLogDirsResponse](w.admin, req, 2)
	if err != nil {
		return err
	}
	return refused(resp.Topics[0].Partitions[0].ErrorCode, "moving %s-%d to %s", p.topic.name, p.index, dir)
}

// lookAtDirs finds out in which data directories each partition is.
func (v *view) lookAtDirs(c *client) error {
	resp, err := ask[*kmsg.DescribeLogDirsResponse](c, kmsg.NewPtrDescribeLogDirsRequest(), 4)
	if err != nil {
		return err
	}
	byName := make(map[string]*topicView)
	for _, t := range v.topics {
		byName[t.name] = t
	}
	for _, d := range resp.Dirs {
		if err := refused(d.ErrorCode, "data directory %s", d.Dir); err != nil {
			return err
		}
		for _, dt := range d.Topics {
			t := byName[dt.Topic]
			for _, dp := range dt.Partitions {
				if t == nil || int(dp.Partition) >= len(t.partitions) {
					return fmt.Errorf("data directory %s has %s-%d, which nobody knows", d.Dir, dt.Topic, dp.Partition)
				}
				if !dp.IsFuture {
					p := t.partitions[dp.Partition]
					p.dirs = append(p.dirs, d.Dir)
				}
			}
		}
	}
	return nil
}

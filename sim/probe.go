package sim

import (
	"fmt"
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// target is a batch that a probe looks for.
type target struct {
	topic     *topicView
	partition int32
	batch     record.Batch
	offset    int64 // in it
}

// probesMax is how many partitions of a broker are probed.
const probesMax = 4

// probe looks for one batch of some partitions by offset and by time, as those do who do not
// read from the start: here the indexes count. cleaned says that no compaction takes them away meanwhile.
func (v *view) probe(c *client, rng *rand.Rand, cleaned bool) error {
	var targets []target
	for _, t := range v.sorted() {
		for i, p := range t.partitions {
			if len(p.batches) < 2 || t.compacted() && !cleaned {
				continue
			}
			b := p.batches[1+rng.IntN(len(p.batches)-1)]
			targets = append(targets, target{t, int32(i), b, int64(b.BaseOffset()) + rng.Int64N(int64(b.LastOffsetDelta())+1)})
		}
	}
	rng.Shuffle(len(targets), func(a, b int) { targets[a], targets[b] = targets[b], targets[a] })
	for _, t := range targets[:min(probesMax, len(targets))] {
		if err := t.findOffset(c); err != nil {
			return err
		}
		if t.batch.Count() == 0 {
			continue // its records were compacted away
		}
		if err := t.findTime(c); err != nil {
			return err
		}
	}
	return nil
}

func (t *target) findOffset(c *client) error {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch = 32<<20, -1
	ft := kmsg.NewFetchRequestTopic()
	ft.TopicID = t.topic.id
	fp := kmsg.NewFetchRequestTopicPartition()
	fp.Partition, fp.FetchOffset, fp.PartitionMaxBytes = t.partition, t.offset, 1
	ft.Partitions = append(ft.Partitions, fp)
	req.Topics = append(req.Topics, ft)
	resp, err := ask[*kmsg.FetchResponse](c, req, 16)
	if err != nil {
		return err
	}
	got := resp.Topics[0].Partitions[0]
	if err := refused(got.ErrorCode, "reading %s-%d at %d", t.topic.name, t.partition, t.offset); err != nil {
		return err
	}
	b, _, err := record.First(got.RecordBatches)
	if err != nil {
		return fmt.Errorf("reading %s-%d at %d: %w", t.topic.name, t.partition, t.offset, err)
	}
	if b.BaseOffset() != t.batch.BaseOffset() {
		return fmt.Errorf("reading %s-%d at %d begins with the batch at %d, not with that at %d", t.topic.name, t.partition, t.offset, b.BaseOffset(), t.batch.BaseOffset())
	}
	return nil
}

// findTime looks up the time of the batch. All records of a batch have the same.
func (t *target) findTime(c *client) error {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = t.topic.name
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = t.partition, t.batch.MaxTimestamp()
	rt.Partitions = append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	resp, err := ask[*kmsg.ListOffsetsResponse](c, req, 7)
	if err != nil {
		return err
	}
	got := resp.Topics[0].Partitions[0]
	if err := refused(got.ErrorCode, "time %d in %s-%d", p.Timestamp, t.topic.name, t.partition); err != nil {
		return err
	}
	if want := t.topic.partitions[t.partition].firstAt(p.Timestamp); got.Offset != want {
		return fmt.Errorf("the first record at time %d in %s-%d is at %d, and %d is found", p.Timestamp, t.topic.name, t.partition, want, got.Offset)
	}
	return nil
}

// firstAt is the offset of the first record at a time or later.
func (p *partitionView) firstAt(timestamp int64) int64 {
	for _, b := range p.batches {
		if at, _, found, err := b.FindTimestamp(timestamp, ids.Offset(p.start)); found && err == nil {
			return int64(at)
		}
	}
	return -1
}

package sim

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Names of topics that are not like the others.
const (
	compacted = "compacted"
	wide      = "wide" // has many partitions; few workloads have it
)

// createTopic makes a topic under one of the names that a workload knows.
func (w *workload) createTopic(name string) error {
	partitions, configs := int32(1+w.rng.IntN(3)), map[string]string{
		"internal.segment.bytes": fmt.Sprint(2000 + w.rng.IntN(6000)),
		"index.interval.bytes":   fmt.Sprint(w.rng.IntN(1000)),
		"retention.ms":           "-1",
	}
	t := &topic{name: name}
	switch {
	case name == wide:
		partitions = 64 // so many at once are synced by syncfs
	case name == compacted:
		w.compact(t, configs)
	case name == "b" || w.chance(4):
		configs["ack.durability"] = "fsync"
	case w.chance(4):
		configs["flush.messages"] = "1"
	}
	w.history.newTopic(t, partitions, configs)
	w.made[name]++
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, 1
	for k, v := range configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, kmsg.StringPtr(v)
		rt.Configs = append(rt.Configs, c)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := ask[*kmsg.CreateTopicsResponse](w.admin, req, 7)
	if err != nil {
		return err
	}
	if err := refused(resp.Topics[0].ErrorCode, "creating topic %s", name); err != nil {
		return err
	}
	w.history.topicCreated(t, resp.Topics[0].TopicID)
	w.cutter.acknowledged()
	return nil
}

// compact makes a topic one that the cleaner finds dirty as soon as it looks.
func (w *workload) compact(t *topic, configs map[string]string) {
	t.compacted, t.tombstonesStay = true, time.Duration(w.rng.IntN(20))*time.Second
	configs["cleanup.policy"] = "compact"
	if t.deletes = w.chance(3); t.deletes {
		configs["cleanup.policy"] = "compact,delete"
	}
	configs["internal.segment.bytes"] = fmt.Sprint(1600 + w.rng.IntN(2000))
	configs["min.cleanable.dirty.ratio"] = "0.01"
	configs["delete.retention.ms"] = fmt.Sprint(t.tombstonesStay.Milliseconds())
}

// deleteTopic deletes a topic, with batches on their way to it, and makes it again.
func (w *workload) deleteTopic() error {
	t := w.anyTopic()
	if t.name == wide {
		return nil
	}
	w.history.ask(&t.deleted)
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 30_000
	rt := kmsg.NewDeleteTopicsRequestTopic()
	rt.TopicID = t.id
	req.Topics = append(req.Topics, rt)
	resp, err := ask[*kmsg.DeleteTopicsResponse](w.admin, req, 6)
	if err != nil {
		return err
	}
	if err := refused(resp.Topics[0].ErrorCode, "deleting topic %s", t.name); err != nil {
		return err
	}
	w.history.ack(&t.deleted, nil)
	w.cutter.acknowledged()
	if w.chance(3) {
		w.drain()
	}
	return w.createTopic(t.name)
}

// deleteRecords raises the start of a partition.
func (w *workload) deleteRecords() error {
	p := w.anyPartition()
	if p.topic.compacted && !p.topic.deletes {
		return nil
	}
	if w.chance(2) {
		w.drain()
	}
	var acked []*batch
	w.history.mu.Lock()
	for _, b := range p.batches {
		if b.promised < never && b.dead == never {
			acked = append(acked, b)
		}
	}
	w.history.mu.Unlock()
	if len(acked) == 0 {
		return nil
	}
	b := acked[w.rng.IntN(len(acked))]
	to := max(p.start(), b.offset+int64(w.rng.IntN(b.records+1)))
	w.history.mu.Lock()
	p.trims = append(p.trims, trim{to: to, span: span{w.history.tickLocked(), never}})
	w.history.mu.Unlock()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 30_000
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = p.topic.name
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = p.index, to
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := ask[*kmsg.DeleteRecordsResponse](w.admin, req, 2)
	if err != nil {
		return err
	}
	got := resp.Topics[0].Partitions[0]
	if err := refused(got.ErrorCode, "deleting records of %s-%d up to %d", p.topic.name, p.index, to); err != nil {
		return err
	}
	if got.LowWatermark != to {
		return fmt.Errorf("deleting records of %s-%d up to %d leaves a log that starts at %d", p.topic.name, p.index, to, got.LowWatermark)
	}
	w.history.ack(&p.trims[len(p.trims)-1].span, nil)
	w.cutter.acknowledged()
	return nil
}

// alterConfig sets a config of a topic.
func (w *workload) alterConfig() error {
	t := w.anyTopic()
	name, value := "max.message.bytes", fmt.Sprint(100_000+w.rng.IntN(1000))
	if w.chance(2) {
		name, value = "internal.segment.bytes", fmt.Sprint(1600+w.rng.IntN(6000))
	}
	w.history.mu.Lock()
	t.configs = append(t.configs, configChange{span{w.history.tickLocked(), never}, name, value})
	w.history.mu.Unlock()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, t.name
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Op, c.Value = name, kmsg.IncrementalAlterConfigOpSet, &value
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	resp, err := ask[*kmsg.IncrementalAlterConfigsResponse](w.admin, req, 1)
	if err != nil {
		return err
	}
	if err := refused(resp.Resources[0].ErrorCode, "setting %s of topic %s", name, t.name); err != nil {
		return err
	}
	w.history.ack(&t.configs[len(t.configs)-1].span, nil)
	w.cutter.acknowledged()
	return nil
}

// createPartitions gives a topic one more partition.
func (w *workload) createPartitions() error {
	t := w.anyTopic()
	if len(t.partitions) > 5 {
		return nil
	}
	n := int32(len(t.partitions)) + 1
	w.history.mu.Lock()
	t.grow(growth{span{w.history.tickLocked(), never}, n})
	w.history.mu.Unlock()
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = 30_000
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = t.name, n
	req.Topics = append(req.Topics, rt)
	resp, err := ask[*kmsg.CreatePartitionsResponse](w.admin, req, 3)
	if err != nil {
		return err
	}
	if err := refused(resp.Topics[0].ErrorCode, "partitions of topic %s", t.name); err != nil {
		return err
	}
	w.history.ack(&t.grown[len(t.grown)-1].span, nil)
	w.cutter.acknowledged()
	return nil
}

// initProducerID gets a producer id.
func initProducerID(c *client) (int64, int16, error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := ask[*kmsg.InitProducerIDResponse](c, req, 4)
	if err != nil {
		return 0, 0, err
	}
	return resp.ProducerID, resp.ProducerEpoch, refused(resp.ErrorCode, "a producer id")
}

func (w *workload) newProducer() error {
	id, epoch, err := initProducerID(w.admin)
	if err != nil {
		return err
	}
	p := &producer{id: id, epoch: epoch, sequences: make(map[*partition]int32), unsure: make(map[*partition]bool)}
	w.history.mu.Lock()
	_, twice := w.history.taken[id]
	w.history.taken[id] = w.history.tickLocked()
	w.history.producers = append(w.history.producers, p)
	w.history.mu.Unlock()
	if twice {
		return fmt.Errorf("producer id %d was given away twice", id)
	}
	w.cutter.acknowledged()
	return nil
}

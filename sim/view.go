package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// view is everything that a client can see of a broker.
type view struct {
	clusterID string
	topics    map[ids.TopicID]*topicView
}

type topicView struct {
	id         ids.TopicID
	name       string
	partitions []*partitionView
	configs    map[string]string // those that the topic itself has
}

func (t *topicView) compacted() bool { return strings.Contains(t.configs["cleanup.policy"], "compact") }

type partitionView struct {
	start, end int64
	batches    []record.Batch
	dirs       []string // that have it
}

// look reads everything.
func look(c *client) (*view, error) {
	v := &view{topics: make(map[ids.TopicID]*topicView)}
	if err := v.lookAtTopics(c); err != nil {
		return nil, err
	}
	if len(v.topics) == 0 {
		return v, nil
	}
	if err := v.lookAtConfigs(c); err != nil {
		return nil, err
	}
	if err := v.lookAtDirs(c); err != nil {
		return nil, err
	}
	for _, timestamp := range []int64{-2, -1} {
		if err := v.lookAtOffsets(c, timestamp); err != nil {
			return nil, err
		}
	}
	for {
		more, err := v.fetch(c)
		if err != nil {
			return nil, err
		}
		if !more {
			return v, nil
		}
	}
}

func (v *view) lookAtTopics(c *client) error {
	req := kmsg.NewPtrMetadataRequest()
	resp, err := ask[*kmsg.MetadataResponse](c, req, 12)
	if err != nil {
		return err
	}
	if resp.ClusterID != nil {
		v.clusterID = *resp.ClusterID
	}
	for _, t := range resp.Topics {
		if err := refused(t.ErrorCode, "metadata of topic %s", *t.Topic); err != nil {
			return err
		}
		tv := &topicView{id: t.TopicID, name: *t.Topic, partitions: make([]*partitionView, len(t.Partitions))}
		for _, p := range t.Partitions {
			if err := refused(p.ErrorCode, "metadata of %s-%d", *t.Topic, p.Partition); err != nil {
				return err
			}
			if p.Partition < 0 || int(p.Partition) >= len(t.Partitions) {
				return fmt.Errorf("topic %s has %d partitions, one of them number %d", *t.Topic, len(t.Partitions), p.Partition)
			}
			tv.partitions[p.Partition] = &partitionView{}
		}
		v.topics[t.TopicID] = tv
	}
	return nil
}

// sorted are the topics, in an order that is the same every time.
func (v *view) sorted() []*topicView {
	var all []*topicView
	for _, t := range v.topics {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *topicView) int { return slices.Compare(a.id[:], b.id[:]) })
	return all
}

func (v *view) lookAtConfigs(c *client) error {
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, t := range v.sorted() {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, t.name
		req.Resources = append(req.Resources, r)
	}
	resp, err := ask[*kmsg.DescribeConfigsResponse](c, req, 4)
	if err != nil {
		return err
	}
	for i, r := range resp.Resources {
		t := v.sorted()[i]
		if err := refused(r.ErrorCode, "configs of topic %s", t.name); err != nil {
			return err
		}
		t.configs = make(map[string]string)
		for _, e := range r.Configs {
			if e.Source == kmsg.ConfigSourceDynamicTopicConfig && e.Value != nil {
				t.configs[e.Name] = *e.Value
			}
		}
	}
	return nil
}

func (v *view) lookAtOffsets(c *client, timestamp int64) error {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for _, t := range v.sorted() {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = t.name
		for i := range t.partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = int32(i), timestamp
			rt.Partitions = append(rt.Partitions, p)
		}
		req.Topics = append(req.Topics, rt)
	}
	resp, err := ask[*kmsg.ListOffsetsResponse](c, req, 7)
	if err != nil {
		return err
	}
	for i, rt := range resp.Topics {
		t := v.sorted()[i]
		for _, p := range rt.Partitions {
			if err := refused(p.ErrorCode, "offset %d of %s-%d", timestamp, t.name, p.Partition); err != nil {
				return err
			}
			if timestamp == -2 {
				t.partitions[p.Partition].start = p.Offset
			} else {
				t.partitions[p.Partition].end = p.Offset
			}
		}
	}
	return nil
}

// next is the first offset that has not been read.
func (p *partitionView) next() int64 {
	if n := len(p.batches); n > 0 {
		return int64(p.batches[n-1].NextOffset())
	}
	return p.start
}

// fetch reads on where something is left, and returns false where nothing is.
func (v *view) fetch(c *client) (more bool, err error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MinBytes, req.MaxWaitMillis, req.SessionEpoch = 32<<20, 0, 0, -1
	for _, t := range v.sorted() {
		ft := kmsg.NewFetchRequestTopic()
		ft.TopicID = t.id
		for i, p := range t.partitions {
			if p.next() < p.end {
				fp := kmsg.NewFetchRequestTopicPartition()
				fp.Partition, fp.FetchOffset, fp.PartitionMaxBytes = int32(i), p.next(), 1<<20
				ft.Partitions = append(ft.Partitions, fp)
			}
		}
		if len(ft.Partitions) > 0 {
			req.Topics = append(req.Topics, ft)
		}
	}
	if len(req.Topics) == 0 {
		return false, nil
	}
	resp, err := ask[*kmsg.FetchResponse](c, req, 16)
	if err != nil {
		return false, err
	}
	if err := refused(resp.ErrorCode, "fetch"); err != nil {
		return false, err
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if err := v.fetched(resp.Topics[i].TopicID, &resp.Topics[i].Partitions[j]); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

func (v *view) fetched(id ids.TopicID, fp *kmsg.FetchResponseTopicPartition) error {
	t := v.topics[id]
	if t == nil {
		return fmt.Errorf("an answer to a fetch has topic %s, which was not asked for", id)
	}
	p := t.partitions[fp.Partition]
	from := p.next()
	if err := refused(fp.ErrorCode, "reading %s-%d from %d of [%d, %d)", t.name, fp.Partition, from, p.start, p.end); err != nil {
		return err
	}
	for rest := fp.RecordBatches; len(rest) > 0; {
		b, after, err := record.First(rest)
		if err != nil {
			return fmt.Errorf("reading %s-%d from %d: %w", t.name, fp.Partition, p.next(), err)
		}
		p.batches, rest = append(p.batches, b), after
	}
	if p.next() <= from {
		return fmt.Errorf("reading %s-%d from %d gives nothing, and its log ends at %d", t.name, fp.Partition, from, p.end)
	}
	return nil
}

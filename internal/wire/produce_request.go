package wire

import (
	"fmt"

	"github.com/moldau/moldau/internal/ids"
)

// Versions of Produce that change its layout.
const (
	produceFlexible = 9
	produceTopicIDs = 13
)

// ProduceRequest is a view of the body of a Produce request, versions 3 to 13.
// Everything in it aliases the body; nothing is allocated.
//
//	for topics := req.Topics(); topics.Next(); {
//		for parts := topics.Partitions(); parts.Next(); {
//			use(parts.Partition, parts.Records)
//		}
//	}
//
// Invariant: a ProduceRequest that ReadProduceRequest returned without an error can
// be walked to its end, and each walk sees the same.
type ProduceRequest struct {
	Version         int16
	TransactionalID []byte // nil is null
	Acks            int16
	TimeoutMs       int32

	topicCount int
	topics     []byte // the topics and what follows them
}

// ReadProduceRequest reads and checks a whole body, so that a request is refused
// before anything of it has had an effect. version is one that the broker serves, 3 to 13.
func ReadProduceRequest(version int16, body []byte) (ProduceRequest, error) {
	r := NewReader(body)
	req := ProduceRequest{Version: version}
	if version >= produceFlexible {
		req.TransactionalID = r.CompactNullableString()
	} else {
		req.TransactionalID = r.NullableString()
	}
	req.Acks = r.Int16()
	req.TimeoutMs = r.Int32()
	req.topicCount = produceArray(&r, version, minProduceTopicBytes)
	req.topics = r.src[r.off:]
	topics := ProduceTopics{version: version, left: req.topicCount, r: r}
	for topics.Next() {
	}
	if version >= produceFlexible {
		topics.r.SkipTags()
	}
	if err := topics.r.Err(); err != nil {
		return ProduceRequest{}, fmt.Errorf("request of version %d: %w", version, err)
	}
	return req, nil
}

// The fewest bytes that a topic and a partition take in any version, which bound
// what an array length may claim.
const (
	minProduceTopicBytes     = 1 + 1
	minProducePartitionBytes = 4 + 1
)

func produceArray(r *Reader, version int16, elementBytes int) int {
	if version >= produceFlexible {
		return r.CompactArrayLen(elementBytes)
	}
	return r.ArrayLen(elementBytes)
}

// TopicCount returns the number of topics.
func (p *ProduceRequest) TopicCount() int { return p.topicCount }

// Topics walks the topics from the first.
func (p *ProduceRequest) Topics() ProduceTopics {
	return ProduceTopics{version: p.Version, left: p.topicCount, r: NewReader(p.topics)}
}

// ProduceTopics stands on one topic of a request, after Next has returned true.
type ProduceTopics struct {
	Name           []byte      // below version 13
	ID             ids.TopicID // from version 13
	PartitionCount int

	version int16
	left    int
	r       Reader
	parts   Reader // at the partitions of this topic
}

// Next goes to the next topic, if there is one.
func (t *ProduceTopics) Next() bool {
	if t.left == 0 || t.r.Failed() {
		return false
	}
	t.left--
	switch {
	case t.version >= produceTopicIDs:
		t.ID = t.r.UUID()
	case t.version >= produceFlexible:
		t.Name = t.r.CompactString()
	default:
		t.Name = t.r.String()
	}
	t.PartitionCount = produceArray(&t.r, t.version, minProducePartitionBytes)
	t.parts = t.r
	parts := t.Partitions()
	for parts.Next() {
	}
	t.r = parts.r
	if t.version >= produceFlexible {
		t.r.SkipTags()
	}
	return !t.r.Failed()
}

// Partitions walks the partitions of this topic from the first.
func (t *ProduceTopics) Partitions() ProducePartitions {
	return ProducePartitions{version: t.version, left: t.PartitionCount, r: t.parts}
}

// ProducePartitions stands on one partition of a topic, after Next has returned true.
type ProducePartitions struct {
	Partition int32
	Records   []byte // nil is null

	version int16
	left    int
	r       Reader
}

// Next goes to the next partition, if there is one.
func (p *ProducePartitions) Next() bool {
	if p.left == 0 || p.r.Failed() {
		return false
	}
	p.left--
	p.Partition = p.r.Int32()
	if p.version >= produceFlexible {
		p.Records = p.r.CompactNullableBytes()
		p.r.SkipTags()
	} else {
		p.Records = p.r.NullableBytes()
	}
	return !p.r.Failed()
}

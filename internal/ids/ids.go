package ids

import "strconv"

// Offset is the position of a record in one partition's log; -1 means none.
type Offset int64

// LeaderEpoch counts the leaders of a partition; -1 means unknown.
type LeaderEpoch int32

// NodeID is a broker's or controller's node.id; -1 means none.
type NodeID int32

// ProducerID identifies an idempotent producer; -1 means none.
type ProducerID int64

// ProducerEpoch fences earlier incarnations of a producer id; -1 means none.
type ProducerEpoch int16

// What "none" is in each of the types above, on the wire and on disk.
const (
	NoOffset        Offset        = -1
	NoLeaderEpoch   LeaderEpoch   = -1
	NoNode          NodeID        = -1
	NoProducerID    ProducerID    = -1
	NoProducerEpoch ProducerEpoch = -1
)

// TopicPartition names one partition of one topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String returns TOPIC-PARTITION, which is also the name of the partition's directory.
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.FormatInt(int64(tp.Partition), 10)
}

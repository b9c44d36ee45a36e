package wire

import "github.com/moldau/moldau/internal/ids"

// produceLeaderHints is the first version with CurrentLeader and NodeEndpoints (KIP-951).
const produceLeaderHints = 10

// LeaderIDAndEpoch is a leader that a client should turn to; the zero value is none.
type LeaderIDAndEpoch struct {
	Known bool
	ID    ids.NodeID
	Epoch ids.LeaderEpoch
}

// NodeEndpoint is where a client finds a node that an answer names (KIP-951).
type NodeEndpoint struct {
	ID   ids.NodeID
	Host string
	Port int32
	Rack *string
}

// ProducePartitionResponse is the answer for one partition. What a version does not have is left out.
type ProducePartitionResponse struct {
	Partition       int32
	ErrorCode       int16
	BaseOffset      ids.Offset
	LogAppendTimeMs int64 // -1 unless the topic has LogAppendTime
	LogStartOffset  ids.Offset
	RecordErrors    []ProduceRecordError
	ErrorMessage    string // empty is null
	CurrentLeader   LeaderIDAndEpoch
}

// ProduceRecordError says what is wrong with one record of a batch (KIP-467).
type ProduceRecordError struct {
	Index   int32  // from 0 in the batch
	Message string // empty is null
}

// AppendProduceResponse begins the body of a Produce response, versions 3 to 13.
// Then comes, for each topic, AppendProduceTopic, its partitions and
// AppendProduceTopicEnd; at last AppendProduceResponseEnd.
func AppendProduceResponse(dst []byte, version int16, topics int) []byte {
	return appendArrayLen(dst, version >= produceFlexible, topics)
}

// AppendProduceTopic begins a topic of that many partitions. A version has either name or id.
func AppendProduceTopic[S ~string | ~[]byte](dst []byte, version int16, name S, id ids.TopicID, partitions int) []byte {
	flexible := version >= produceFlexible
	if version >= produceTopicIDs {
		dst = AppendUUID(dst, id)
	} else {
		dst = appendString(dst, flexible, name)
	}
	return appendArrayLen(dst, flexible, partitions)
}

// AppendProducePartition appends a partition.
func AppendProducePartition(dst []byte, version int16, p *ProducePartitionResponse) []byte {
	flexible := version >= produceFlexible
	dst = AppendInt32(dst, p.Partition)
	dst = AppendInt16(dst, p.ErrorCode)
	dst = AppendInt64(dst, int64(p.BaseOffset))
	dst = AppendInt64(dst, p.LogAppendTimeMs)
	if version >= 5 {
		dst = AppendInt64(dst, int64(p.LogStartOffset))
	}
	if version >= 8 {
		dst = appendArrayLen(dst, flexible, len(p.RecordErrors))
		for i := range p.RecordErrors {
			dst = AppendInt32(dst, p.RecordErrors[i].Index)
			dst = appendMessage(dst, flexible, p.RecordErrors[i].Message)
			if flexible {
				dst = AppendNoTags(dst)
			}
		}
		dst = appendMessage(dst, flexible, p.ErrorMessage)
	}
	if !flexible {
		return dst
	}
	if version < produceLeaderHints || !p.CurrentLeader.Known {
		return AppendNoTags(dst)
	}
	return appendLeaderTag(append(dst, 1), 0, p.CurrentLeader)
}

// AppendProduceTopicEnd ends a topic.
func AppendProduceTopicEnd(dst []byte, version int16) []byte {
	if version >= produceFlexible {
		dst = AppendNoTags(dst)
	}
	return dst
}

// AppendProduceResponseEnd ends the body. nodes are those that a CurrentLeader names.
func AppendProduceResponseEnd(dst []byte, version int16, throttleMs int32, nodes []NodeEndpoint) []byte {
	dst = AppendInt32(dst, throttleMs)
	if version < produceFlexible {
		return dst
	}
	if version < produceLeaderHints || len(nodes) == 0 {
		return AppendNoTags(dst)
	}
	return appendNodesTag(append(dst, 1), nodes)
}

// appendLeaderTag appends a leader as the tagged field of that number.
func appendLeaderTag(dst []byte, tag byte, l LeaderIDAndEpoch) []byte {
	dst = append(dst, tag, 4+4+1)
	dst = AppendInt32(dst, int32(l.ID))
	dst = AppendInt32(dst, int32(l.Epoch))
	return AppendNoTags(dst)
}

// appendNodesTag appends NodeEndpoints, which is tag 0 in every response that has it.
func appendNodesTag(dst []byte, nodes []NodeEndpoint) []byte {
	size := uvarintBytes(uint32(len(nodes)) + 1)
	for i := range nodes {
		size += nodeBytes(&nodes[i])
	}
	dst = append(dst, 0)
	dst = AppendUvarint(dst, uint32(size))
	dst = appendArrayLen(dst, true, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		dst = AppendInt32(dst, int32(n.ID))
		dst = AppendCompactString(dst, n.Host)
		dst = AppendInt32(dst, n.Port)
		if n.Rack == nil {
			dst = append(dst, 0)
		} else {
			dst = AppendCompactString(dst, *n.Rack)
		}
		dst = AppendNoTags(dst)
	}
	return dst
}

func nodeBytes(n *NodeEndpoint) int {
	size := 4 + compactStringBytes(n.Host) + 4 + 1 + 1 // the first 1 is a null rack
	if n.Rack != nil {
		size += compactStringBytes(*n.Rack) - 1
	}
	return size
}

func compactStringBytes(s string) int { return uvarintBytes(uint32(len(s))+1) + len(s) }

func uvarintBytes(v uint32) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

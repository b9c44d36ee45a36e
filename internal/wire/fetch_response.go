package wire

import "github.com/moldau/moldau/internal/ids"

// Versions of Fetch that change the layout of its response.
const (
	fetchLogStart         = 5
	fetchSessions         = 7
	fetchPreferredReplica = 11
	fetchFlexible         = 12
	fetchTopicIDs         = 13
	fetchNodeEndpoints    = 16
)

// FetchPartitionResponse is the answer for one partition, without its records.
// What a version does not have is left out.
type FetchPartitionResponse struct {
	Partition            int32
	ErrorCode            int16
	HighWatermark        ids.Offset
	LastStableOffset     ids.Offset
	LogStartOffset       ids.Offset
	Aborted              []AbortedTransaction // nil is null
	PreferredReadReplica ids.NodeID
	RecordsBytes         int // how many bytes of records follow; -1 is null
	DivergingEpoch       DivergingEpoch
	CurrentLeader        LeaderIDAndEpoch
}

// AbortedTransaction tells a read_committed consumer whose records to drop.
type AbortedTransaction struct {
	ProducerID  ids.ProducerID
	FirstOffset ids.Offset
}

// DivergingEpoch is where a follower's log parts from the leader's; the zero value is none.
type DivergingEpoch struct {
	Known     bool
	Epoch     ids.LeaderEpoch
	EndOffset ids.Offset
}

// AppendFetchResponse begins the body of a Fetch response, versions 4 to 18. Then
// comes, for each topic, AppendFetchTopic, its partitions and AppendFetchTopicEnd; at
// last AppendFetchResponseEnd. A partition is AppendFetchPartition, then its records,
// which begin at the length that dst has then and need not be in dst, then
// AppendFetchPartitionEnd.
func AppendFetchResponse(dst []byte, version int16, throttleMs int32, errorCode int16, sessionID int32, topics int) []byte {
	dst = AppendInt32(dst, throttleMs)
	if version >= fetchSessions {
		dst = AppendInt16(dst, errorCode)
		dst = AppendInt32(dst, sessionID)
	}
	return appendArrayLen(dst, version >= fetchFlexible, topics)
}

// AppendFetchTopic begins a topic of that many partitions. A version has either name or id.
func AppendFetchTopic(dst []byte, version int16, name string, id ids.TopicID, partitions int) []byte {
	flexible := version >= fetchFlexible
	if version >= fetchTopicIDs {
		dst = AppendUUID(dst, id)
	} else {
		dst = appendString(dst, flexible, name)
	}
	return appendArrayLen(dst, flexible, partitions)
}

// AppendFetchPartition appends a partition up to and with the length of its records.
func AppendFetchPartition(dst []byte, version int16, p *FetchPartitionResponse) []byte {
	flexible := version >= fetchFlexible
	dst = AppendInt32(dst, p.Partition)
	dst = AppendInt16(dst, p.ErrorCode)
	dst = AppendInt64(dst, int64(p.HighWatermark))
	dst = AppendInt64(dst, int64(p.LastStableOffset))
	if version >= fetchLogStart {
		dst = AppendInt64(dst, int64(p.LogStartOffset))
	}
	aborted := len(p.Aborted)
	if p.Aborted == nil {
		aborted = -1
	}
	dst = appendArrayLen(dst, flexible, aborted)
	for i := range p.Aborted {
		dst = AppendInt64(dst, int64(p.Aborted[i].ProducerID))
		dst = AppendInt64(dst, int64(p.Aborted[i].FirstOffset))
		if flexible {
			dst = AppendNoTags(dst)
		}
	}
	if version >= fetchPreferredReplica {
		dst = AppendInt32(dst, int32(p.PreferredReadReplica))
	}
	return appendArrayLen(dst, flexible, p.RecordsBytes) // the length of bytes is written like an array's
}

// AppendFetchPartitionEnd ends a partition, after its records.
func AppendFetchPartitionEnd(dst []byte, version int16, p *FetchPartitionResponse) []byte {
	if version < fetchFlexible {
		return dst
	}
	tags := byte(0)
	if p.DivergingEpoch.Known {
		tags++
	}
	if p.CurrentLeader.Known {
		tags++
	}
	dst = append(dst, tags)
	if p.DivergingEpoch.Known {
		dst = append(dst, 0, 4+8+1)
		dst = AppendInt32(dst, int32(p.DivergingEpoch.Epoch))
		dst = AppendInt64(dst, int64(p.DivergingEpoch.EndOffset))
		dst = AppendNoTags(dst)
	}
	if p.CurrentLeader.Known {
		dst = appendLeaderTag(dst, 1, p.CurrentLeader)
	}
	return dst
}

// AppendFetchTopicEnd ends a topic.
func AppendFetchTopicEnd(dst []byte, version int16) []byte {
	if version >= fetchFlexible {
		dst = AppendNoTags(dst)
	}
	return dst
}

// AppendFetchResponseEnd ends the body. nodes are those that a CurrentLeader names.
func AppendFetchResponseEnd(dst []byte, version int16, nodes []NodeEndpoint) []byte {
	if version < fetchFlexible {
		return dst
	}
	if version < fetchNodeEndpoints || len(nodes) == 0 {
		return AppendNoTags(dst)
	}
	return appendNodesTag(append(dst, 1), nodes)
}

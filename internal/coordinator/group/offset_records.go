package group

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

// The version of a key is the type of its record (Java: CoordinatorRecordType); that of a value says which fields it has.
const (
	versionBytes = 2

	legacyOffsetKeyVersion = 0
	offsetKeyVersion       = 1 // the same fields

	expiringOffsetVersion = 1 // the only one with a time of expiry
	leaderEpochVersion    = 3 // the first with a leader epoch
	offsetValueVersion    = 4 // the first with a topic id, and the newest
)

// errUnknownKey says that a record is of a type which this release does not know.
var errUnknownKey = errors.New("the record is of an unknown type")

// decodeKey returns a *kmsg.OffsetCommitKey, a *kmsg.GroupMetadataKey or a *consumerKey, or errUnknownKey for a type of record that another
// release wrote.
func decodeKey(key []byte) (any, error) {
	if len(key) < versionBytes {
		return nil, fmt.Errorf("a key of %d bytes is too short for a version", len(key))
	}
	switch version := int16(binary.BigEndian.Uint16(key)); version {
	case legacyOffsetKeyVersion, offsetKeyVersion:
		k := new(kmsg.OffsetCommitKey)
		if err := k.ReadFrom(key); err != nil {
			return nil, fmt.Errorf("the key of a committed offset, of %d bytes: %w", len(key), err)
		}
		return k, nil
	case groupKeyVersion:
		k := new(kmsg.GroupMetadataKey)
		if err := k.ReadFrom(key); err != nil {
			return nil, fmt.Errorf("the key of a group, of %d bytes: %w", len(key), err)
		}
		return k, nil
	case consumerGroupKeyVersion, partitionMetadataKeyVersion, consumerMemberKeyVersion, targetMetadataKeyVersion,
		targetMemberKeyVersion, currentAssignmentKeyVersion, regexKeyVersion:
		return decodeConsumerKey(key)
	default:
		return nil, errUnknownKey
	}
}

// decodeOffsetValue reads any version. What a version lacks is -1, which kmsg leaves 0.
func decodeOffsetValue(value []byte) (*kmsg.OffsetCommitValue, error) {
	if len(value) < versionBytes {
		return nil, fmt.Errorf("the value of a committed offset, of %d bytes, is too short for a version", len(value))
	}
	version := int16(binary.BigEndian.Uint16(value))
	if version < 0 || version > offsetValueVersion {
		return nil, fmt.Errorf("the value of a committed offset has version %d, not one of 0 to %d", version, offsetValueVersion)
	}
	v := new(kmsg.OffsetCommitValue)
	if err := v.ReadFrom(value); err != nil {
		return nil, fmt.Errorf("the value of a committed offset, of %d bytes: %w", len(value), err)
	}
	if version < leaderEpochVersion {
		v.LeaderEpoch = noLeaderEpoch
	}
	if version != expiringOffsetVersion {
		v.ExpireTimestamp = noTimestamp
	}
	return v, nil
}

func offsetKey(group, topic string, partition int32) []byte {
	k := kmsg.OffsetCommitKey{Version: offsetKeyVersion, Group: group, Topic: topic, Partition: partition}
	return k.AppendTo(nil)
}

// offsetRecord writes an offset as Apache Kafka 4.3 does. One that expires at a time of its own is of the old version that can say
// so, and loses its leader epoch and topic id.
func offsetRecord(group, topic string, partition int32, c committedOffset) runtime.Record {
	v := kmsg.OffsetCommitValue{
		Version:         offsetValueVersion,
		Offset:          c.offset,
		LeaderEpoch:     c.leaderEpoch,
		Metadata:        c.metadata,
		CommitTimestamp: c.commitTimestampMs,
		ExpireTimestamp: c.expireTimestampMs,
		TopicID:         c.topicID,
	}
	if c.expireTimestampMs != noTimestamp {
		v.Version = expiringOffsetVersion
	}
	return runtime.Record{Key: offsetKey(group, topic, partition), Value: v.AppendTo(nil)}
}

func offsetTombstone(group, topic string, partition int32) runtime.Record {
	return runtime.Record{Key: offsetKey(group, topic, partition)}
}

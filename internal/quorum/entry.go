package quorum

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// The first byte of a record's value says what the rest is. For raft, the value is the entry's
// data, but for what raft makes itself: an opening has none, a configuration comes without the byte.
const (
	kindOpening       byte = 0 // nothing: the entry that opens a leader's term
	kindDecision      byte = 1 // what was proposed
	kindFounding      byte = 2 // the cluster and the directories that it began with
	kindAdmission     byte = 3 // a directory that came later; the index makes its raft id
	kindConfiguration byte = 4 // raft's ConfChangeV2
)

// withKind returns the data of an entry.
func withKind(kind byte, data []byte) []byte {
	return append(append(make([]byte, 0, 1+len(data)), kind), data...)
}

// committedEntry is an entry as those see it who apply it.
func committedEntry(e *raftpb.Entry) Committed {
	c := Committed{Position: Position{e.GetIndex(), e.GetTerm()}}
	switch data := e.GetData(); {
	case e.GetType() == raftpb.EntryConfChangeV2:
		c.Kind, c.Data = kindConfiguration, data
	case len(data) > 0:
		c.Kind, c.Data = data[0], data[1:]
	}
	return c
}

// appendEntry appends the batch of one entry: its offset is the index, its leader epoch the term.
// The entry at index group is the first of those that are written and synced together; 0 leaves that unsaid.
func appendEntry(dst []byte, entry *raftpb.Entry, group uint64, timestampMs int64) ([]byte, error) {
	epoch, err := leaderEpoch(entry.GetTerm())
	if err != nil {
		return nil, err
	}
	value := entry.GetData()
	switch t := entry.GetType(); {
	case t == raftpb.EntryConfChangeV2:
		value = withKind(kindConfiguration, value)
	case t != raftpb.EntryNormal:
		return nil, fmt.Errorf("entry %d is of raft's type %s, which this release cannot write", entry.GetIndex(), t)
	case len(value) == 0:
		value = []byte{kindOpening}
	}
	var key []byte
	if group > 0 {
		key = binary.BigEndian.AppendUint64(nil, group)
	}
	b := record.NewBuilder()
	b.BaseOffset, b.LeaderEpoch = ids.Offset(entry.GetIndex()), epoch
	batch, err := b.Append(timestampMs, key, value).Build(record.None)
	if err != nil {
		return nil, fmt.Errorf("encoding entry %d: %w", entry.GetIndex(), err)
	}
	return append(dst, batch...), nil
}

// readEntry decodes the batch of one entry and the group that it was written in, 0 where it does not
// say. The entry has memory of its own.
func readEntry(b record.Batch) (entry *raftpb.Entry, group uint64, err error) {
	if !b.CheckCRC() {
		return nil, 0, fmt.Errorf("%w: the batch at offset %d fails its checksum", ErrDamaged, b.BaseOffset())
	}
	if b.BaseOffset() < 1 || b.LeaderEpoch() < 1 || b.Count() != 1 || b.LastOffsetDelta() != 0 {
		return nil, 0, fmt.Errorf("%w: the batch at offset %d, epoch %d, with %d records is no entry", ErrForeign, b.BaseOffset(), b.LeaderEpoch(), b.Count())
	}
	if b.Attributes().Control() {
		return nil, 0, fmt.Errorf("%w: the batch at offset %d is a control batch, as Apache Kafka writes them", ErrForeign, b.BaseOffset())
	}
	r, err := b.Sole()
	if err != nil {
		return nil, 0, fmt.Errorf("%w: the batch at offset %d: %w", ErrDamaged, b.BaseOffset(), err)
	}
	if len(r.Key) == 8 {
		group = binary.BigEndian.Uint64(r.Key)
	} else if len(r.Key) > 0 {
		return nil, 0, fmt.Errorf("%w: the record at offset %d has a key of %d bytes", ErrForeign, b.BaseOffset(), len(r.Key))
	}
	if len(r.Value) == 0 {
		return nil, 0, fmt.Errorf("%w: the record at offset %d has no value", ErrForeign, b.BaseOffset())
	}
	entryType, kind := raftpb.EntryNormal, r.Value[0]
	var data []byte
	switch {
	case kind == kindOpening && len(r.Value) == 1:
	case (kind == kindDecision || kind == kindFounding || kind == kindAdmission) && len(r.Value) > 1:
		data = append([]byte(nil), r.Value...)
	case kind == kindConfiguration:
		entryType = raftpb.EntryConfChangeV2
		data = append([]byte(nil), r.Value[1:]...)
	default:
		return nil, 0, fmt.Errorf("%w: the record at offset %d is of kind %d, which this release does not know", ErrForeign, b.BaseOffset(), kind)
	}
	return entryOf(uint64(b.BaseOffset()), uint64(b.LeaderEpoch()), entryType, data), group, nil
}

func entryOf(index, term uint64, t raftpb.EntryType, data []byte) *raftpb.Entry {
	return &raftpb.Entry{Index: &index, Term: &term, Type: t.Enum(), Data: data}
}

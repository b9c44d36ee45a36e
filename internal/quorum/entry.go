package quorum

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// The first byte of a record's value says what the rest is.
const (
	kindOpening  byte = 0 // nothing: the entry that opens a leader's term
	kindDecision byte = 1 // what was proposed
)

// appendEntry appends the batch of one entry: its offset is the index, its leader epoch the term.
func appendEntry(dst []byte, entry *raftpb.Entry, timestampMs int64) ([]byte, error) {
	epoch, err := leaderEpoch(entry.GetTerm())
	if err != nil {
		return nil, err
	}
	if t := entry.GetType(); t != raftpb.EntryNormal {
		return nil, fmt.Errorf("entry %d is of raft's type %s, which this release cannot write", entry.GetIndex(), t)
	}
	kind := kindDecision
	if len(entry.GetData()) == 0 {
		kind = kindOpening
	}
	value := make([]byte, 0, 1+len(entry.GetData()))
	value = append(append(value, kind), entry.GetData()...)
	b := record.NewBuilder()
	b.BaseOffset, b.LeaderEpoch = ids.Offset(entry.GetIndex()), epoch
	batch, err := b.Append(timestampMs, nil, value).Build(record.None)
	if err != nil {
		return nil, fmt.Errorf("encoding entry %d: %w", entry.GetIndex(), err)
	}
	return append(dst, batch...), nil
}

// readEntry decodes the batch of one entry. The entry has memory of its own.
func readEntry(b record.Batch) (*raftpb.Entry, error) {
	if !b.CheckCRC() {
		return nil, fmt.Errorf("%w: the batch at offset %d fails its checksum", ErrDamaged, b.BaseOffset())
	}
	if b.BaseOffset() < 1 || b.LeaderEpoch() < 1 || b.Count() != 1 || b.LastOffsetDelta() != 0 {
		return nil, fmt.Errorf("%w: the batch at offset %d, epoch %d, with %d records is no entry", ErrForeign, b.BaseOffset(), b.LeaderEpoch(), b.Count())
	}
	if b.Attributes().Control() {
		return nil, fmt.Errorf("%w: the batch at offset %d is a control batch, as Apache Kafka writes them", ErrForeign, b.BaseOffset())
	}
	r, err := b.Sole()
	if err != nil {
		return nil, fmt.Errorf("%w: the batch at offset %d: %w", ErrDamaged, b.BaseOffset(), err)
	}
	var data []byte
	switch {
	case len(r.Value) == 1 && r.Value[0] == kindOpening:
	case len(r.Value) > 1 && r.Value[0] == kindDecision:
		data = append([]byte(nil), r.Value[1:]...)
	case len(r.Value) == 0:
		return nil, fmt.Errorf("%w: the record at offset %d has no value", ErrForeign, b.BaseOffset())
	default:
		return nil, fmt.Errorf("%w: the record at offset %d is of kind %d, which this release does not know", ErrForeign, b.BaseOffset(), r.Value[0])
	}
	return entryOf(uint64(b.BaseOffset()), uint64(b.LeaderEpoch()), data), nil
}

func entryOf(index, term uint64, data []byte) *raftpb.Entry {
	return &raftpb.Entry{Index: &index, Term: &term, Type: raftpb.EntryNormal.Enum(), Data: data}
}

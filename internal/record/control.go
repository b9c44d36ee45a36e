package record

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/ids"
)

// ControlType is the kind of a control record.
type ControlType int16

// Kafka's control records. A reader skips kinds that it does not know.
const (
	ControlAbort          ControlType = 0
	ControlCommit         ControlType = 1
	ControlLeaderChange   ControlType = 2
	ControlSnapshotHeader ControlType = 3
	ControlSnapshotFooter ControlType = 4
	ControlKRaftVersion   ControlType = 5
	ControlKRaftVoters    ControlType = 6
)

var controlNames = [...]string{"ABORT", "COMMIT", "LEADER_CHANGE", "SNAPSHOT_HEADER", "SNAPSHOT_FOOTER", "KRAFT_VERSION", "KRAFT_VOTERS"}

func (t ControlType) String() string {
	if t < 0 || int(t) >= len(controlNames) {
		return fmt.Sprintf("control type %d", int16(t))
	}
	return controlNames[t]
}

const (
	controlKeyBytes = 4 // int16 version, int16 type
	markerBytes     = 6 // int16 version, int32 coordinator epoch
)

// ReadControlKey decodes the key of a control record. Newer versions of the key may be
// longer; their type is where it was.
func ReadControlKey(key []byte) (ControlType, error) {
	if len(key) < controlKeyBytes || int16(binary.BigEndian.Uint16(key)) < 0 {
		return 0, fmt.Errorf("%w: a control record's key of %d bytes", ErrCorrupt, len(key))
	}
	return ControlType(binary.BigEndian.Uint16(key[2:])), nil
}

// EndTxnMarker ends a producer's transaction in one partition.
type EndTxnMarker struct {
	ProducerID       ids.ProducerID
	ProducerEpoch    ids.ProducerEpoch // of the transaction, or one more where the producer speaks KIP-890
	Commit           bool              // or abort
	CoordinatorEpoch int32             // of the coordinator that wrote it; fences earlier ones
}

// ErrNoMarker says that a control batch ends no transaction.
var ErrNoMarker = errors.New("not an end-transaction marker")

// Build returns the marker as a batch at offset 0.
func (m EndTxnMarker) Build(timestamp int64) Batch {
	kind := ControlAbort
	if m.Commit {
		kind = ControlCommit
	}
	b := NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.Transactional, b.control = m.ProducerID, m.ProducerEpoch, true, true
	var key [controlKeyBytes]byte
	binary.BigEndian.PutUint16(key[2:], uint16(kind))
	var value [markerBytes]byte
	binary.BigEndian.PutUint32(value[2:], uint32(m.CoordinatorEpoch))
	return b.Append(timestamp, key[:], value[:]).MustBuild()
}

// EndTxnMarker decodes a control batch that ends a transaction. The error is ErrNoMarker where
// it is something else, and wraps ErrCorrupt where it is damaged.
func (b Batch) EndTxnMarker() (EndTxnMarker, error) {
	if !b.Attributes().Control() || b.Count() == 0 {
		return EndTxnMarker{}, ErrNoMarker
	}
	r, err := b.Sole()
	if err != nil {
		return EndTxnMarker{}, err
	}
	kind, err := ReadControlKey(r.Key)
	if err != nil {
		return EndTxnMarker{}, err
	}
	if kind != ControlAbort && kind != ControlCommit {
		return EndTxnMarker{}, ErrNoMarker
	}
	if len(r.Value) < markerBytes || int16(binary.BigEndian.Uint16(r.Value)) < 0 {
		return EndTxnMarker{}, fmt.Errorf("%w: an end-transaction marker of %d bytes at offset %d", ErrCorrupt, len(r.Value), b.BaseOffset())
	}
	return EndTxnMarker{
		ProducerID:       b.ProducerID(),
		ProducerEpoch:    b.ProducerEpoch(),
		Commit:           kind == ControlCommit,
		CoordinatorEpoch: int32(binary.BigEndian.Uint32(r.Value[2:])),
	}, nil
}

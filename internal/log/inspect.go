package log

import (
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/ids"
)

// ProducerInSnapshot is one producer of a producer snapshot, for tools that show files.
type ProducerInSnapshot struct {
	ProducerID       ids.ProducerID
	Epoch            ids.ProducerEpoch
	LastSequence     int32      // -1 where no batch is kept
	LastOffset       ids.Offset // of the last batch's last record, -1 likewise
	OffsetDelta      int32      // last offset of that batch less its first
	TimestampMs      int64
	CoordinatorEpoch int32
	TxnFirstOffset   ids.Offset // of the open transaction, -1 where there is none
}

// InspectProducerSnapshot decodes the content of a .snapshot file, sorted by producer id.
func InspectProducerSnapshot(content []byte) ([]ProducerInSnapshot, error) {
	producers, err := decodeProducerSnapshot(content)
	if err != nil {
		return nil, err
	}
	var all []ProducerInSnapshot
	for _, id := range slices.Sorted(maps.Keys(producers)) {
		e := producers[id]
		p := ProducerInSnapshot{ProducerID: id, Epoch: e.epoch, LastSequence: -1, LastOffset: ids.NoOffset,
			TimestampMs: e.timestamp, CoordinatorEpoch: e.coordinatorEpoch, TxnFirstOffset: e.txnFirst}
		if e.kept > 0 {
			last := e.batches[e.newest]
			p.LastSequence, p.LastOffset, p.OffsetDelta = last.lastSeq, last.lastOffset, last.offsetDelta
		}
		all = append(all, p)
	}
	return all, nil
}

// AbortedInIndex is one entry of a transaction index, for tools that show files.
type AbortedInIndex struct {
	ProducerID                          ids.ProducerID
	FirstOffset, LastOffset, LastStable ids.Offset // LastOffset is the marker's, inclusive
}

// AbortedEntryBytes is the size of an entry of a .txnindex file.
const AbortedEntryBytes = abortedTxnBytes

// InspectAborted decodes one entry of a .txnindex file, which entry must hold whole.
func InspectAborted(entry []byte) (AbortedInIndex, error) {
	t, err := decodeAborted(entry)
	return AbortedInIndex{t.producerID, t.firstOffset, t.lastOffset, t.lastStable}, err
}

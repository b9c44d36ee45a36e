package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

const (
	producerSnapshotSuffix = ".snapshot"
	snapshotVersion        = 1
	snapshotHeadBytes      = 10 // int16 version, uint32 CRC-32C of what follows it, int32 count
	snapshotCRCAt          = 2
	snapshotCRCFrom        = 6
	snapshotEntryBytes     = 46
	snapshotFileBytesMax   = 1 << 30 // 4.6 million producers with five batches each
	snapshotAdvice         = "remove it; the log rebuilds it from the batches that it still has"
	offsetDigits           = 20 // of an offset in a file name
)

var snapshotCRC = crc32.MakeTable(crc32.Castagnoli)

func snapshotName(at ids.Offset) string {
	return fmt.Sprintf("%0*d%s", offsetDigits, at, producerSnapshotSuffix)
}

// producerSnapshot is a state on its way to the disk: taken under Log.mu, written without it.
type producerSnapshot struct {
	at      ids.Offset
	content []byte
}

// write stores the snapshot in the partition's directory and makes it durable.
func (p producerSnapshot) write(fsys vfs.FS, dir string) error {
	return writeFileAtomic(fsys, dir, snapshotName(p.at), p.content)
}

// snapshot encodes the state, which holds every batch below at, as Kafka's producer snapshot
// of version 1, sorted by producer id. A producer has an entry for each of its last batches,
// oldest first; Kafka writes the last alone, and where it reads several the last one counts.
func (s *producerState) snapshot(at ids.Offset) producerSnapshot {
	entries := 0
	for _, e := range s.producers {
		entries += max(1, int(e.kept))
	}
	b := make([]byte, 0, snapshotHeadBytes+entries*snapshotEntryBytes)
	b = binary.BigEndian.AppendUint16(b, snapshotVersion)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(entries))
	for _, id := range slices.Sorted(maps.Keys(s.producers)) {
		b = s.producers[id].encode(b, id)
	}
	binary.BigEndian.PutUint32(b[snapshotCRCAt:], crc32.Checksum(b[snapshotCRCFrom:], snapshotCRC))
	return producerSnapshot{at, b}
}

func (e *producerEntry) encode(b []byte, id ids.ProducerID) []byte {
	for i := int(e.kept) - 1; i > 0; i-- {
		b = e.encodeBatch(b, id, e.batches[(int(e.newest)+producerBatchesKept-i)%producerBatchesKept], ids.NoOffset)
	}
	last := batchSpan{lastSeq: record.NoSequence, lastOffset: ids.NoOffset}
	if e.kept > 0 {
		last = e.batches[e.newest]
	}
	return e.encodeBatch(b, id, last, e.txnFirst)
}

// encodeBatch writes the entry of one batch. An open transaction is told with the last one alone.
func (e *producerEntry) encodeBatch(b []byte, id ids.ProducerID, last batchSpan, txnFirst ids.Offset) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(id))
	b = binary.BigEndian.AppendUint16(b, uint16(e.epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(last.lastSeq))
	b = binary.BigEndian.AppendUint64(b, uint64(last.lastOffset))
	b = binary.BigEndian.AppendUint32(b, uint32(last.offsetDelta))
	b = binary.BigEndian.AppendUint64(b, uint64(e.timestamp))
	b = binary.BigEndian.AppendUint32(b, uint32(e.coordinatorEpoch))
	return binary.BigEndian.AppendUint64(b, uint64(txnFirst))
}

// load replaces the state by the newest snapshot at end or below that can be read, and
// returns what is wrong with the damaged ones, which it removes. mapEnd tells from where on
// batches have to go through update: the snapshot's offset, or start where there is none.
// Snapshots outside of (start, end] belong to no state of the log and go too.
func (s *producerState) load(fsys vfs.FS, dir string, start, end ids.Offset, nowMs int64) (damagedFiles []error, err error) {
	s.reset(start)
	s.nowMs = nowMs
	all, err := listProducerSnapshots(fsys, dir)
	if err != nil {
		return nil, err
	}
	loaded := false
	for _, at := range slices.Backward(all) {
		if at > end || at <= start {
			err = removeProducerSnapshot(fsys, dir, at)
		} else if !loaded {
			err = s.loadSnapshot(fsys, dir, at)
			loaded = err == nil
			if errors.Is(err, errDamagedFile) {
				damagedFiles = append(damagedFiles, err)
				err = removeProducerSnapshot(fsys, dir, at)
			}
		}
		if err != nil {
			return damagedFiles, err
		}
	}
	return damagedFiles, nil
}

func (s *producerState) loadSnapshot(fsys vfs.FS, dir string, at ids.Offset) error {
	producers, err := readProducerSnapshot(fsys, dir, at)
	if err != nil {
		return err
	}
	for id, e := range producers {
		e.seenMs = s.nowMs
		if e.txnFirst >= 0 {
			s.txns = append(s.txns, heldTxn{producerID: id, first: e.txnFirst, marker: ids.NoOffset})
		}
	}
	slices.SortFunc(s.txns, func(a, b heldTxn) int { return int(min(1, max(-1, a.first-b.first))) })
	s.producers, s.mapEnd = producers, at
	return nil
}

// readProducerSnapshot reads the snapshot at an offset. The error wraps errDamagedFile where
// its content cannot be what was written; the caller ignores it then and goes to an older one.
func readProducerSnapshot(fsys vfs.FS, dir string, at ids.Offset) (map[ids.ProducerID]*producerEntry, error) {
	content, err := readSmallFile(fsys, dir, snapshotName(at), snapshotFileBytesMax)
	if err != nil {
		return nil, err
	}
	producers, err := decodeProducerSnapshot(content)
	if err != nil {
		return nil, damaged(dir, snapshotName(at), snapshotAdvice, err)
	}
	return producers, nil
}

func decodeProducerSnapshot(b []byte) (map[ids.ProducerID]*producerEntry, error) {
	if len(b) < snapshotHeadBytes {
		return nil, fmt.Errorf("it has %d bytes and its head alone has %d", len(b), snapshotHeadBytes)
	}
	if v := int16(binary.BigEndian.Uint16(b)); v != snapshotVersion {
		return nil, fmt.Errorf("its version is %d and this release knows version %d alone", v, snapshotVersion)
	}
	if stored, computed := binary.BigEndian.Uint32(b[snapshotCRCAt:]), crc32.Checksum(b[snapshotCRCFrom:], snapshotCRC); stored != computed {
		return nil, fmt.Errorf("its CRC is %08x and its content's is %08x", stored, computed)
	}
	count := int64(binary.BigEndian.Uint32(b[snapshotCRCFrom:]))
	b = b[snapshotHeadBytes:]
	if count*snapshotEntryBytes != int64(len(b)) {
		return nil, fmt.Errorf("it says %d entries and has %d bytes for them, %d each", count, len(b), snapshotEntryBytes)
	}
	if count == 0 {
		return nil, nil
	}
	producers := make(map[ids.ProducerID]*producerEntry, count)
	for ; len(b) > 0; b = b[snapshotEntryBytes:] {
		id, e, err := decodeProducerEntry(b)
		if err != nil {
			return nil, err
		}
		if before := producers[id]; before == nil {
			producers[id] = e
		} else if !before.goOn(e) {
			return nil, fmt.Errorf("it has entries of producer %d that do not follow one another", id)
		}
	}
	return producers, nil
}

// goOn adds the next entry of the same producer, and tells whether it can be that.
func (e *producerEntry) goOn(next *producerEntry) bool {
	if e.epoch != next.epoch || e.txnFirst >= 0 || e.kept == 0 || e.kept == producerBatchesKept || next.kept == 0 {
		return false
	}
	span := next.batches[next.newest]
	if span.firstOffset() <= e.batches[e.newest].lastOffset {
		return false
	}
	e.add(span)
	e.timestamp, e.coordinatorEpoch, e.txnFirst = next.timestamp, next.coordinatorEpoch, next.txnFirst
	return true
}

func decodeProducerEntry(b []byte) (ids.ProducerID, *producerEntry, error) {
	id := ids.ProducerID(binary.BigEndian.Uint64(b))
	e := newProducerEntry()
	e.epoch = ids.ProducerEpoch(binary.BigEndian.Uint16(b[8:]))
	last := batchSpan{
		lastSeq:     int32(binary.BigEndian.Uint32(b[10:])),
		lastOffset:  ids.Offset(binary.BigEndian.Uint64(b[14:])),
		offsetDelta: int32(binary.BigEndian.Uint32(b[22:])),
	}
	e.timestamp = int64(binary.BigEndian.Uint64(b[26:]))
	e.coordinatorEpoch = int32(binary.BigEndian.Uint32(b[34:]))
	e.txnFirst = max(ids.NoOffset, ids.Offset(binary.BigEndian.Uint64(b[38:])))
	if id < 0 || last.offsetDelta < 0 || last.lastOffset >= 0 && ids.Offset(last.offsetDelta) > last.lastOffset {
		return 0, nil, fmt.Errorf("producer %d with offset %d and %d offsets before it in its batch cannot be", id, last.lastOffset, last.offsetDelta)
	}
	if last.lastOffset >= 0 {
		e.add(last)
	}
	return id, e, nil
}

// listProducerSnapshots returns the offsets of the snapshots in a partition's directory, rising.
func listProducerSnapshots(fsys vfs.FS, dir string) ([]ids.Offset, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", dir, err)
	}
	var all []ids.Offset
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, producerSnapshotSuffix)
		at, err := strconv.ParseInt(digits, 10, 64)
		if ok && err == nil && at >= 0 && name == snapshotName(ids.Offset(at)) {
			all = append(all, ids.Offset(at))
		}
	}
	slices.Sort(all)
	return all, nil
}

// removeProducerSnapshots removes those in [from, to).
func removeProducerSnapshots(fsys vfs.FS, dir string, from, to ids.Offset) error {
	all, err := listProducerSnapshots(fsys, dir)
	if err != nil {
		return err
	}
	for _, at := range all {
		if at < from || at >= to {
			continue
		}
		if err := removeProducerSnapshot(fsys, dir, at); err != nil {
			return err
		}
	}
	return nil
}

func removeProducerSnapshot(fsys vfs.FS, dir string, at ids.Offset) error {
	path := filepath.Join(dir, snapshotName(at))
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing producer snapshot: %w", err)
	}
	return nil
}

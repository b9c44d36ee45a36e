package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// abortedTxn is one entry of a segment's transaction index: a transaction whose ABORT
// marker lies in that segment. Java: AbortedTxn, version 0.
type abortedTxn struct {
	producerID  ids.ProducerID
	firstOffset ids.Offset
	lastOffset  ids.Offset // of the marker, inclusive as in Kafka's file
	// lastStable is the last stable offset once this transaction was over: a reader who
	// reads below it needs no entry that follows this one.
	lastStable ids.Offset
}

const (
	abortedTxnVersion = 0
	abortedTxnBytes   = 34
)

// appendAborted adds an entry to the index at path, which is made where it is missing.
// A torn entry at its end is written over. The entry is durable after the next sync of the segment.
func appendAborted(fsys vfs.FS, path string, t abortedTxn) error {
	f, err := fsys.OpenReadWrite(path)
	if err != nil {
		return fmt.Errorf("opening transaction index %s: %w", path, err)
	}
	size, err := f.Size()
	if err == nil {
		var b [abortedTxnBytes]byte
		_, err = f.WriteAt(t.encode(b[:0]), size-size%abortedTxnBytes)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("writing transaction index %s: %w", path, err)
	}
	return nil
}

// readAborted passes the entries of the index at path to each, oldest first, until each
// returns false. A missing index has none: most segments see no aborted transaction.
func readAborted(fsys vfs.FS, path string, each func(abortedTxn) bool) error {
	f, err := fsys.Open(path)
	return scanAborted(f, err, path, each)
}

// aborted is readAborted for a segment of a log that is in use.
func (s *segment) aborted(fsys vfs.FS, each func(abortedTxn) bool) error {
	f, err := s.openFile(fsys.Open, txnIndexSuffix)
	if errors.Is(err, errSegmentGone) {
		return err
	}
	return scanAborted(f, err, s.path(txnIndexSuffix), each)
}

func scanAborted(f vfs.File, err error, path string, each func(abortedTxn) bool) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening transaction index %s: %w", path, err)
	}
	defer f.Close()
	var b [128 * abortedTxnBytes]byte
	previous := ids.NoOffset
	for pos := int64(0); ; {
		n, err := f.ReadAt(b[:], pos)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading transaction index %s: %w", path, err)
		}
		whole := b[:n-n%abortedTxnBytes] // a torn last entry was never promised to anybody
		for ; len(whole) > 0; whole = whole[abortedTxnBytes:] {
			t, err := decodeAborted(whole)
			if err == nil && t.lastOffset <= previous {
				err = fmt.Errorf("its marker at offset %d does not follow the one at %d", t.lastOffset, previous)
			}
			if err != nil {
				return fmt.Errorf("%w %s: entry at byte %d: %w; remove it and start again after an unclean stop to have it rebuilt", errDamagedFile, path, pos, err)
			}
			if previous = t.lastOffset; !each(t) {
				return nil
			}
			pos += abortedTxnBytes
		}
		if n < len(b) {
			return nil
		}
	}
}

// writeAborted makes a new index of entries, durably but for its name.
func writeAborted(fsys vfs.FS, path string, entries []abortedTxn) error {
	b := make([]byte, 0, len(entries)*abortedTxnBytes)
	for _, t := range entries {
		b = t.encode(b)
	}
	f, err := fsys.Create(path)
	if err != nil {
		return fmt.Errorf("making transaction index %s: %w", path, err)
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing transaction index %s: %w", path, err)
	}
	return nil
}

// truncateAborted cuts entries off the end of an index whose markers lie at end or later.
func truncateAborted(fsys vfs.FS, path string, end ids.Offset) error {
	kept := int64(0)
	err := readAborted(fsys, path, func(t abortedTxn) bool {
		if t.lastOffset >= end {
			return false
		}
		kept += abortedTxnBytes
		return true
	})
	if err != nil {
		return err
	}
	if _, err := fsys.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	f, err := fsys.OpenReadWrite(path)
	if err != nil {
		return fmt.Errorf("opening transaction index %s: %w", path, err)
	}
	err = f.Truncate(kept)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("truncating transaction index %s: %w", path, err)
	}
	return nil
}

func (t abortedTxn) encode(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, abortedTxnVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(t.producerID))
	b = binary.BigEndian.AppendUint64(b, uint64(t.firstOffset))
	b = binary.BigEndian.AppendUint64(b, uint64(t.lastOffset))
	return binary.BigEndian.AppendUint64(b, uint64(t.lastStable))
}

// decodeAborted reads the first entry of b, which has one whole entry at least.
func decodeAborted(b []byte) (abortedTxn, error) {
	if v := int16(binary.BigEndian.Uint16(b)); v != abortedTxnVersion {
		return abortedTxn{}, fmt.Errorf("its version is %d and this release knows version %d alone", v, abortedTxnVersion)
	}
	t := abortedTxn{
		producerID:  ids.ProducerID(binary.BigEndian.Uint64(b[2:])),
		firstOffset: ids.Offset(binary.BigEndian.Uint64(b[10:])),
		lastOffset:  ids.Offset(binary.BigEndian.Uint64(b[18:])),
		lastStable:  ids.Offset(binary.BigEndian.Uint64(b[26:])),
	}
	if t.producerID < 0 || t.firstOffset < 0 || t.lastOffset < t.firstOffset || t.lastStable < 0 {
		return abortedTxn{}, fmt.Errorf("producer %d, offsets %d to %d and last stable offset %d cannot be", t.producerID, t.firstOffset, t.lastOffset, t.lastStable)
	}
	return t, nil
}

package log

import (
	"encoding/binary"
	"errors"
	"io/fs"

	"github.com/moldau/moldau/internal/ids"
)

// An entry of a time index is a big-endian int64, the largest timestamp so far in
// milliseconds, and a uint32, the last offset of the batch that has it, less the segment's base
// offset. Timestamps rise strictly, offsets do not fall. Java: TimeIndex.
const timeEntryBytes = 12

type timeEntry struct {
	timestamp int64
	relOffset uint32
}

func (e timeEntry) encode() (b [timeEntryBytes]byte) {
	binary.BigEndian.PutUint64(b[0:], uint64(e.timestamp))
	binary.BigEndian.PutUint32(b[8:], e.relOffset)
	return b
}

func decodeTimeEntry(b []byte) timeEntry {
	return timeEntry{int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:])}
}

func timeEntryTimestamp(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }
func timeEntryOffset(b []byte) int64    { return int64(binary.BigEndian.Uint32(b[8:])) }

// timeEntriesMax is how many entries may come while the segment is active: Kafka keeps room
// for the one that sealing adds.
func timeEntriesMax(indexBytes int32) int { return int(indexBytes)/timeEntryBytes - 1 }

// timeEntryAt returns entry i of the segment's time index.
func (s *segment) timeEntryAt(files *fileCache, i int) (timeEntry, error) {
	h, err := s.times.open(files, s, false)
	if err != nil {
		return timeEntry{}, err
	}
	defer h.release()
	var b [timeEntryBytes]byte
	err = s.times.entry(h, i, b[:])
	return decodeTimeEntry(b[:]), err
}

// leadingTimes returns how many entries of the time index rise as they should and lie below an offset.
func (s *segment) leadingTimes(files *fileCache, below int64) (int, error) {
	return s.times.leading(files, s, func(previous, entry []byte) bool {
		return timeEntryOffset(entry) < below && timeEntryTimestamp(entry) >= 0 &&
			(previous == nil || timeEntryTimestamp(entry) > timeEntryTimestamp(previous) && timeEntryOffset(entry) >= timeEntryOffset(previous))
	})
}

// loadTimes learns the largest timestamp of a sealed segment from the end of its time index.
func (s *segment) loadTimes(files *fileCache) error {
	if s.timesLoaded {
		return nil
	}
	h, err := s.times.open(files, s, false)
	if errors.Is(err, fs.ErrNotExist) && !s.gone.Load() {
		return nil
	}
	if err != nil {
		return err
	}
	h.release()
	if n := s.times.count(); n > 0 {
		t, err := s.timeEntryAt(files, n-1)
		if err != nil {
			return err
		}
		s.maxTimestamp, s.maxTimestampLast = t.timestamp, s.base+ids.Offset(t.relOffset)
	}
	s.timesLoaded = true
	return nil
}

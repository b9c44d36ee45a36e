package log

import "encoding/binary"

// An entry of an offset index is two big-endian uint32: the last offset of a batch, less the
// segment's base offset, and the position at which that batch begins. Java: OffsetIndex.
const offsetEntryBytes = 8

type offsetEntry struct {
	relOffset uint32
	position  uint32
}

func (e offsetEntry) encode() (b [offsetEntryBytes]byte) {
	binary.BigEndian.PutUint32(b[0:], e.relOffset)
	binary.BigEndian.PutUint32(b[4:], e.position)
	return b
}

func decodeOffsetEntry(b []byte) offsetEntry {
	return offsetEntry{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

func offsetEntryOffset(b []byte) int64   { return int64(binary.BigEndian.Uint32(b)) }
func offsetEntryPosition(b []byte) int64 { return int64(binary.BigEndian.Uint32(b[4:])) }

// offsetEntriesMax is how many entries Kafka puts in an index of that many bytes.
func offsetEntriesMax(indexBytes int32) int { return int(indexBytes) / offsetEntryBytes }

// offsetEntryAt returns entry i of the segment's offset index.
func (s *segment) offsetEntryAt(files *fileCache, i int) (offsetEntry, error) {
	h, err := s.offsets.open(files, s, false)
	if err != nil {
		return offsetEntry{}, err
	}
	defer h.release()
	var b [offsetEntryBytes]byte
	err = s.offsets.entry(h, i, b[:])
	return decodeOffsetEntry(b[:]), err
}

// leadingOffsets returns how many entries of the offset index rise as they should and lie below an offset.
func (s *segment) leadingOffsets(files *fileCache, below int64) (int, error) {
	return s.offsets.leading(files, s, func(previous, entry []byte) bool {
		return offsetEntryOffset(entry) < below && offsetEntryPosition(entry) < s.sizeBytes.Load() &&
			(previous == nil || offsetEntryOffset(entry) > offsetEntryOffset(previous) && offsetEntryPosition(entry) > offsetEntryPosition(previous))
	})
}

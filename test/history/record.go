package history

import (
	"encoding/binary"
	"hash/crc32"
)

// valueHeader is the length of what a value begins with: producer, partition, seq and a checksum of the rest.
const valueHeader = 4 + 4 + 8 + 4

// Value returns a record's content: its name, and filling made from it, so that a torn or mixed value shows itself.
func Value(id ID, size int) []byte {
	b := make([]byte, max(size, valueHeader))
	binary.BigEndian.PutUint32(b, uint32(id.Producer))
	binary.BigEndian.PutUint32(b[4:], uint32(id.Partition))
	binary.BigEndian.PutUint64(b[8:], uint64(id.Seq))
	x := uint64(id.Seq)*0x9e3779b97f4a7c15 + uint64(id.Producer)<<32 + uint64(id.Partition)
	for i := valueHeader; i < len(b); i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	binary.BigEndian.PutUint32(b[16:], checksum(b))
	return b
}

// Open names the record that has this content in this partition; false where no producer wrote that.
func Open(partition int32, value []byte) (ID, bool) {
	if len(value) < valueHeader || binary.BigEndian.Uint32(value[16:]) != checksum(value) {
		return ID{}, false
	}
	id := ID{int32(binary.BigEndian.Uint32(value)), int32(binary.BigEndian.Uint32(value[4:])), int64(binary.BigEndian.Uint64(value[8:]))}
	return id, id.Partition == partition
}

func checksum(b []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(b[:16]), crc32.IEEETable, b[valueHeader:])
}

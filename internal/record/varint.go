package record

// Numbers inside a record are zigzag varints: seven bits a byte, lowest first, the
// highest bit of a byte saying that another follows. An int32 takes at most 5
// bytes, an int64 at most 10; bits beyond the type's width are dropped, as Kafka's
// ByteUtils drops them.
const (
	varintMaxBytes  = 5
	varlongMaxBytes = 10
)

// varint reads the varint at p[i:] and returns where it ends, or -1 where it is cut
// short or has too many bytes. i may be any value that an earlier call returned.
func varint(p []byte, i int) (int32, int) {
	var u uint32
	for n := range varintMaxBytes {
		if uint(i) >= uint(len(p)) {
			return 0, -1
		}
		b := p[i]
		i++
		u |= uint32(b&0x7f) << (7 * n)
		if b < 0x80 {
			return int32(u>>1) ^ -int32(u&1), i
		}
	}
	return 0, -1
}

// varlong reads the varlong at p[i:], as varint does.
func varlong(p []byte, i int) (int64, int) {
	var u uint64
	for n := range varlongMaxBytes {
		if uint(i) >= uint(len(p)) {
			return 0, -1
		}
		b := p[i]
		i++
		u |= uint64(b&0x7f) << (7 * n)
		if b < 0x80 {
			return int64(u>>1) ^ -int64(u&1), i
		}
	}
	return 0, -1
}

// appendVarint appends v as a zigzag varint. One of 64 bits whose value fits 32 is the
// same bytes as one of 32.
func appendVarint(dst []byte, v int64) []byte {
	u := uint64(v)<<1 ^ uint64(v>>63)
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

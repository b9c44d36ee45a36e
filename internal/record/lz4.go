package record

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// The lz4 frame is read here and only its blocks by the library: blocks then
// decompress straight from the batch, and the content checksum, which the batch's own
// CRC makes needless and which Kafka's reader ignores too, costs nothing.
// Java: Lz4BlockInputStream.
const (
	lz4Magic          = 0x184d2204
	lz4VersionMask    = 0xc0
	lz4Version        = 0x40
	lz4Independent    = 1 << 5
	lz4BlockChecksum  = 1 << 4
	lz4ContentSize    = 1 << 3
	lz4FlagsReserved  = 0x03 // one reserved bit, and the dictionary that Kafka has none of
	lz4BlockReserved  = 0x8f
	lz4BlockCodeMin   = 4 // 64 KiB; each further code is four times as much, to 4 MiB
	lz4RawBlock       = 1 << 31
	lz4HeaderMinBytes = 7
	lz4ExpandMax      = 256 // no lz4 sequence yields more than 255 bytes for one byte
)

var lz4Inflaters = sync.Pool{New: func() any { return new(lz4Inflater) }}

type lz4Inflater struct {
	src        []byte // what is left of the frame
	flags      byte
	blockBytes int    // the most that one block decompresses to
	out        *piece // where blocks go; nil before the first
	done       bool
}

func newLZ4Inflater(payload []byte) (inflater, error) {
	z := lz4Inflaters.Get().(*lz4Inflater)
	z.src = payload
	if err := z.readHeader(); err != nil {
		z.release()
		return nil, err
	}
	return z, nil
}

func (z *lz4Inflater) readHeader() error {
	p := z.src
	if len(p) < lz4HeaderMinBytes || binary.LittleEndian.Uint32(p) != lz4Magic {
		return fmt.Errorf("%w: no lz4 frame", errCompressed)
	}
	flags, block := p[4], p[5]
	end := 6
	if flags&lz4ContentSize != 0 {
		end += 8
	}
	code := int(block >> 4)
	switch {
	case flags&lz4VersionMask != lz4Version || flags&lz4FlagsReserved != 0 || block&lz4BlockReserved != 0 || code < lz4BlockCodeMin:
		return fmt.Errorf("%w: lz4 frame with flags %#02x and block descriptor %#02x", errCompressed, flags, block)
	case flags&lz4Independent == 0:
		return fmt.Errorf("%w: lz4 blocks that depend on each other, which Kafka's readers do not take", errCompressed)
	case len(p) <= end:
		return fmt.Errorf("%w: lz4 frame header cut short", errCompressed)
	case byte(xxh32(p[4:end])>>8) != p[end]:
		return fmt.Errorf("%w: checksum of the lz4 frame header", errCompressed)
	}
	z.flags, z.blockBytes, z.src = flags, 1<<(8+2*code), p[end+1:]
	return nil
}

func (z *lz4Inflater) next() ([]byte, error) {
	if z.done {
		return nil, io.EOF
	}
	size, err := z.uint32()
	if err != nil {
		return nil, err
	}
	if size == 0 { // the end mark; as Kafka's reader, this one looks at nothing behind it
		z.done = true
		return nil, io.EOF
	}
	raw := size&lz4RawBlock != 0
	n := int(size &^ lz4RawBlock)
	if n > len(z.src) || n > z.blockBytes {
		return nil, fmt.Errorf("%w: lz4 block of %d bytes where %d are left", errCompressed, n, len(z.src))
	}
	block := z.src[:n]
	z.src = z.src[n:]
	if err := z.checkBlock(block); err != nil {
		return nil, err
	}
	if raw {
		return block, nil
	}
	return z.decompress(block)
}

func (z *lz4Inflater) decompress(block []byte) ([]byte, error) {
	if need := min(z.blockBytes, lz4ExpandMax*len(block)); z.out == nil || len(z.out.buf) < need {
		putPiece(z.out)
		z.out = getPiece(need)
	}
	dst := z.out.buf
	if len(dst) > z.blockBytes {
		dst = dst[:z.blockBytes]
	}
	n, err := lz4.UncompressBlock(block, dst)
	if err != nil {
		return nil, fmt.Errorf("%w: lz4: %w", errCompressed, err)
	}
	return dst[:n], nil
}

func (z *lz4Inflater) checkBlock(block []byte) error {
	if z.flags&lz4BlockChecksum == 0 {
		return nil
	}
	sum, err := z.uint32()
	if err == nil && sum != xxh32(block) {
		err = fmt.Errorf("%w: checksum of an lz4 block", errCompressed)
	}
	return err
}

func (z *lz4Inflater) uint32() (uint32, error) {
	if len(z.src) < 4 {
		return 0, fmt.Errorf("%w: lz4 frame cut short", errCompressed)
	}
	u := binary.LittleEndian.Uint32(z.src)
	z.src = z.src[4:]
	return u, nil
}

func (z *lz4Inflater) release() {
	putPiece(z.out)
	*z = lz4Inflater{}
	lz4Inflaters.Put(z)
}

// The primes of xxHash32.
const (
	xxPrime1 uint32 = 2654435761
	xxPrime2 uint32 = 2246822519
	xxPrime3 uint32 = 3266489917
	xxPrime4 uint32 = 668265263
	xxPrime5 uint32 = 374761393
)

// xxh32 is xxHash32 with seed 0, the checksum of lz4 frames.
func xxh32(p []byte) uint32 {
	size := uint32(len(p))
	h := xxPrime5
	if len(p) >= 16 {
		var seed uint32
		lanes := [4]uint32{seed + xxPrime1 + xxPrime2, seed + xxPrime2, seed, seed - xxPrime1}
		for ; len(p) >= 16; p = p[16:] {
			for i := range lanes {
				lane := lanes[i] + binary.LittleEndian.Uint32(p[4*i:])*xxPrime2
				lanes[i] = bits.RotateLeft32(lane, 13) * xxPrime1
			}
		}
		h = bits.RotateLeft32(lanes[0], 1) + bits.RotateLeft32(lanes[1], 7) +
			bits.RotateLeft32(lanes[2], 12) + bits.RotateLeft32(lanes[3], 18)
	}
	h += size
	for ; len(p) >= 4; p = p[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(p)*xxPrime3, 17) * xxPrime4
	}
	for _, b := range p {
		h = bits.RotateLeft32(h+uint32(b)*xxPrime5, 11) * xxPrime1
	}
	h = (h ^ h>>15) * xxPrime2
	h = (h ^ h>>13) * xxPrime3
	return h ^ h>>16
}

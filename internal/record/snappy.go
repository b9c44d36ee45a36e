package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/s2"
)

// Java's producers frame snappy as the xerial library does: a header of 16 bytes,
// then blocks, each behind its size as a big-endian int32. Others send one block
// without a frame. Both are read.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const (
	xerialHeaderBytes = 16
	xerialBlockBytes  = 32 << 10 // what one block holds, uncompressed, as Java writes it

	// snappyExpandMax: the best that snappy can do is a copy of 64 bytes in 3.
	snappyExpandMax = 22
)

var snappyInflaters = sync.Pool{New: func() any { return new(snappyInflater) }}

type snappyInflater struct {
	src    []byte // what is left of the payload
	framed bool
	limit  int64
	out    *piece // nil before the first block
}

func newSnappyInflater(payload []byte, limit int64) (inflater, error) {
	s := snappyInflaters.Get().(*snappyInflater)
	s.src, s.limit = payload, limit
	if len(payload) >= xerialHeaderBytes && bytes.HasPrefix(payload, xerialMagic) {
		s.framed, s.src = true, payload[xerialHeaderBytes:]
	}
	return s, nil
}

func (s *snappyInflater) next() ([]byte, error) {
	if len(s.src) == 0 {
		return nil, io.EOF
	}
	block := s.src
	if s.framed {
		if len(block) < 4 {
			return nil, fmt.Errorf("%w: snappy frame cut short", errCompressed)
		}
		size := int(binary.BigEndian.Uint32(block))
		block = block[4:]
		if size > len(block) {
			return nil, fmt.Errorf("%w: snappy block of %d bytes where %d are left", errCompressed, size, len(block))
		}
		block, s.src = block[:size], block[size:]
	} else {
		s.src = nil
	}
	return s.decompress(block)
}

func (s *snappyInflater) decompress(block []byte) ([]byte, error) {
	n, err := s2.DecodedLen(block)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: snappy: %w", errCompressed, err)
	case n > snappyExpandMax*len(block) || !isSnappy(block):
		return nil, fmt.Errorf("%w: not a snappy block", errCompressed)
	case int64(n) > s.limit:
		return nil, errInflates
	}
	if s.out == nil || len(s.out.buf) < n {
		putPiece(s.out)
		s.out = getPiece(n)
	}
	p, err := s2.Decode(s.out.buf[:n], block)
	if err != nil {
		return nil, fmt.Errorf("%w: snappy: %w", errCompressed, err)
	}
	return p, nil
}

// isSnappy tells whether a block is free of what S2 added to snappy: the decoder
// takes both, other people's consumers do not. S2 repeats the last offset
// where snappy's short copy would have offset 0.
func isSnappy(block []byte) bool {
	_, i := binary.Uvarint(block)
	for i < len(block) {
		tag := block[i]
		switch tag & 3 {
		case 0:
			n := int(tag >> 2)
			if n >= 60 {
				extra := n - 59
				if i+extra >= len(block) {
					return false
				}
				n = 0
				for k := extra; k > 0; k-- {
					n = n<<8 | int(block[i+k])
				}
				i += extra
			}
			i += 2 + n
		case 1:
			if i+1 >= len(block) || tag>>5 == 0 && block[i+1] == 0 {
				return false
			}
			i += 2
		case 2:
			i += 3
		default:
			i += 5
		}
	}
	return i == len(block)
}

func (s *snappyInflater) release() {
	putPiece(s.out)
	*s = snappyInflater{}
	snappyInflaters.Put(s)
}

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/ids"
)

// ErrMalformed is a message that ends early or says what cannot be.
var ErrMalformed = errors.New("malformed message")

// maxStringBytes is the longest string of the protocol: its length is an int16, and
// Kafka holds compact strings to the same bound.
const maxStringBytes = 1<<15 - 1

// Reader reads primitives from a message. What it returns aliases the message. Its
// first failure empties it, is kept for Err, and everything read after that is zero,
// so a caller may check once at the end.
type Reader struct {
	src []byte
	off int
	bad string // what failed; empty while nothing has
	at  int    // where it failed
}

// NewReader reads src.
func NewReader(src []byte) Reader { return Reader{src: src} }

// Err returns nil, or what the first failure was; it wraps ErrMalformed.
func (r *Reader) Err() error {
	if r.bad == "" {
		return nil
	}
	return fmt.Errorf("%w: %s at byte %d", ErrMalformed, r.bad, r.at)
}

// Failed tells whether Err is not nil, without making an error.
func (r *Reader) Failed() bool { return r.bad != "" }

// Len returns how many bytes are left.
func (r *Reader) Len() int { return len(r.src) - r.off }

// Rest returns the bytes that are left and reads them.
func (r *Reader) Rest() []byte {
	p := r.src[r.off:]
	r.off = len(r.src)
	return p
}

func (r *Reader) fail(what string) {
	if r.bad == "" {
		r.bad, r.at = what, r.off
	}
	r.off = len(r.src)
}

// Span returns the next n bytes, which cannot be appended to in place; nil where there are fewer.
func (r *Reader) Span(n int) []byte {
	if n < 0 || n > len(r.src)-r.off {
		r.fail("length beyond the end")
		return nil
	}
	p := r.src[r.off : r.off+n : r.off+n]
	r.off += n
	return p
}

// Int8 reads one byte.
func (r *Reader) Int8() int8 {
	if p := r.Span(1); p != nil {
		return int8(p[0])
	}
	return 0
}

// Int16 reads a 16-bit integer.
func (r *Reader) Int16() int16 {
	if p := r.Span(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

// Int32 reads a 32-bit integer.
func (r *Reader) Int32() int32 {
	if p := r.Span(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

// Int64 reads a 64-bit integer.
func (r *Reader) Int64() int64 {
	if p := r.Span(8); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

// UUID reads an identifier.
func (r *Reader) UUID() ids.UUID {
	if p := r.Span(16); p != nil {
		return ids.UUID(p)
	}
	return ids.UUID{}
}

// Uvarint reads an unsigned integer of at most 32 bits.
func (r *Reader) Uvarint() uint32 {
	var v uint64
	for i := range 5 {
		if r.off == len(r.src) {
			r.fail("unfinished varint")
			return 0
		}
		b := r.src[r.off]
		r.off++
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v)
		}
	}
	r.fail("varint above 32 bits")
	return 0
}

// compactLen reads a compact length: one more than the length, 0 for null (-1).
func (r *Reader) compactLen() int { return int(r.Uvarint()) - 1 }

func (r *Reader) string(n int) []byte {
	if n > maxStringBytes {
		r.fail("string too long")
		return nil
	}
	return r.Span(n)
}

// String reads a string that cannot be null.
func (r *Reader) String() []byte { return r.string(int(r.Int16())) }

// NullableString reads a string; nil is null, an empty one is not nil.
func (r *Reader) NullableString() []byte {
	if n := int(r.Int16()); n != -1 {
		return r.string(n)
	}
	return nil
}

// CompactString reads a string that cannot be null.
func (r *Reader) CompactString() []byte { return r.string(r.compactLen()) }

// CompactNullableString reads a string; nil is null, an empty one is not nil.
func (r *Reader) CompactNullableString() []byte {
	if n := r.compactLen(); n != -1 {
		return r.string(n)
	}
	return nil
}

// NullableBytes reads bytes; nil is null, empty ones are not nil.
func (r *Reader) NullableBytes() []byte {
	if n := int(r.Int32()); n != -1 {
		return r.Span(n)
	}
	return nil
}

// CompactNullableBytes reads bytes; nil is null, empty ones are not nil.
func (r *Reader) CompactNullableBytes() []byte {
	if n := r.compactLen(); n != -1 {
		return r.Span(n)
	}
	return nil
}

// arrayLen checks that n elements of at least elementBytes each can follow.
func (r *Reader) arrayLen(n, elementBytes int) int {
	if r.bad != "" {
		return 0
	}
	if n < 0 || n > r.Len()/elementBytes {
		r.fail("array length beyond the end")
		return 0
	}
	return n
}

// ArrayLen reads the length of an array that cannot be null, of elements that take
// at least elementBytes each. A length that the bytes left cannot hold is refused.
func (r *Reader) ArrayLen(elementBytes int) int { return r.arrayLen(int(r.Int32()), elementBytes) }

// CompactArrayLen is ArrayLen for a compact length.
func (r *Reader) CompactArrayLen(elementBytes int) int {
	return r.arrayLen(r.compactLen(), elementBytes)
}

// SkipTags skips tagged fields, all of them unknown to the caller.
func (r *Reader) SkipTags() {
	for n := r.Uvarint(); n > 0 && r.bad == ""; n-- {
		r.Uvarint()
		r.Span(int(r.Uvarint()))
	}
}

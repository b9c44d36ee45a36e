package metadata

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/moldau/moldau/internal/ids"
)

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendNullableString writes length + 1, so that 0 stands for nil.
func appendNullableString(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(*s))+1)
	return append(dst, *s...)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// appendNodes and appendDirectories write length + 1, so that 0 stands for nil.
func appendNodes(dst []byte, nodes []ids.NodeID) []byte {
	if nodes == nil {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(nodes))+1)
	for _, n := range nodes {
		dst = binary.AppendVarint(dst, int64(n))
	}
	return dst
}

func appendDirectories(dst []byte, dirs []ids.DirectoryID) []byte {
	if dirs == nil {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(dirs))+1)
	for i := range dirs {
		dst = append(dst, dirs[i][:]...)
	}
	return dst
}

// appendNoTags ends a body: nothing that this release writes is in a tagged field.
func appendNoTags(dst []byte) []byte { return append(dst, 0) }

// reader takes fields off the front of b. The first fault sticks in err and every
// later field reads as zero, so callers check once, at the end. Nothing allocates
// more than a small multiple of the bytes that are there.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
	}
	r.b = nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("a number is cut short or too long")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("a number is cut short or too long")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bounded reads a number of lo to hi.
func (r *reader) bounded(lo, hi int64) int64 {
	v := r.varint()
	if v < lo || v > hi {
		r.fail("number %d is outside %d to %d", v, lo, hi)
		return 0
	}
	return v
}

func (r *reader) node() ids.NodeID { return ids.NodeID(r.bounded(math.MinInt32, math.MaxInt32)) }

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail("%d bytes are announced where %d are left", n, len(r.b))
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) byte() byte {
	p := r.bytes(1)
	if len(p) == 0 {
		return 0
	}
	return p[0]
}

func (r *reader) bool() bool {
	b := r.byte()
	if b > 1 {
		r.fail("a truth value is %d", b)
	}
	return b == 1
}

func (r *reader) string() string { return string(r.bytes(r.uvarint())) }

func (r *reader) nullableString() *string {
	n := r.uvarint()
	if n == 0 {
		return nil
	}
	s := string(r.bytes(n - 1))
	if r.err != nil {
		return nil
	}
	return &s
}

func (r *reader) uuid() (u ids.UUID) {
	copy(u[:], r.bytes(16))
	return u
}

// count reads how many elements follow, each of at least elementBytes.
func (r *reader) count(elementBytes int) int { return r.checkCount(r.uvarint(), elementBytes) }

// nullableCount is count where 0 stands for a nil array, returned as -1.
func (r *reader) nullableCount(elementBytes int) int {
	n := r.uvarint()
	if n == 0 {
		return -1
	}
	return r.checkCount(n-1, elementBytes)
}

func (r *reader) checkCount(n uint64, elementBytes int) int {
	if n > uint64(len(r.b)/elementBytes) {
		r.fail("%d elements are announced where %d bytes are left", n, len(r.b))
		return 0
	}
	return int(n)
}

func (r *reader) nodes() []ids.NodeID {
	n := r.nullableCount(1)
	if n < 0 || r.err != nil {
		return nil
	}
	nodes := make([]ids.NodeID, n)
	for i := range nodes {
		nodes[i] = r.node()
	}
	return nodes
}

func (r *reader) directories() []ids.DirectoryID {
	n := r.nullableCount(16)
	if n < 0 || r.err != nil {
		return nil
	}
	dirs := make([]ids.DirectoryID, n)
	for i := range dirs {
		dirs[i] = r.uuid()
	}
	return dirs
}

// tags skips the tagged fields that end a body: a later release may add some that
// an earlier one can do without.
func (r *reader) tags() {
	last := int64(-1)
	for n := r.count(2); n > 0 && r.err == nil; n-- {
		tag := r.uvarint()
		if tag > math.MaxInt32 || int64(tag) <= last {
			r.fail("tagged field %d follows %d", tag, last)
			return
		}
		last = int64(tag)
		r.bytes(r.uvarint())
	}
}

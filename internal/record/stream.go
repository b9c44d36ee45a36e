package record

import (
	"errors"
	"fmt"
	"io"
)

// errMalformed says that the records are not as the format wants them.
var errMalformed = errors.New("malformed records")

// stream is the records of one batch as bytes to be consumed, decompressed piece by
// piece. A record is most often whole in one piece and then read without being
// copied; one that straddles pieces is read byte by byte, or put together in scratch by those who
// want its key and value.
type stream struct {
	piece []byte   // decompressed, not consumed
	rest  inflater // what follows piece; nil where nothing does

	inflated int64 // bytes of all pieces so far
	limit    int64 // that inflated may reach

	consumed int64 // bytes taken by skip and readByte, for the size of a straddling record
	err      error // the first failure; after it every read returns zeros
	scratch  []byte
}

// openStream starts on the records of b. The stream must be closed.
func openStream(b Batch, limit int64) (stream, error) {
	codec := b.Attributes().Codec()
	if codec == None {
		return stream{piece: b.payload()}, nil
	}
	in, err := newInflater(codec, b.payload(), limit)
	if err != nil {
		return stream{}, err
	}
	return stream{rest: in, limit: limit}, nil
}

func (s *stream) close() {
	if s.rest != nil {
		s.rest.release()
		s.rest, s.piece = nil, nil
	}
}

// fill makes piece not empty, or returns false: at the end, or with err set.
func (s *stream) fill() bool {
	for len(s.piece) == 0 {
		if s.err != nil || s.rest == nil {
			return false
		}
		p, err := s.rest.next()
		if err == io.EOF {
			s.close()
			return false
		}
		s.inflated += int64(len(p))
		switch {
		case err != nil:
			s.err = err
		case s.inflated > s.limit:
			s.err = errInflates
		default:
			s.piece = p
		}
	}
	return true
}

// end returns an error unless everything has been consumed, without a failure.
func (s *stream) end() error {
	if s.fill() {
		return fmt.Errorf("%w: bytes after the last record", errMalformed)
	}
	return s.err
}

// shallow is what the broker wants to know of a record; its key, value and headers have
// only been checked to be there.
type shallow struct {
	timestampDelta int64
	offsetDelta    int32
	nullKey        bool
}

// next consumes one record. After a false, err says why.
func (s *stream) next() (shallow, bool) {
	size, at := varint(s.piece, 0)
	if at < 0 || size < 0 || int(size) > len(s.piece)-at {
		return s.straddling()
	}
	body := s.piece[at : at+int(size)]
	s.piece = s.piece[at+int(size):]
	r, ok := readShallow(body)
	if !ok {
		s.fail()
	}
	return r, ok
}

// readShallow reads a record of which body is everything behind its size.
func readShallow(body []byte) (r shallow, ok bool) {
	var size int32
	var i int
	r.timestampDelta, i = varlong(body, 1) // behind the attributes, of which no bit has a meaning
	r.offsetDelta, i = varint(body, i)
	size, i = varint(body, i)
	r.nullKey = size < 0
	if i = skipBytes(body, i, size); i < 0 {
		return r, false
	}
	size, i = varint(body, i)
	if i = skipBytes(body, i, size); i < 0 {
		return r, false
	}
	size, i = varint(body, i)
	if size == 0 {
		return r, i == len(body)
	}
	return r, skipHeaders(body, i, size) == len(body)
}

// skipBytes returns where a field of size bytes at body[i:] ends, or -1 where it does not fit.
// A negative size stands for null.
func skipBytes(body []byte, i int, size int32) int {
	if i < 0 || int(size) > len(body)-i {
		return -1
	}
	return i + int(max(size, 0))
}

// skipHeaders returns where count headers at body[i:] end, or -1.
func skipHeaders(body []byte, i int, count int32) int {
	if i < 0 || count < 0 {
		return -1
	}
	for ; count > 0 && i >= 0; count-- {
		var size int32
		if size, i = varint(body, i); size < 0 {
			return -1
		}
		if i = skipBytes(body, i, size); i < 0 {
			return -1
		}
		size, i = varint(body, i)
		i = skipBytes(body, i, size)
	}
	return i
}

// straddling reads a record that is not whole in piece, as readShallow does, but holds
// none of its bytes: a key or value may be as large as the bound allows.
func (s *stream) straddling() (r shallow, ok bool) {
	size := s.readVarint()
	start := s.consumed
	s.readByte()
	r.timestampDelta = s.readVarlong()
	r.offsetDelta = s.readVarint()
	key := s.readVarint()
	r.nullKey = key < 0
	s.skip(key)
	s.skip(s.readVarint())
	headers := s.readVarint()
	if headers < 0 {
		s.fail()
	}
	for ; headers > 0 && s.err == nil; headers-- {
		name := s.readVarint()
		if name < 0 {
			s.fail()
		}
		s.skip(name)
		s.skip(s.readVarint())
	}
	if s.consumed-start != int64(size) {
		s.fail()
	}
	return r, s.err == nil
}

// nextWhole consumes one record and returns everything behind its size, valid until
// the next call.
func (s *stream) nextWhole() ([]byte, bool) {
	size, at := varint(s.piece, 0)
	if at >= 0 && size >= 0 && int(size) <= len(s.piece)-at {
		body := s.piece[at : at+int(size) : at+int(size)]
		s.piece = s.piece[at+int(size):]
		return body, true
	}
	left := int(s.readVarint())
	if left < 0 {
		s.fail()
	}
	s.scratch = s.scratch[:0] // grows as bytes arrive, not as the size claims
	for left > 0 && s.err == nil {
		if !s.fill() {
			s.fail()
			break
		}
		n := min(left, len(s.piece))
		s.scratch = append(s.scratch, s.piece[:n]...)
		s.piece = s.piece[n:]
		left -= n
	}
	return s.scratch, s.err == nil
}

// fail notes that the records are malformed, unless something else failed before.
func (s *stream) fail() {
	if s.err == nil {
		s.err = errMalformed
	}
}

func (s *stream) readByte() byte {
	if len(s.piece) == 0 && !s.fill() {
		s.fail()
		return 0
	}
	b := s.piece[0]
	s.piece = s.piece[1:]
	s.consumed++
	return b
}

func (s *stream) skip(size int32) {
	for left := int(size); left > 0; {
		if len(s.piece) == 0 && !s.fill() {
			s.fail()
			return
		}
		n := min(left, len(s.piece))
		s.piece = s.piece[n:]
		s.consumed += int64(n)
		left -= n
	}
}

func (s *stream) readVarint() int32 {
	var buf [varintMaxBytes]byte
	v, end := varint(s.varintBytes(buf[:]), 0)
	if end < 0 {
		s.fail()
	}
	return v
}

func (s *stream) readVarlong() int64 {
	var buf [varlongMaxBytes]byte
	v, end := varlong(s.varintBytes(buf[:]), 0)
	if end < 0 {
		s.fail()
	}
	return v
}

// varintBytes moves one varint into buf, or as much of it as there is room for.
func (s *stream) varintBytes(buf []byte) []byte {
	for n := range buf {
		buf[n] = s.readByte()
		if buf[n] < 0x80 || s.err != nil {
			return buf[:n+1]
		}
	}
	return buf
}

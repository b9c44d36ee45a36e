package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// API keys that framing and the order of a connection must know.
const (
	KeyProduce      int16 = 0
	KeyOffsetCommit int16 = 8
	KeyApiVersions  int16 = 18
)

// ErrHeader is a request header that cannot be read.
var ErrHeader = errors.New("malformed request header")

// RequestHeader is a view of a request: ClientID and Body alias the frame.
type RequestHeader struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      []byte // nil where the client sent null
	Body          []byte
}

// notFlexible stands in flexibleFrom for an API without a flexible version.
const notFlexible = 1<<15 - 1

// flexibleFrom is the first flexible version of each API key (KIP-482), as kmsg has it.
var flexibleFrom = func() []int16 {
	from := make([]int16, kmsg.MaxKey+1)
	for key := range from {
		from[key] = notFlexible
		req := kmsg.RequestForKey(int16(key))
		if req == nil {
			continue
		}
		for v := int16(0); v <= req.MaxVersion(); v++ {
			if req.SetVersion(v); req.IsFlexible() {
				from[key] = v
				break
			}
		}
	}
	return from
}()

// IsFlexible tells whether a version of an API has compact lengths and tagged
// fields. A version beyond those known is what the newest known one is, so that the
// header of an ApiVersions request from the future can be read.
func IsFlexible(key, version int16) bool {
	return key >= 0 && int(key) < len(flexibleFrom) && version >= flexibleFrom[key]
}

// FixedHeader reads the part of a request header that comes before anything of
// variable length. p begins after the frame's length and has FixedHeaderBytes or more.
func FixedHeader(p []byte) (key, version int16, correlationID int32) {
	_ = p[FixedHeaderBytes-1]
	return int16(binary.BigEndian.Uint16(p)), int16(binary.BigEndian.Uint16(p[2:])), int32(binary.BigEndian.Uint32(p[4:]))
}

// ReadRequestHeader reads the header of a request from a whole frame without its
// length. The client id has a 16-bit length also in flexible headers
// (RequestHeader.json), because the first request is sent before versions are agreed.
func ReadRequestHeader(frame []byte) (RequestHeader, error) {
	if len(frame) < MinRequestBytes {
		return RequestHeader{}, fmt.Errorf("%w: %d bytes", ErrHeader, len(frame))
	}
	var h RequestHeader
	h.Key, h.Version, h.CorrelationID = FixedHeader(frame)
	r := NewReader(frame[FixedHeaderBytes:])
	h.ClientID = r.NullableString()
	if IsFlexible(h.Key, h.Version) {
		r.SkipTags()
	}
	if err := r.Err(); err != nil {
		return RequestHeader{}, fmt.Errorf("%w of API key %d version %d: %w", ErrHeader, h.Key, h.Version, err)
	}
	h.Body = r.Rest()
	return h, nil
}

// AppendRequestHeader appends a request header, without the frame's length.
func AppendRequestHeader(dst []byte, key, version int16, correlationID int32, clientID *string) []byte {
	dst = AppendInt16(dst, key)
	dst = AppendInt16(dst, version)
	dst = AppendInt32(dst, correlationID)
	dst = AppendNullableString(dst, clientID)
	if IsFlexible(key, version) {
		dst = AppendNoTags(dst)
	}
	return dst
}

// AppendResponseHeader appends the response header that belongs to a request of
// that API key and version. ApiVersions has version 0 of it always (KIP-511): a
// client must be able to read the answer before it knows what the broker speaks.
func AppendResponseHeader(dst []byte, key, version int16, correlationID int32) []byte {
	dst = AppendInt32(dst, correlationID)
	if key != KeyApiVersions && IsFlexible(key, version) {
		dst = AppendNoTags(dst)
	}
	return dst
}

// ReadResponseHeader reads the header of the answer to a request of that API key and version. The body aliases the frame.
func ReadResponseHeader(frame []byte, key, version int16) (correlationID int32, body []byte, err error) {
	r := NewReader(frame)
	correlationID = r.Int32()
	if key != KeyApiVersions && IsFlexible(key, version) {
		r.SkipTags()
	}
	if err := r.Err(); err != nil {
		return 0, nil, fmt.Errorf("the header of an answer to API key %d version %d: %w", key, version, err)
	}
	return correlationID, r.Rest(), nil
}

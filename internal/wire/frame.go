package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// LengthBytes is the size of the length that begins every frame.
	LengthBytes = 4
	// FixedHeaderBytes is the part of a request header that every version has:
	// API key, API version, correlation id.
	FixedHeaderBytes = 8
	// MinRequestBytes is the shortest request after its length: a fixed header and
	// the length of a client id.
	MinRequestBytes = FixedHeaderBytes + 2
)

// What a frame's length can be wrong about. The last two are other protocols
// spoken to a Kafka port, told by the bytes that stand where the length should.
var (
	ErrFrameLength = errors.New("impossible frame length")
	ErrFrameSize   = errors.New("frame too large")
	ErrTLS         = errors.New("TLS hello on a plaintext listener")
	ErrHTTP        = errors.New("HTTP request on a Kafka listener")
)

// FrameLength returns how many bytes follow the four of prefix, which must be a
// request of at most maxBytes. An error wraps one of the ErrFrame sentinels, ErrTLS or ErrHTTP.
func FrameLength(prefix []byte, maxBytes int) (int, error) {
	n := int(int32(binary.BigEndian.Uint32(prefix)))
	if n >= MinRequestBytes && n <= maxBytes {
		return n, nil
	}
	if err := otherProtocol(prefix); err != nil {
		return 0, err
	}
	if n < MinRequestBytes {
		return 0, fmt.Errorf("%w: %d bytes, a request has at least %d", ErrFrameLength, n, MinRequestBytes)
	}
	return 0, fmt.Errorf("%w: %d bytes, the limit is %d", ErrFrameSize, n, maxBytes)
}

// otherProtocol recognises what people point at a Kafka port by mistake. All of it
// reads as a length above any limit, so no Kafka client is ever taken for it.
func otherProtocol(prefix []byte) error {
	if prefix[0] == 0x16 && prefix[1] == 0x03 && prefix[2] <= 0x04 { // handshake record, SSL 3.0 to TLS 1.3
		return ErrTLS
	}
	switch string(prefix[:4]) {
	case "GET ", "POST", "PUT ", "HEAD", "DELE", "OPTI", "PATC", "CONN", "TRAC", "PRI ":
		return ErrHTTP
	}
	return nil
}

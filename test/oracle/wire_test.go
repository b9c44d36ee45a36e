package oracle

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	clientID      = "oracle"
	answerTimeout = 20 * time.Second
	frameMax      = 64 << 20
)

// header returns a request header: version 1, or 2 with its tags for a flexible request.
func header(key, version int16, correlation int32, client string, flexible bool) []byte {
	h := binary.BigEndian.AppendUint16(nil, uint16(key))
	h = binary.BigEndian.AppendUint16(h, uint16(version))
	h = binary.BigEndian.AppendUint32(h, uint32(correlation))
	h = binary.BigEndian.AppendUint16(h, uint16(len(client)))
	h = append(h, client...)
	if flexible {
		h = append(h, 0)
	}
	return h
}

// payload returns what follows the length of a request's frame.
func payload(req kmsg.Request, correlation int32, client string) []byte {
	return req.AppendTo(header(req.Key(), req.GetVersion(), correlation, client, req.IsFlexible()))
}

func frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(answerTimeout))
	return conn
}

// errClosed says that the broker closed the connection instead of answering.
var errClosed = errors.New("closed")

// receive reads one frame and returns what follows its length.
func receive(conn net.Conn) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, closedOr(err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > frameMax {
		return nil, errors.New("an answer with an impossible length")
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, closedOr(err)
	}
	return body, nil
}

func closedOr(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("neither an answer nor a close in time")
	}
	return errClosed
}

// decode reads the answer to req out of what followed a frame's length.
func decode(req kmsg.Request, version int16, answer []byte) (resp kmsg.Response, correlation int32, rest []byte, err error) {
	resp = req.ResponseKind()
	resp.SetVersion(version)
	correlation, body := int32(binary.BigEndian.Uint32(answer)), answer[4:]
	if resp.IsFlexible() && req.Key() != 18 { // an ApiVersions answer always has header version 0 (KIP-511)
		if len(body) == 0 || body[0] != 0 {
			return nil, 0, nil, errors.New("a response header with tags")
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, 0, nil, err
	}
	// A decoder that stopped early, or skipped what it does not know, writes something else than it read.
	again := resp.AppendTo(nil)
	if n := len(again); n <= len(body) && string(again) == string(body[:n]) {
		return resp, correlation, body[n:], nil
	}
	return resp, correlation, []byte("the answer encodes differently"), nil
}

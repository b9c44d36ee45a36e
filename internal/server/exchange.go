package server

import (
	"context"
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/invariant"
	"github.com/moldau/moldau/internal/vfs"
	"github.com/moldau/moldau/internal/wire"
)

// Handler serves requests.
type Handler interface {
	// Serves tells whether requests of this API key and version are served, to a node of
	// the cluster or to a client. It is not asked about ApiVersions, which the handler
	// answers in every version (KIP-511).
	Serves(key, version int16, node bool) bool
	// Serve serves one request. It runs on the connection's goroutine and calls, once,
	// one of Reply, ReplyBody, NoReply and Close before it returns, or Later, and one
	// of these afterwards.
	Serve(x *Exchange)
}

// Source is bytes that an answer contains; a pointer to a log.Slice is one. It is used by
// one goroutine at a time and released once, after it was sent or when it never will be.
type Source interface {
	// Len returns the number of bytes.
	Len() int
	// ReadAt reads len(p) bytes from off, which together are not beyond Len.
	ReadAt(p []byte, off int64) (int, error)
	// File returns the file that holds the bytes and the position of the first one; nil
	// where there is none. Both are good until Release.
	File() (vfs.File, int64)
	// Release gives the bytes back to their owner.
	Release()
}

// Part says that the bytes of Source follow the first At bytes of the body that it belongs to.
type Part struct {
	At     int
	Source Source
}

// Exchange is one request and its answer. It belongs to the handler until the answer is
// given, and must not be touched after that.
type Exchange struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      string // empty also where the client sent null
	// Body is what follows the request header. It aliases a pooled chunk and is valid
	// until the answer is given, or until Park or FreeBody.
	Body []byte
	Conn *Conn

	buf   *buffer // of Buffer; the handler's until the answer is given
	later bool    // set on the connection's goroutine before anybody else knows x

	// The rest is guarded by Conn.mu where later is set, and otherwise the connection's
	// goroutine's.
	state   exchangeState
	serving bool   // Serve has not returned
	chunk   *chunk // holds Body and is pinned for it
	cause   error  // of Close
}

type exchangeState uint8

const (
	statePending  exchangeState = iota
	stateAnswered               // and waiting for the answers before it
	stateGone                   // its answer is the connection's
)

// Reply answers with resp, which has the version that it is to be encoded in.
func (x *Exchange) Reply(resp kmsg.Response) {
	x.ReplyBody(resp.AppendTo(x.Buffer()), nil)
}

// Buffer returns a pooled slice to which the body of an answer is appended for
// ReplyBody. What it holds already is the frame's beginning.
func (x *Exchange) Buffer() []byte {
	if x.buf == nil {
		x.buf = x.Conn.memory.takeBuffer()
	}
	b := append(x.buf.b[:0], 0, 0, 0, 0) // the length, which ReplyBody fills in
	return wire.AppendResponseHeader(b, x.Key, x.Version, x.CorrelationID)
}

// ReplyBody answers with a body that was appended to Buffer, with the bytes of parts put
// in where they say. The slice of parts stays the caller's; their sources are released
// by the connection, in any case.
func (x *Exchange) ReplyBody(body []byte, parts []Part) {
	n := len(body)
	for i := range parts {
		n += parts[i].Source.Len()
	}
	binary.BigEndian.PutUint32(body, uint32(n-wire.LengthBytes))
	x.buf.b = body
	x.buf.parts = append(x.buf.parts[:0], parts...)
	x.Conn.answer(x)
}

// NoReply ends an exchange that has no answer (acks=0).
func (x *Exchange) NoReply() {
	x.Conn.answer(x)
}

// Close closes the connection, without an answer and with one line in the log that names
// the peer and the cause. Answers to earlier requests that are ready still leave.
func (x *Exchange) Close(cause error) {
	if x.later {
		x.Conn.close(&closeError{causeRefused, cause})
		x.Conn.answer(x)
		return
	}
	x.cause = &closeError{causeRefused, cause}
	x.state = stateGone
}

// Later says that the answer comes later, from any goroutine: Serve may return. The
// connection then goes on with the next request if that may overlap (ADR 0014), and waits otherwise.
func (x *Exchange) Later() {
	if x.later {
		return
	}
	x.later, x.serving = true, true
	x.Conn.expect(x)
}

// Alone tells, on the connection's goroutine, that the client waits for this answer before it
// sends more, as far as its last requests show. A handler that has to wait for something may then
// as well do it itself, on this goroutine.
func (x *Exchange) Alone() bool { return x.Conn.alone >= aloneMin }

// FreeBody gives the bytes of the request back early. A handler that waits long for
// its answer calls it once it needs them no more.
func (x *Exchange) FreeBody() {
	x.Body = nil
	if x.later {
		x.Conn.mu.Lock()
		x.Conn.unpinLocked(x)
		x.Conn.mu.Unlock()
	}
}

// Done returns a channel that is closed when the connection or the server is ending: a
// handler that waits on the connection's goroutine gives up then. Who asks is about to
// wait, so answers to earlier requests leave first. It does not tell that the peer has
// gone: nobody reads from the connection meanwhile.
func (x *Exchange) Done() <-chan struct{} { return x.Context().Done() }

// Context returns a context that ends when Done does.
func (x *Exchange) Context() context.Context {
	if !x.later {
		x.Conn.flush()
	}
	return x.Conn.context()
}

// Park is Done for a handler that may wait long on the connection's goroutine, such as
// Fetch: it also gives the memory of the request back, after which Body is nil.
func (x *Exchange) Park() <-chan struct{} {
	done := x.Done()
	x.Body = nil
	if !x.later {
		x.Conn.park()
	}
	return done
}

// checkAnswered reports a handler that returned without an answer.
func (x *Exchange) checkAnswered() error {
	if x.state != statePending {
		return nil
	}
	return invariant.Check(false, "the handler of %s version %d returned without an answer", apiName(x.Key), x.Version)
}

package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/wire"
)

const (
	// unansweredTimeout ends a connection on which no answer comes for so long although somebody has given one up:
	// whoever is behind it in line would wait in vain too.
	unansweredTimeout = 5 * time.Second
	// answerBufferBytes is how much is read at once of small answers.
	answerBufferBytes = 16 << 10
	// correlationIDAt is where the correlation id of a request is in its frame.
	correlationIDAt = wire.LengthBytes + 4
)

// call is one request and its answer.
type call struct {
	key, version  int16
	frame         []byte // until it is sent
	correlationID int32  // set when it is sent
	abandoned     bool   // nobody waits for the answer; guarded by remote.mu

	// done is closed once one of the others is set.
	done   chan struct{}
	answer []byte  // without its header
	memory *[]byte // that the answer is in, where it can be used again
	err    error
}

func newCall(req kmsg.Request) *call {
	x := &call{key: req.Key(), version: req.GetVersion(), done: make(chan struct{})}
	x.frame = wire.AppendRequestHeader(make([]byte, wire.LengthBytes, 256), x.key, x.version, 0, nil)
	x.frame = req.AppendTo(x.frame)
	binary.BigEndian.PutUint32(x.frame, uint32(len(x.frame)-wire.LengthBytes))
	return x
}

func (x *call) finish(answer []byte, memory *[]byte, err error) {
	x.answer, x.memory, x.err = answer, memory, err
	close(x.done)
}

func fail(calls []*call, err error) {
	for _, x := range calls {
		x.finish(nil, nil, err)
	}
}

// remote is what a client has of one node.
type remote struct {
	client *Client
	wake   chan struct{} // one token: there is something to send, or the connection has changed

	// Of run.
	reach reach
	conn  *answering // nil without a connection

	// mu is a leaf.
	mu struct {
		sync.Mutex
		closed    bool
		queue     []*call  // to be sent
		bytes     int      // of queue
		sent      []*call  // and not answered, in order
		conn      net.Conn // that they were sent over; nil once it has ended
		cause     error    // why run has ended it
		abandoned int      // how many of sent are
		nextID    int32
	}
}

// answering is a connection that a goroutine takes answers from.
type answering struct {
	net.Conn
	answered atomic.Bool   // one has come
	ended    chan struct{} // closed when the goroutine returns
	lost     error         // why it has ended, where requests were lost with it; set before ended is closed
}

func newRemote(c *Client, to ids.NodeID) *remote {
	return &remote{
		client: c, wake: make(chan struct{}, 1),
		reach: reach{to: to, channel: ChannelBroker, local: c.cfg.Local, dial: c.cfg.Dial, logger: c.cfg.Logger, backoff: backoffMin},
	}
}

// put has a request sent.
func (r *remote) put(x *call) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.mu.closed:
		return ErrClosed
	case len(r.mu.queue)+len(r.mu.sent) >= r.client.cfg.RequestsMax || r.mu.bytes >= r.client.cfg.QueueBytesMax:
		return ErrBusy
	}
	r.mu.queue = append(r.mu.queue, x)
	r.mu.bytes += len(x.frame)
	r.poke()
	return nil
}

func (r *remote) poke() {
	select {
	case r.wake <- struct{}{}:
	default: // there is a token already
	}
}

// abandon gives a request up: it is not sent any more, or nobody waits for its answer.
func (r *remote) abandon(x *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.mu.queue, x); i >= 0 {
		r.mu.queue = slices.Delete(r.mu.queue, i, i+1)
		r.mu.bytes -= len(x.frame)
		return
	}
	if !slices.Contains(r.mu.sent, x) {
		return // it was answered just now
	}
	x.abandoned = true
	if r.mu.abandoned++; r.mu.abandoned == 1 && r.mu.conn != nil {
		r.mu.conn.SetReadDeadline(time.Now().Add(unansweredTimeout)) // an error says that it has ended
	}
}

// take returns what is to be sent.
func (r *remote) take() net.Buffers {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts := make(net.Buffers, 0, len(r.mu.queue))
	for _, x := range r.mu.queue {
		x.correlationID = r.mu.nextID
		r.mu.nextID++
		binary.BigEndian.PutUint32(x.frame[correlationIDAt:], uint32(x.correlationID))
		parts = append(parts, x.frame)
		x.frame = nil
	}
	r.mu.sent = append(r.mu.sent, r.mu.queue...)
	r.mu.queue, r.mu.bytes = nil, 0
	return parts
}

// drop returns what was not sent.
func (r *remote) drop() []*call {
	r.mu.Lock()
	defer r.mu.Unlock()
	queue := r.mu.queue
	r.mu.queue, r.mu.bytes = nil, 0
	return queue
}

func (r *remote) waits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mu.queue) > 0
}

// run is the goroutine of a remote.
func (r *remote) run() {
	ctx := r.client.ctx
	defer r.close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		r.look(ctx)
		if !r.waits() {
			continue
		}
		if r.conn == nil {
			err := r.connect(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				fail(r.drop(), fmt.Errorf("%w: %w", ErrUnreachable, err))
				r.reach.failed(ctx, err)
				continue
			}
		}
		if err := write(r.conn, r.take()); err != nil {
			r.hangUp(err)
			r.reach.failed(ctx, err)
		}
	}
}

// look sees what has become of the connection.
func (r *remote) look(ctx context.Context) {
	if r.conn == nil {
		return
	}
	if r.conn.answered.Load() {
		r.reach.reached()
	}
	if !isClosed(r.conn.ended) {
		return
	}
	lost := r.conn.lost
	r.conn = nil
	if lost != nil {
		r.reach.failed(ctx, lost)
	}
}

func (r *remote) connect(ctx context.Context) error {
	nc, stop, err := r.reach.open(ctx)
	if err != nil {
		return err
	}
	conn := &answering{Conn: nc, ended: make(chan struct{})}
	r.conn = conn
	r.mu.Lock()
	r.mu.conn = nc
	r.mu.Unlock()
	r.client.wg.Go(func() {
		err := r.takeAnswers(conn)
		stop()
		conn.Close()
		sent, err := r.lose(err)
		conn.lost = err
		close(conn.ended) // before anybody learns that he may ask again
		r.fail(sent, err)
		r.poke()
	})
	return nil
}

// takeAnswers is the goroutine of a connection. It returns why that has ended.
func (r *remote) takeAnswers(conn *answering) error {
	in := bufio.NewReaderSize(conn, answerBufferBytes)
	for {
		frame, memory, err := receiveAnswer(in, r.client.cfg.ResponseBytesMax)
		if err != nil {
			return err
		}
		if err := r.answered(frame, memory); err != nil {
			return err
		}
		if !conn.answered.Load() {
			conn.answered.Store(true)
			r.poke()
		}
	}
}

// answered finishes the request that a frame answers, the oldest that was sent.
func (r *remote) answered(frame []byte, memory *[]byte) error {
	x := r.oldest()
	if x == nil {
		return fmt.Errorf("%w: an answer to no request", ErrFrame)
	}
	id, body, err := wire.ReadResponseHeader(frame, x.key, x.version)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrFrame, err)
	case id != x.correlationID:
		return fmt.Errorf("%w: the answer to request %d where that to %d was due", ErrFrame, id, x.correlationID)
	}
	r.pop()
	x.finish(body, memory, nil)
	return nil
}

func (r *remote) oldest() *call {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.sent) == 0 {
		return nil
	}
	return r.mu.sent[0]
}

// pop takes the oldest request that was sent out of the line.
func (r *remote) pop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.mu.sent[0]
	r.mu.sent[0] = nil
	if r.mu.sent = r.mu.sent[1:]; len(r.mu.sent) == 0 {
		r.mu.sent = nil
	}
	before := r.mu.abandoned
	if x.abandoned {
		r.mu.abandoned--
	}
	// There is news: who is behind in line has the whole time again.
	switch {
	case r.mu.abandoned > 0:
		r.mu.conn.SetReadDeadline(time.Now().Add(unansweredTimeout))
	case before > 0:
		r.mu.conn.SetReadDeadline(time.Time{})
	}
}

// lose takes what was sent over a connection that has ended, and returns why that has ended; nil where nothing was lost.
func (r *remote) lose(err error) ([]*call, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := r.mu.sent
	if r.mu.cause != nil {
		err = r.mu.cause
	}
	r.mu.sent, r.mu.abandoned, r.mu.conn, r.mu.cause = nil, 0, nil, nil
	if len(sent) == 0 {
		return nil, nil
	}
	return sent, err
}

// fail fails what was sent over a connection that has ended because of err.
func (r *remote) fail(sent []*call, err error) {
	if r.client.ctx.Err() != nil {
		fail(sent, ErrClosed)
	} else {
		fail(sent, fmt.Errorf("%w: %w", ErrUnanswered, err))
	}
}

// hangUp ends the connection because of err.
func (r *remote) hangUp(err error) {
	r.mu.Lock()
	r.mu.cause = err
	r.mu.Unlock()
	r.conn.Close()
	<-r.conn.ended
	r.conn = nil
	r.fail(r.lose(err)) // what was taken to be sent after it had ended
}

// close ends everything when run does.
func (r *remote) close() {
	r.mu.Lock()
	r.mu.closed = true
	r.mu.Unlock()
	fail(r.drop(), ErrClosed)
	if r.conn != nil {
		r.hangUp(ErrClosed)
	}
}

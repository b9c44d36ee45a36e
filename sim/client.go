package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/sim/machine"
)

// patience is how long a client waits for one answer. In a bubble it costs nothing.
const patience = time.Minute

var errNoAnswer = errors.New("no answer")

// client is one connection of a client that retries nothing and hides nothing.
// Answers come on its own goroutine.
type client struct {
	conn   net.Conn
	format *kmsg.RequestFormatter
	ended  chan struct{} // closed when the goroutine ends

	// writing orders requests: held while one is noted and written.
	writing sync.Mutex

	mu struct {
		sync.Mutex // leaf
		sent       int32
		waiting    []call // oldest first
		err        error  // why the connection is over
	}
}

// call is a request whose answer is not here yet.
type call struct {
	id   int32
	resp kmsg.Response
	done func(kmsg.Response, error)
}

func newClient(ctx context.Context, from *machine.Process, address string) (*client, error) {
	conn, err := from.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("sim")), ended: make(chan struct{})}
	go c.read()
	return c, nil
}

// close ends the connection; who still waits gets an error, before it returns.
func (c *client) close() {
	c.conn.Close()
	<-c.ended
}

// send writes a request and returns; done is called once, by the goroutine that reads.
func (c *client) send(req kmsg.Request, done func(kmsg.Response, error)) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	if err := c.mu.err; err != nil {
		c.mu.Unlock()
		done(nil, err)
		return
	}
	c.mu.sent++
	id := c.mu.sent
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	c.mu.waiting = append(c.mu.waiting, call{id, resp, done})
	c.mu.Unlock()
	if _, err := c.conn.Write(c.format.AppendRequest(nil, req, id)); err != nil {
		c.conn.Close() // read tells who waits
	}
}

// call sends a request and waits for its answer.
func (c *client) call(req kmsg.Request) (kmsg.Response, error) {
	type answer struct {
		resp kmsg.Response
		err  error
	}
	got := make(chan answer, 1)
	go c.send(req, func(r kmsg.Response, err error) { got <- answer{r, err} })
	select {
	case a := <-got:
		return a.resp, a.err
	case <-time.After(patience):
		return nil, fmt.Errorf("%s: %w for %v", kmsg.NameForKey(req.Key()), errNoAnswer, patience)
	}
}

func (c *client) read() {
	defer close(c.ended)
	err := c.answers()
	c.conn.Close()
	c.mu.Lock()
	c.mu.err = fmt.Errorf("connection ended: %w", err)
	waiting := c.mu.waiting
	c.mu.waiting = nil
	c.mu.Unlock()
	for _, w := range waiting {
		w.done(nil, c.mu.err)
	}
}

func (c *client) answers() error {
	for {
		var head [8]byte
		if _, err := io.ReadFull(c.conn, head[:]); err != nil {
			return err
		}
		body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
		if _, err := io.ReadFull(c.conn, body); err != nil {
			return err
		}
		c.mu.Lock()
		if len(c.mu.waiting) == 0 {
			c.mu.Unlock()
			return errors.New("an answer that nobody asked for")
		}
		w := c.mu.waiting[0]
		c.mu.waiting = c.mu.waiting[1:]
		c.mu.Unlock()
		w.done(w.resp, w.decode(int32(binary.BigEndian.Uint32(head[4:])), body))
	}
}

func (w *call) decode(id int32, body []byte) error {
	if id != w.id {
		return fmt.Errorf("answer %d where %d was due", id, w.id)
	}
	if w.resp.IsFlexible() && w.resp.Key() != int16(kmsg.ApiVersions) {
		if len(body) == 0 || body[0] != 0 {
			return errors.New("the header of an answer has tags")
		}
		body = body[1:]
	}
	return w.resp.ReadFrom(body)
}

// ask is call for one kind of answer.
func ask[R kmsg.Response](c *client, req kmsg.Request, version int16) (R, error) {
	req.SetVersion(version)
	resp, err := c.call(req)
	if err != nil {
		var none R
		return none, err
	}
	return resp.(R), nil
}

// refused is the error of an answer's code.
func refused(code int16, what string, args ...any) error {
	if err := kerr.ErrorForCode(code); err != nil {
		return fmt.Errorf("%s: %w", fmt.Sprintf(what, args...), err)
	}
	return nil
}

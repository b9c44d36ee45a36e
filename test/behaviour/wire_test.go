package behaviour

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A conn is a connection to the broker, for one goroutine at a time.
type conn struct {
	t           *testing.T
	socket      net.Conn
	correlation int32
	format      *kmsg.RequestFormatter
}

func dial(t *testing.T) *conn {
	t.Helper()
	socket, err := net.DialTimeout("tcp", bootstrap, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return &conn{t: t, socket: socket, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("behaviour"))}
}

func (c *conn) link() *conn { return c }

// An asker is a connection or what has one.
type asker interface{ link() *conn }

// A request knows the type of its answer.
type request[R any] interface {
	kmsg.Request
	RequestWith(context.Context, kmsg.Requestor) (R, error)
}

// byName are the last versions that name topics rather than giving their ids.
var byName = map[int16]int16{0: 12, 1: 12, 8: 9, 9: 9}

// ask sends a request in the newest version that the broker has, and that names topics, and returns the answer.
func ask[R any](on asker, req request[R]) R {
	c := on.link()
	c.t.Helper()
	resp, err := try(on, req)
	if err != nil {
		c.t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp
}

// askAt is ask in a version.
func askAt[R any](on asker, version int16, req request[R]) R {
	c := on.link()
	c.t.Helper()
	req.SetVersion(version)
	resp, err := req.RequestWith(c.t.Context(), c)
	if err != nil {
		c.t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), version, err)
	}
	return resp
}

// try is ask for goroutines of their own.
func try[R any](on asker, req request[R]) (R, error) {
	version := min(req.MaxVersion(), newest(req.Key()))
	if last, ok := byName[req.Key()]; ok {
		version = min(version, last)
	}
	req.SetVersion(version)
	return req.RequestWith(context.Background(), on.link())
}

// Request sends a request as it is, and reads its answer.
func (c *conn) Request(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
	if err := c.send(req); err != nil {
		return nil, err
	}
	return c.receive(req)
}

func (c *conn) send(req kmsg.Request) error {
	c.correlation++
	c.socket.SetDeadline(time.Now().Add(patience))
	_, err := c.socket.Write(c.format.AppendRequest(nil, req, c.correlation))
	return err
}

// receive reads the answer to the last request.
func (c *conn) receive(req kmsg.Request) (kmsg.Response, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.socket, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > 64<<20 {
		return nil, errors.New("an answer with an impossible length")
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(c.socket, answer); err != nil {
		return nil, err
	}
	if int32(binary.BigEndian.Uint32(answer)) != c.correlation {
		return nil, errors.New("the answer to another request")
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	body := answer[4:]
	if resp.IsFlexible() && req.Key() != 18 { // an ApiVersions answer always has header version 0 (KIP-511)
		body = body[1:] // no tags
	}
	return resp, resp.ReadFrom(body)
}

// closed tells whether the broker closes the connection rather than sending anything.
func (c *conn) closed() bool {
	c.socket.SetReadDeadline(time.Now().Add(patience))
	n, err := c.socket.Read(make([]byte, 1))
	var timeout net.Error
	return n == 0 && err != nil && !(errors.As(err, &timeout) && timeout.Timeout())
}

// newest returns the greatest version of an API that the broker advertises.
func newest(key int16) int16 {
	return advertised()[key]
}

// advertised is the answer to ApiVersions, asked once.
var advertised = sync.OnceValue(func() map[int16]int16 {
	socket, err := net.DialTimeout("tcp", bootstrap, patience)
	if err != nil {
		panic(err)
	}
	defer socket.Close()
	c := &conn{socket: socket, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("behaviour"))}
	req := kmsg.NewPtrApiVersionsRequest()
	resp, err := req.RequestWith(context.Background(), c)
	if err != nil {
		panic(err)
	}
	versions := map[int16]int16{}
	for _, k := range resp.ApiKeys {
		versions[k.ApiKey] = k.MaxVersion
	}
	return versions
})

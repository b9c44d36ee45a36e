package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/wire"
)

// testHandler serves what its functions say.
type testHandler struct {
	serve func(x *Exchange)
}

const (
	keyProduce      = wire.KeyProduce
	keyOffsetCommit = wire.KeyOffsetCommit
	keyFetch        = 1
	keyMetadata     = 3
	keySyncGroup    = 14
	keyInternal     = 4 // served to nodes alone
)

func (h *testHandler) Serves(key, version int16, node bool) bool {
	if key == keyInternal {
		return node
	}
	return slices.Contains([]int16{keyProduce, keyFetch, keyMetadata, keyOffsetCommit, keySyncGroup}, key) && version >= 0 && version <= 12
}

func (h *testHandler) Serve(x *Exchange) { h.serve(x) }

// echo answers with the body of the request.
func echo(x *Exchange) { x.ReplyBody(append(x.Buffer(), x.Body...), nil) }

// memListener is a listener within the process.
type memListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemListener() *memListener {
	return &memListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *memListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

// logBuffer keeps log lines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.buf.String(), "\n"), "\n")
}

// harness is a server with its log and a way to dial it.
type harness struct {
	t    testing.TB
	srv  *Server
	log  *logBuffer
	dial func() net.Conn
}

func start(t testing.TB, config Config, serve func(x *Exchange), level slog.Level) *harness {
	return startWith(t, config, Deps{Handler: &testHandler{serve}}, level)
}

func startWith(t testing.TB, config Config, deps Deps, level slog.Level) *harness {
	h := &harness{t: t, log: &logBuffer{}}
	deps.Logger = slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: level}))
	srv, err := New(config, deps)
	if err != nil {
		t.Fatal(err)
	}
	h.srv = srv
	return h
}

// startMem serves connections within the process, for bubbles.
func startMem(t testing.TB, config Config, serve func(x *Exchange)) *harness {
	h := start(t, config, serve, slog.LevelInfo)
	l := newMemListener()
	go h.srv.Serve(l, "MEM")
	h.dial = l.dial
	return h
}

// startTCP serves connections over loopback.
func startTCP(t testing.TB, config Config, serve func(x *Exchange)) *harness {
	h := start(t, config, serve, slog.LevelInfo)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go h.srv.Serve(l, "PLAINTEXT")
	h.dial = func() net.Conn {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
	return h
}

// stop stops the server and checks that nothing is left.
func (h *harness) stop() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := h.srv.Stop(ctx); err != nil {
		h.t.Error(err)
	}
	if s := h.srv.Stats(); s.Connections != 0 || s.MemoryBytes != 0 {
		h.t.Errorf("left after the stop: %+v", s)
	}
}

// request makes a frame.
func request(key, version int16, correlationID int32, body string) []byte {
	id := "test"
	p := wire.AppendRequestHeader(make([]byte, wire.LengthBytes), key, version, correlationID, &id)
	p = append(p, body...)
	binary.BigEndian.PutUint32(p, uint32(len(p)-wire.LengthBytes))
	return p
}

func mustWrite(t testing.TB, nc net.Conn, p []byte) {
	t.Helper()
	if _, err := nc.Write(p); err != nil {
		t.Fatal(err)
	}
}

// readAnswer reads one answer with a version 0 header.
func readAnswer(nc io.Reader) (correlationID int32, body []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(nc, head[:]); err != nil {
		return 0, nil, err
	}
	body = make([]byte, binary.BigEndian.Uint32(head[:])-4)
	_, err = io.ReadFull(nc, body)
	return int32(binary.BigEndian.Uint32(head[4:])), body, err
}

func wantAnswer(t testing.TB, nc io.Reader, correlationID int32, body string) {
	t.Helper()
	id, got, err := readAnswer(nc)
	if err != nil || id != correlationID || string(got) != body {
		t.Fatalf("answer %d %.50q (%d bytes), %v; want %d %.50q (%d bytes)", id, got, len(got), err, correlationID, body, len(body))
	}
}

const patternBytesMax = 20 << 20

var patternBytes = sync.OnceValue(func() string {
	p := make([]byte, 0, patternBytesMax+16)
	for i := int64(0); len(p) < patternBytesMax; i++ {
		p = append(strconv.AppendInt(p, i, 10), ',')
	}
	return string(p)
})

// pattern returns n bytes that tell their position.
func pattern(n int) string { return patternBytes()[:n] }

package server

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/invariant"
	"github.com/moldau/moldau/internal/wire"
)

// Each bad input closes its connection with one line that names the peer and the cause,
// and disturbs nobody else.
func TestBadInputIsClosedWithOneLine(t *testing.T) {
	length := func(n int32) string { return string(wire.AppendInt32(nil, n)) }
	good := string(request(keyMetadata, 1, 1, "hello"))
	for _, c := range []struct {
		name, sent string
		hangUp     bool // the peer ends its side after sending
		bug        bool // test builds of invariants panic
		cause      string
	}{
		{name: "length 0", sent: length(0), cause: "impossible frame length: 0 bytes"},
		{name: "negative length", sent: length(-5), cause: "impossible frame length: -5 bytes"},
		{name: "length above socket.request.max.bytes", sent: length(101 << 20), cause: "frame too large"},
		{name: "length of 2^31-1", sent: length(1<<31 - 1), cause: "frame too large"},
		{name: "large frame of another API", sent: length(9<<20) + good[4:], cause: "frame too large: Metadata of 9437184 bytes"},
		{name: "garbage", sent: "\xde\xad\xbe\xef garbage that goes on and on", cause: "impossible frame length"},
		{name: "garbage after a request", sent: good + "\x00\x00\x10\x00" + strings.Repeat("\xff", 100), cause: "unknown API key -1"},
		{name: "TLS hello", sent: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on", cause: "TLS hello on a plaintext listener"},
		{name: "HTTP request", sent: "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", cause: "HTTP request on a Kafka listener"},
		{name: "unknown API", sent: string(request(1000, 0, 1, "")), cause: "unknown API key 1000"},
		{name: "negative API", sent: string(request(-7, 0, 1, "")), cause: "unknown API key -7"},
		{name: "an API that is not served", sent: string(request(11, 0, 1, "")), cause: "JoinGroup version 0 is not served"},
		{name: "version too new", sent: string(request(keyMetadata, 99, 1, "")), cause: "Metadata version 99 is not served"},
		{name: "negative version", sent: string(request(keyMetadata, -1, 1, "")), cause: "Metadata version -1 is not served"},
		{name: "truncated frame", sent: good[:len(good)-1], hangUp: true, cause: "closed in the middle of a frame, after 22 bytes"},
		{name: "truncated length", sent: good[:3], hangUp: true, cause: "closed in the middle of a frame, after 3 bytes"},
		{name: "client id beyond the frame", sent: length(12) + "\x00\x03\x00\x01\x00\x00\x00\x01\x00\xff\x00\x00", cause: "malformed request header of API key 3 version 1"},
		{name: "2^32-1 tags", sent: length(15) + "\x00\x03\x00\x09\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\x0f", cause: "malformed request header of API key 3 version 9"},
		{name: "what the handler refuses", sent: string(request(keyMetadata, 1, 1, "refuse me")), cause: "the handler says no"},
		{name: "what makes the handler panic", sent: string(request(keyMetadata, 1, 1, "panic")), bug: true, cause: "panic: a bug"},
		{name: "what the handler forgets", sent: string(request(keyMetadata, 1, 1, "forget me")), bug: true, cause: "returned without an answer"},
		{name: "refused later", sent: string(request(keyProduce, 1, 1, "refuse me later")), cause: "the handler says no later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.bug && invariant.Enabled {
				t.Skip("panics")
			}
			synctest.Test(t, func(t *testing.T) {
				h := startMem(t, DefaultConfig(), moody)
				bystander := h.dial()
				nc := h.dial()
				go func() {
					nc.Write([]byte(c.sent))
					if c.hangUp {
						nc.Close()
					}
				}()
				if strings.HasPrefix(c.sent, good) {
					wantAnswer(t, nc, 1, "hello")
				}
				if n, err := nc.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("read %d, %v: want the end", n, err)
				}
				synctest.Wait()
				lines := h.log.lines()
				if len(lines) != 1 || !strings.Contains(lines[0], c.cause) || !strings.Contains(lines[0], "peer=pipe") {
					t.Errorf("log: %q", lines)
				}
				go bystander.Write([]byte(good))
				wantAnswer(t, bystander, 1, "hello")
				bystander.Close()
				nc.Close()
				h.stop()
			})
		})
	}
}

// moody does what the body says.
func moody(x *Exchange) {
	switch string(x.Body) {
	case "refuse me":
		x.Close(errors.New("the handler says no"))
	case "refuse me later":
		x.Later()
		go x.Close(errors.New("the handler says no later"))
	case "panic":
		panic("a bug")
	case "forget me":
	default:
		echo(x)
	}
}

// ApiVersions reaches the handler in every version, with a header that it does not know.
func TestApiVersionsAlwaysReachesTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startMem(t, DefaultConfig(), func(x *Exchange) {
			if x.Key != wire.KeyApiVersions {
				t.Errorf("key %d", x.Key)
			}
			echo(x)
		})
		nc := h.dial()
		for _, version := range []int16{-1, 0, 2, 3, 4, 5, 99, 1<<15 - 1} {
			go nc.Write(request(wire.KeyApiVersions, version, int32(version), "body"))
			wantAnswer(t, nc, int32(version), "body")
		}
		nc.Close()
		h.stop()
	})
}

// A peer that never reads is closed when nothing has moved for stallTimeout; one that
// reads slowly is not.
func TestPeerThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startMem(t, DefaultConfig(), func(x *Exchange) {
			x.ReplyBody(append(x.Buffer(), pattern(1<<20)...), nil)
		})
		nc, slow := h.dial(), h.dial()
		go nc.Write(request(keyMetadata, 1, 1, "x"))
		go slow.Write(request(keyMetadata, 1, 1, "x"))
		begin := time.Now()
		got := 0
		p := make([]byte, 64<<10)
		for got < 1<<20 {
			time.Sleep(stallTimeout / 2)
			n, err := io.ReadFull(slow, p[:min(len(p), 1<<20+8-got)])
			if got += n; err != nil {
				t.Fatalf("after %d bytes and %v: %v", got, time.Since(begin), err)
			}
		}
		if _, err := nc.Read(p); err == nil {
			t.Error("the connection that never read is open")
		}
		lines := h.log.lines()
		if len(lines) != 1 || !strings.Contains(lines[0], errWriteStall.Error()) {
			t.Errorf("log: %q", lines)
		}
		slow.Close()
		h.stop()
	})
}

// The same over a real socket, whose buffers fill first.
func TestPeerThatNeverReadsHoldsLittle(t *testing.T) {
	served := make(chan struct{}, 10000)
	h := startTCP(t, DefaultConfig(), func(x *Exchange) {
		served <- struct{}{}
		x.ReplyBody(append(x.Buffer(), pattern(1<<20)...), nil)
	})
	nc := h.dial()
	go func() {
		for i := range 10000 {
			if _, err := nc.Write(request(keyMetadata, 1, int32(i), "x")); err != nil {
				return
			}
		}
	}()
	<-served
	if used := h.srv.Stats().MemoryBytes; used > unsentBytesMax+int64(chunkBytes[0]) {
		t.Errorf("%d bytes are held", used)
	}
	other := h.dial()
	go other.Write(request(keyMetadata, 1, 5, "x"))
	wantAnswer(t, other, 5, pattern(1<<20))
	other.Close()
	nc.Close()
	h.stop()
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := DefaultConfig()
		config.IdleMax = time.Minute
		h := start(t, config, func(x *Exchange) {
			switch x.Key {
			case keyProduce:
				x.Later()
				time.AfterFunc(10*time.Minute, func() { echo(x) })
			case keyFetch:
				time.Sleep(5 * time.Minute)
				echo(x)
			default:
				echo(x)
			}
		}, slog.LevelDebug)
		l := newMemListener()
		go h.srv.Serve(l, "MEM")
		idle, active, waiting, later := l.dial(), l.dial(), l.dial(), l.dial()
		go waiting.Write(request(keyFetch, 1, 1, "fetch"))
		go later.Write(request(keyProduce, 1, 2, "produce"))
		go func() {
			for i := range 10 {
				active.Write(request(keyMetadata, 1, int32(i), "x"))
				wantAnswer(t, active, int32(i), "x")
				time.Sleep(50 * time.Second)
			}
		}()
		begin := time.Now()
		if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the idle connection: %v", err)
		}
		if d := time.Since(begin); d < time.Minute || d > time.Minute+2*sweepInterval {
			t.Errorf("closed after %v", d)
		}
		wantAnswer(t, waiting, 1, "fetch")
		wantAnswer(t, later, 2, "produce")
		if lines := h.log.lines(); len(lines) < 1 || !strings.Contains(lines[0], errIdle.Error()) || !strings.Contains(lines[0], "DEBUG") {
			t.Errorf("log: %q", lines)
		}
		for _, nc := range []net.Conn{idle, active, waiting, later} {
			nc.Close()
		}
		time.Sleep(time.Minute)
		h.stop()
	})
}

func TestStalledFrameIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startMem(t, DefaultConfig(), echo)
		nc := h.dial()
		frame := request(keyMetadata, 1, 1, "hello")
		for i := range frame { // slow, but it moves
			if i == len(frame)-1 {
				break
			}
			mustWrite(t, nc, frame[i:i+1])
			time.Sleep(stallTimeout - 2*sweepInterval)
		}
		time.Sleep(4 * sweepInterval)
		synctest.Wait()
		if lines := h.log.lines(); !strings.Contains(lines[0], errReadStall.Error()) {
			t.Errorf("log: %q", lines)
		}
		nc.Close()
		h.stop()
	})
}

// An attacker cannot fill the log: lines of one cause are bounded, what was left out is counted.
func TestLogLinesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startMem(t, DefaultConfig(), echo)
		for range 1000 {
			nc := h.dial()
			nc.Write([]byte("GET / HTTP/1.1\r\n"))
			nc.Close()
		}
		nc := h.dial()
		go nc.Write(request(99, 0, 0, ""))
		synctest.Wait()
		if n := len(h.log.lines()); n != logLinesMax+1 {
			t.Errorf("%d lines, want %d and one of another cause", n, logLinesMax)
		}
		time.Sleep(logWindow + 2*sweepInterval)
		synctest.Wait()
		lines := h.log.lines()
		if last := lines[len(lines)-1]; len(lines) != logLinesMax+2 || !strings.Contains(last, "not logged") || !strings.Contains(last, "count=990") {
			t.Errorf("%d lines, the last is %q", len(lines), last)
		}
		nc.Close()
		h.stop()
	})
}

// FuzzConnection: whatever comes, in whatever pieces, the server ends or answers, every
// answer belongs to a request that is in the input, in order, and nothing is left over.
func FuzzConnection(f *testing.F) {
	two := append(request(keyProduce, 1, 1, "one"), request(keyMetadata, 9, 2, "\x00two")...)
	f.Add(two, uint64(1))
	f.Add(append(two, "GET / HTTP/1.1"...), uint64(2))
	f.Add(append(two, 0, 0, 0, 50, 0, 0, 0, 1), uint64(3))
	f.Fuzz(func(t *testing.T, input []byte, seed uint64) {
		synctest.Test(t, func(t *testing.T) {
			want := expectedAnswers(input)
			h := startMem(t, DefaultConfig(), func(x *Exchange) {
				if x.CorrelationID%3 == 0 {
					x.Later()
					time.AfterFunc(time.Duration(x.CorrelationID%7)*time.Millisecond, func() { echo(x) })
					return
				}
				echo(x)
			})
			nc := h.dial()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				r := rand.New(rand.NewPCG(seed, 0))
				for p := input; len(p) > 0; {
					n := 1 + r.IntN(len(p))
					if _, err := nc.Write(p[:n]); err != nil {
						break
					}
					p = p[n:]
				}
				time.Sleep(time.Second)
				nc.Close()
			}()
			for i := 0; ; i++ {
				id, _, err := readAnswer(nc)
				if err != nil {
					break
				}
				if i >= len(want) || id != want[i] {
					t.Errorf("answer %d is for %d, want %v", i, id, want)
					break
				}
			}
			<-sent
			h.stop()
		})
	})
}

// expectedAnswers returns the correlation ids of the requests that input begins with.
func expectedAnswers(input []byte) []int32 {
	var ids []int32
	h := testHandler{}
	for len(input) >= 12 {
		n := int(int32(binary.BigEndian.Uint32(input)))
		if n < wire.MinRequestBytes || n > len(input)-4 {
			break
		}
		head, err := wire.ReadRequestHeader(input[4 : 4+n])
		if err != nil || head.Key != wire.KeyApiVersions && !h.Serves(head.Key, head.Version, false) {
			break
		}
		ids = append(ids, head.CorrelationID)
		input = input[4+n:]
	}
	return ids
}

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// suite is one run against one broker; it belongs to one goroutine.
type suite struct {
	address  string
	pid      int
	logName  string
	patience time.Duration
	stall    time.Duration
	failed   int
}

// rssGrowthMax bounds what all the attacks together may add to the broker's resident size.
const rssGrowthMax = 128 << 20

func (s *suite) check(what string, err error) {
	if err != nil {
		s.failed++
		fmt.Printf("FAILED %s: %v\n", what, err)
		return
	}
	fmt.Printf("ok     %s\n", what)
}

func (s *suite) run(ctx context.Context) int {
	beside, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	var trips atomic.Int64
	go func() { done <- wellBehaved(beside, s.address, &trips) }()
	before := rss(s.pid)
	for _, a := range attacks {
		s.check(a.what, s.attack(a.send))
	}
	s.check("a client that never reads", s.neverReads())
	if grown := rss(s.pid) - before; s.pid != 0 && grown > rssGrowthMax {
		s.check("memory", fmt.Errorf("the broker grew by %d MB", grown>>20))
	} else if s.pid != 0 {
		s.check(fmt.Sprintf("memory: %d MB before, %d MB after", before>>20, rss(s.pid)>>20), nil)
	}
	stop()
	s.check("a well-behaved client beside all this", <-done)
	fmt.Printf("       it wrote and read %d times\n", trips.Load())
	return s.failed
}

// attacks send what must end the connection.
var attacks = []struct {
	what string
	send func(net.Conn) error
}{
	{"garbage", write(bytes.Repeat([]byte("\x7fGARBAGE"), 1000))},
	{"an HTTP request", write([]byte("GET / HTTP/1.1\r\nHost: moldau\r\n\r\n"))},
	{"a length below zero", write([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})},
	{"a length of 2 GiB", write([]byte{0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0})},
	{"a length beyond socket.request.max.bytes", write(binary.BigEndian.AppendUint32(nil, 100<<20+1))},
	{"a length of zero", write([]byte{0, 0, 0, 0})},
	{"a frame shorter than a header", write(frame([]byte{0, 3, 0}))},
	{"a frame cut short by a close", func(c net.Conn) error {
		if _, err := c.Write([]byte{0, 0, 1, 0, 0, 3, 0, 9}); err != nil {
			return err
		}
		return c.(*net.TCPConn).CloseWrite()
	}},
	{"an unknown API", write(frame(header(9999, 0)))},
	{"an API below zero", write(frame(header(-5, 0)))},
	{"an API that Kafka removed", write(frame(header(4, 0)))},
	{"an unsupported version", write(frame(header(3, 99)))},
	{"a version below zero", write(frame(header(3, -1)))},
	{"an array of 2^31 topics", write(frame(append(header(3, 1), 0x7f, 0xff, 0xff, 0xff)))},
	{"a compact array of 2^31 topics", write(frame(append(header(3, 9), 0, 0xff, 0xff, 0xff, 0xff, 0x0f)))},
	{"a produce request with 2^31 topics", write(frame(append(header(0, 3), 0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff)))},
	{"a fetch request with 2^31 topics", write(frame(append(append(header(1, 4), make([]byte, 17)...), 0x7f, 0xff, 0xff, 0xff)))},
	{"a client id of 32767 bytes in a short frame", write(frame([]byte{0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff}))},
	{"a request of random bytes", write(frame(append(header(19, 7), bytes.Repeat([]byte{0xa5, 0x5a, 0xff}, 500)...)))},
	{"a TLS hello", func(c net.Conn) error {
		err := tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake()
		if err == nil {
			return errors.New("the broker spoke TLS")
		}
		return nil
	}},
}

func write(b []byte) func(net.Conn) error {
	return func(c net.Conn) error {
		_, err := c.Write(b)
		return err
	}
}

func frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

// header is a request header without its tags.
func header(key, version int16) []byte {
	h := binary.BigEndian.AppendUint16(nil, uint16(key))
	h = binary.BigEndian.AppendUint16(h, uint16(version))
	return append(h, 0, 0, 0, 1, 0, 3, 'b', 'a', 'd')
}

// attack sends one thing and expects the connection's end, without an answer, and its line in the log.
func (s *suite) attack(send func(net.Conn) error) error {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(s.patience))
	if err := send(conn); err != nil {
		return err
	}
	if err := ended(conn); err != nil {
		return err
	}
	return s.logged(conn.LocalAddr().String())
}

// ended waits for the broker to close the connection.
func ended(conn net.Conn) error {
	n, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("the connection stays open")
	case n > 0:
		return fmt.Errorf("%d bytes were answered", n)
	}
	return nil
}

// logged waits for the one line that names the peer.
func (s *suite) logged(peer string) error {
	if s.logName == "" {
		return nil
	}
	var lines []string
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if lines = s.linesOf(peer); len(lines) > 0 {
			break
		}
	}
	if len(lines) != 1 {
		return fmt.Errorf("%d log lines name %s", len(lines), peer)
	}
	return nil
}

func (s *suite) linesOf(peer string) []string {
	raw, err := os.ReadFile(s.logName)
	if err != nil {
		return nil
	}
	var lines []string
	for line := range strings.Lines(string(raw)) {
		if i := strings.Index(line, peer); i >= 0 && (i+len(peer) == len(line) || line[i+len(peer)] < '0' || line[i+len(peer)] > '9') {
			lines = append(lines, line)
		}
	}
	return lines
}

// neverReads asks and asks, reads nothing, and expects the broker to stop reading, and in the end to close.
func (s *suite) neverReads() error {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The answers pile up here: each of these many small requests has one of a few hundred bytes or more.
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(1)
	one := frame(req.AppendTo(header(3, 1)))
	many := bytes.Repeat(one, 1000)
	sent, deadline := 0, time.Now().Add(s.stall)
	before := rss(s.pid)
	for time.Now().Before(deadline) {
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := conn.Write(many)
		sent += n
		if rest := n % len(one); rest != 0 { // a frame was cut: go on where it stopped
			conn.SetWriteDeadline(time.Now().Add(s.stall))
			m, err := conn.Write(one[rest:])
			sent += m
			if err != nil {
				return s.closedOr(conn, err)
			}
		}
		if s.pid != 0 && rss(s.pid)-before > rssGrowthMax {
			return fmt.Errorf("after %d MB of requests the broker grew by %d MB", sent>>20, (rss(s.pid)-before)>>20)
		}
		var timeout net.Error
		if err != nil && (!errors.As(err, &timeout) || !timeout.Timeout()) {
			return s.closedOr(conn, err)
		}
	}
	return fmt.Errorf("the connection stays open, %d bytes of requests sent", sent)
}

// closedOr accepts the end of a connection that the broker closed.
func (s *suite) closedOr(conn net.Conn, err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the connection stays open")
	}
	return s.logged(conn.LocalAddr().String())
}

// wellBehaved writes a record and reads it back until ctx ends; no round may take long.
func wellBehaved(ctx context.Context, address string, trips *atomic.Int64) error {
	topic := fmt.Sprintf("beside-%d", time.Now().UnixNano())
	cl, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic(topic),
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	const most = 20 * time.Second
	for n := 0; ctx.Err() == nil; n++ {
		round, cancel := context.WithTimeout(context.Background(), most)
		want := strconv.Itoa(n)
		err := cl.ProduceSync(round, kgo.StringRecord(want)).FirstErr()
		if err == nil {
			err = awaitRecord(round, cl, want)
		}
		cancel()
		if err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		trips.Add(1)
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

func awaitRecord(ctx context.Context, cl *kgo.Client, want string) error {
	for {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("record %s: %w", want, ctx.Err())
		}
		for _, r := range fetches.Records() {
			if string(r.Value) != want {
				return fmt.Errorf("record %s came where %s was due", r.Value, want)
			}
			return nil
		}
	}
}

// rss returns the resident bytes of a process, 0 for none.
func rss(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

package handler

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/vfs"
)

// exchanger sends one frame over and over and reads its answer, and allocates nothing.
type exchanger struct {
	c      *client
	frame  []byte
	answer []byte
}

func (c *client) exchanger(req kmsg.Request) *exchanger {
	e := &exchanger{c: c, answer: make([]byte, 2<<20)}
	e.frame = kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, 1)
	return e
}

func (e *exchanger) once() {
	if _, err := e.c.conn.Write(e.frame); err != nil {
		e.c.t.Fatal(err)
	}
	if _, err := io.ReadFull(e.c.conn, e.answer[:4]); err != nil {
		e.c.t.Fatal(err)
	}
	if _, err := io.ReadFull(e.c.conn, e.answer[4:4+binary.BigEndian.Uint32(e.answer)]); err != nil {
		e.c.t.Fatal(err)
	}
}

// TestProduceAllocatesNothing: from the frame to the answer no batch costs an allocation. It
// counts those of the client, the server and the log together.
func TestProduceAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, tc := range []struct {
		name       string
		acks       int16
		durability string
		idempotent bool
		most       float64
	}{
		{"acks=1", 1, "os", false, 0},
		{"acks=all, in memory of the OS", -1, "os", false, 0},
		// One sync serves all who wait. It costs its worker, its place in the queue, and a
		// goroutine that writes the answers.
		{"acks=all, synced", -1, "auto", false, 3},
		{"a duplicate of an idempotent producer", -1, "os", true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := startBrokerOn(t, vfs.OS, t.TempDir())
			defer b.stop()
			b.create("t", 1, "ack.durability", tc.durability)
			c := b.dial()
			defer c.close()
			sent := values(strings.Repeat("x", 1000))
			if tc.idempotent {
				sent = from(3, 0, 0, "x")
			}
			e := c.exchanger(produceRequest(9, tc.acks, "t", sent))
			for range 100 {
				e.once()
			}
			// What is rare is amortized: a segment's index, an epoch, a pool emptied by the collector.
			runs := 2000
			if tc.durability == "auto" {
				runs = 200 // each waits for the disk
			}
			if n := testing.AllocsPerRun(runs, e.once); n > tc.most {
				t.Errorf("%v allocations a batch, want %v", n, tc.most)
			}
		})
	}
}

func BenchmarkProduce(b *testing.B) {
	for _, size := range []int{100, 10_000, 1_000_000} {
		for _, durability := range []string{"os", "auto"} {
			b.Run(fmt.Sprintf("bytes=%d/durability=%s", size, durability), func(b *testing.B) {
				br := startBrokerOn(b, vfs.OS, b.TempDir())
				defer br.stop()
				br.create("t", 1, "ack.durability", durability, "retention.bytes", "1000000000")
				c := br.dial()
				defer c.close()
				e := c.exchanger(produceRequest(9, -1, "t", values(strings.Repeat("x", size))))
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					e.once()
				}
			})
		}
	}
}

// BenchmarkFetch reads answers of 1 MB, copied from the file to a connection within the process.
func BenchmarkFetch(b *testing.B) {
	br := startBrokerOn(b, vfs.OS, b.TempDir())
	defer br.stop()
	br.create("t", 1, "ack.durability", "os")
	c := br.dial()
	defer c.close()
	for range 20 {
		c.produce("t", values(strings.Repeat("x", 50_000)))
	}
	e := c.exchanger(fetchRequest("t", 0, 0))
	b.SetBytes(1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		e.once()
	}
}

// BenchmarkFetchSession asks a session of many partitions of which none moves.
func BenchmarkFetchSession(b *testing.B) {
	for _, partitions := range []int{1, 1000} {
		b.Run(fmt.Sprint("partitions=", partitions), func(b *testing.B) {
			br := startBroker(b)
			defer br.stop()
			br.create("t", partitions)
			c := br.dial()
			defer c.close()
			all := make([]int32, partitions)
			for i := range all {
				all[i] = int32(i)
			}
			id := c.fetch(opening(fetchRequest("t", 0, all...))).SessionID
			c.fetch(incremental(id, 1))
			fs := br.handlers.sessions
			fs.mu.Lock()
			s := fs.mu.byID[id].Value.(*fetchSession)
			fs.mu.Unlock()
			e := c.exchanger(incremental(id, 2))
			b.ReportAllocs()
			for b.Loop() {
				fs.mu.Lock()
				s.epoch = 2
				fs.mu.Unlock()
				e.once()
			}
		})
	}
}

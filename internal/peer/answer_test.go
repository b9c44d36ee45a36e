package peer

import (
	"bytes"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/wire"
)

// serveRecords answers fetches of version 12: the n-th with records that are all byte n, as many as MaxBytes says.
func serveRecords(c *asked) {
	for n := byte(1); ; n++ {
		frame, err := receive(c, 1<<20)
		if err != nil {
			return
		}
		h, err := wire.ReadRequestHeader(frame)
		req := kmsg.NewPtrFetchRequest()
		req.Version = h.Version
		if err == nil {
			err = req.ReadFrom(h.Body)
		}
		if err != nil {
			return
		}
		p := kmsg.NewFetchResponseTopicPartition()
		p.RecordBatches = bytes.Repeat([]byte{n}, int(req.MaxBytes))
		topic := kmsg.NewFetchResponseTopic()
		topic.Partitions = append(topic.Partitions, p)
		resp := kmsg.NewPtrFetchResponse()
		resp.Version, resp.Topics = req.Version, append(resp.Topics, topic)
		c.send(resp.AppendTo(wire.AppendResponseHeader(nil, h.Key, h.Version, h.CorrelationID)))
	}
}

// What an answer holds stays as it is until it is released, whatever others hold and have held.
func TestAnswersKeepTheirMemoryUntilReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(t, serveRecords)
		defer a.Close()
		type lent struct {
			n       byte
			records []byte
			release func()
		}
		var held []lent
		for n, size := range []int{100, 100 << 10, 300 << 10, 70 << 10, 600 << 10, 100 << 10, 5, 200 << 10, 100 << 10} {
			req := kmsg.NewPtrFetchRequest()
			req.Version, req.MaxBytes = 12, int32(size)
			resp, release, err := a.RequestLent(t.Context(), 2, req)
			if err != nil {
				t.Fatal(err)
			}
			records := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches
			if len(records) != size {
				t.Fatalf("%d bytes of %d", len(records), size)
			}
			held = append(held, lent{byte(n + 1), records, release})
			for _, h := range held {
				if bytes.Count(h.records, []byte{h.n}) != len(h.records) {
					t.Errorf("answer %d has changed when %d came", h.n, n+1)
				}
			}
			if n%2 == 1 {
				held[0].release()
				held = held[1:]
			}
		}
	})
}

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync"
	"time"

	"github.com/moldau/moldau/test/bench/internal/measure"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The greatest versions that name topics rather than number them.
const (
	maxProduceVersion = 12
	maxFetchVersion   = 12
)

// A stream is what one connection of the reqs command asks for, over and over.
type stream struct {
	conn    net.Conn
	latency *measure.Histogram
	ask     func(slot int) kmsg.Request                                      // the next request
	answer  func(slot int, resp kmsg.Response) (records, bytes int, e error) // what came back
	fixed   bool                                                             // every request is the same
	count   counts
	err     error
}

type counts struct{ requests, records, bytes int64 }

func runReqs(args []string) error {
	c := newConfig("reqs")
	api := c.String("api", "produce", "produce, fetch, metadata or apiversions")
	conns := c.Int("conns", 1, "connections; the n-th uses partition n of the topic, round again")
	depth := c.Int("depth", 4, "unanswered requests on a connection")
	size := c.Int("size", 1024, "bytes of a record's value, for produce")
	perBatch := c.Int("records", 64, "records of a batch, for produce")
	acks := c.Int("acks", -1, "1 or -1 (all), for produce")
	maxBytes := c.Int("fetch-bytes", 1<<20, "greatest answer to a fetch")
	duration := c.Duration("duration", 10*time.Second, "how long to send")
	ctx, cancel, err := c.parse(args)
	if err != nil {
		return err
	}
	defer cancel()
	if _, err := c.ensureTopic(ctx); err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	meta, err := adm.Metadata(ctx, c.topic)
	if err != nil {
		return err
	}
	versions, err := adm.ApiVersions(ctx)
	if err != nil {
		return err
	}
	first, _, err := c.bounds(ctx)
	if err != nil {
		return err
	}

	streams := make([]*stream, *conns)
	for i := range streams {
		partition := int32(i % len(first))
		leader := meta.Topics[c.topic].Partitions[partition].Leader
		at := -1
		for j, b := range meta.Brokers {
			if b.NodeID == leader {
				at = j
			}
		}
		if at < 0 {
			return fmt.Errorf("partition %d has no leader", partition)
		}
		conn, err := net.Dial("tcp", net.JoinHostPort(meta.Brokers[at].Host, fmt.Sprint(meta.Brokers[at].Port)))
		if err != nil {
			return err
		}
		defer conn.Close()
		s := &stream{conn: conn, latency: measure.NewHistogram(), fixed: true}
		var req kmsg.Request
		switch *api {
		case "produce":
			req = s.produce(c.topic, partition, int16(*acks), *perBatch, *size)
		case "fetch":
			req = s.fetch(c.topic, partition, first[partition], *depth, *maxBytes)
		case "metadata":
			m := kmsg.NewMetadataRequest()
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = &c.topic
			m.Topics = append(m.Topics, t)
			req = &m
		case "apiversions":
			a := kmsg.NewApiVersionsRequest()
			a.ClientSoftwareName, a.ClientSoftwareVersion = "bench", "1"
			req = &a
		default:
			return fmt.Errorf("no api %q", *api)
		}
		theirs := versions[leader]
		v, ok := theirs.KeyMaxVersion(req.Key())
		if !ok {
			return fmt.Errorf("the broker has no %s", *api)
		}
		v = min(v, req.MaxVersion())
		switch req.(type) {
		case *kmsg.ProduceRequest:
			v = min(v, maxProduceVersion)
		case *kmsg.FetchRequest:
			v = min(v, maxFetchVersion)
		case *kmsg.MetadataRequest:
			v = min(v, 9)
		}
		req.SetVersion(v)
		if s.ask == nil {
			s.ask = func(int) kmsg.Request { return req }
		}
		if s.answer == nil {
			s.answer = func(int, kmsg.Response) (int, int, error) { return 0, 0, nil }
		}
		streams[i] = s
	}

	m := c.meter()
	stop := m.Start.Add(*duration)
	var wg sync.WaitGroup
	for _, s := range streams {
		wg.Go(func() { s.err = s.run(ctx, *depth, stop) })
	}
	wg.Wait()
	var sum counts
	var latencies []*measure.Histogram
	for _, s := range streams {
		if s.err != nil {
			return s.err
		}
		sum.requests += s.count.requests
		sum.records += s.count.records
		sum.bytes += s.count.bytes
		latencies = append(latencies, s.latency)
	}
	r := m.Finish(sum.records, sum.bytes)
	r.Latency = measure.Summarize(latencies...)
	r.Extra["requests"] = sum.requests
	r.Extra["requests_s"] = measure.Round(float64(sum.requests) / r.Seconds)
	if r.Broker != nil {
		r.Extra["broker_us_per_request"] = measure.Round(r.Broker.CPU * 1e6 / float64(sum.requests))
	}
	return r.Print()
}

// produce sends one prepared batch again and again; the batch names no producer, so the broker keeps every copy.
func (s *stream) produce(topic string, partition int32, acks int16, records, size int) kmsg.Request {
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, newBatch(records, size)
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req := kmsg.NewProduceRequest()
	req.Acks, req.TimeoutMillis, req.Topics = acks, 30_000, append(req.Topics, t)
	s.answer = func(_ int, resp kmsg.Response) (int, int, error) {
		for _, t := range resp.(*kmsg.ProduceResponse).Topics {
			for _, p := range t.Partitions {
				return records, records * size, kerr.ErrorForCode(p.ErrorCode)
			}
		}
		return 0, 0, errors.New("a produce answer without a partition")
	}
	return &req
}

// fetch reads a partition from its start, each slot with a place of its own, and begins again at its end.
func (s *stream) fetch(topic string, partition int32, first int64, depth, maxBytes int) kmsg.Request {
	s.fixed = false
	offsets := make([]int64, depth)
	for i := range offsets {
		offsets[i] = first
	}
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.PartitionMaxBytes = partition, -1, int32(maxBytes)
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req := kmsg.NewFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 500, 1, int32(maxBytes)
	req.SessionEpoch, req.Topics = -1, append(req.Topics, t)
	s.ask = func(slot int) kmsg.Request {
		req.Topics[0].Partitions[0].FetchOffset = offsets[slot]
		return &req
	}
	s.answer = func(slot int, resp kmsg.Response) (int, int, error) {
		f := resp.(*kmsg.FetchResponse)
		if len(f.Topics) == 0 || len(f.Topics[0].Partitions) == 0 {
			return 0, 0, errors.Join(errors.New("a fetch answer without a partition"), kerr.ErrorForCode(f.ErrorCode))
		}
		p := &f.Topics[0].Partitions[0]
		next, records := walkBatches(p.RecordBatches)
		if offsets[slot] = next; records == 0 || next >= p.HighWatermark {
			offsets[slot] = first
		}
		return records, len(p.RecordBatches), kerr.ErrorForCode(p.ErrorCode)
	}
	return &req
}

// Places of fields in a record batch.
const (
	batchLength      = 8
	batchAfterLength = 12
	batchCRC         = 17
	batchAttributes  = 21
	batchLastDelta   = 23
	batchCount       = 57
	batchHeader      = 61
)

// walkBatches returns the offset behind the last whole batch and how many records the whole ones hold.
func walkBatches(b []byte) (next int64, records int) {
	for len(b) >= batchHeader {
		n := batchAfterLength + int(binary.BigEndian.Uint32(b[batchLength:]))
		if n > len(b) {
			break
		}
		next = int64(binary.BigEndian.Uint64(b)) + int64(binary.BigEndian.Uint32(b[batchLastDelta:])) + 1
		records += int(binary.BigEndian.Uint32(b[batchCount:]))
		b = b[n:]
	}
	return next, records
}

// newBatch encodes an uncompressed record batch.
func newBatch(records, size int) []byte {
	var body []byte
	values := measure.Payloads(size, 1)
	for i := range records {
		rec := kmsg.Record{OffsetDelta: int32(i), Value: values[i%len(values)]}
		rec.Length = int32(len(rec.AppendTo(nil)) - 1) // what follows the one byte of a zero length
		body = rec.AppendTo(body)
	}
	now := time.Now().UnixMilli()
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(records - 1),
		FirstTimestamp: now, MaxTimestamp: now, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: int32(records), Records: body,
	}
	b := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(b[batchLength:], uint32(len(b)-batchAfterLength))
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// run sends until stop with at most depth requests unanswered, and then awaits the answers still due.
func (s *stream) run(ctx context.Context, depth int, stop time.Time) error {
	if deadline, ok := ctx.Deadline(); ok {
		s.conn.SetDeadline(deadline)
	}
	type flight struct {
		slot int
		sent time.Time
	}
	free, flights := make(chan int, depth), make(chan flight, depth)
	for slot := range depth {
		free <- slot
	}
	sent := make(chan error, 1)
	example := s.ask(0)
	go func() {
		defer close(flights)
		w := bufio.NewWriterSize(s.conn, 64<<10)
		formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench"))
		var frame []byte
		for id := int32(0); time.Now().Before(stop); id++ {
			var slot int
			select {
			case slot = <-free:
			default: // about to wait: what is written must be on its way
				if err := w.Flush(); err != nil {
					sent <- err
					return
				}
				var ok bool
				if slot, ok = <-free; !ok {
					sent <- nil
					return
				}
			}
			if frame == nil || !s.fixed {
				frame = formatter.AppendRequest(frame[:0], s.ask(slot), id)
			} else {
				binary.BigEndian.PutUint32(frame[8:], uint32(id))
			}
			flights <- flight{slot, time.Now()}
			if _, err := w.Write(frame); err != nil {
				sent <- err
				return
			}
		}
		sent <- w.Flush()
	}()
	r := bufio.NewReaderSize(s.conn, 64<<10)
	var body []byte
	head := 4 // the correlation id, and behind it no tags
	if _, versions := example.(*kmsg.ApiVersionsRequest); example.IsFlexible() && !versions {
		head = 5
	}
	resp := example.ResponseKind()
	receive := func(f flight) error {
		var length [4]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(length[:]))
		if cap(body) < n {
			body = make([]byte, n)
		}
		if body = body[:n]; n < head {
			return fmt.Errorf("an answer of %d bytes", n)
		}
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		if id := int32(binary.BigEndian.Uint32(body)); int64(id) != s.count.requests {
			return fmt.Errorf("answer %d came for request %d", id, s.count.requests)
		}
		s.latency.Record(time.Since(f.sent))
		if err := resp.ReadFrom(body[head:]); err != nil {
			return err
		}
		records, bytes, err := s.answer(f.slot, resp)
		s.count.requests++
		s.count.records += int64(records)
		s.count.bytes += int64(bytes)
		return err
	}
	for f := range flights {
		if err := receive(f); err != nil {
			close(free)
			s.conn.Close()
			return err
		}
		free <- f.slot
	}
	return <-sent
}

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
	"slices"
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
	var q asking
	q.flags(c)
	ctx, cancel, err := c.parse(args)
	if err != nil {
		return err
	}
	defer cancel()
	if _, err := c.ensureTopic(ctx); err != nil {
		return err
	}
	streams, err := q.open(ctx, c)
	defer func() {
		for _, s := range streams {
			s.conn.Close()
		}
	}()
	if err != nil {
		return err
	}
	m := c.meter()
	stop := m.Start.Add(q.duration)
	var wg sync.WaitGroup
	for _, s := range streams {
		wg.Go(func() { s.err = s.run(ctx, q.depth, q.requests, stop) })
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

// asking is what the reqs command sends.
type asking struct {
	api            string
	conns, depth   int
	rotate         bool
	size, perBatch int
	acks, maxBytes int
	requests       int
	duration       time.Duration
}

func (q *asking) flags(c *config) {
	c.StringVar(&q.api, "api", "produce", "produce, fetch, metadata, apiversions or offsetcommit (of groups without members, on a cluster of one broker)")
	c.IntVar(&q.conns, "conns", 1, "connections; the n-th uses partition n of the topic, round again")
	c.BoolVar(&q.rotate, "rotate", false, "the n-th connection is to the n-th broker, round again, and uses all partitions in turn that it leads; for produce")
	c.IntVar(&q.depth, "depth", 4, "unanswered requests on a connection")
	c.IntVar(&q.size, "size", 1024, "bytes of a record's value, for produce")
	c.IntVar(&q.perBatch, "records", 64, "records of a batch, for produce")
	c.IntVar(&q.acks, "acks", -1, "1 or -1 (all), for produce")
	c.IntVar(&q.maxBytes, "fetch-bytes", 1<<20, "greatest answer to a fetch")
	c.IntVar(&q.requests, "requests", 0, "stop a connection after so many; 0: only by -duration")
	c.DurationVar(&q.duration, "duration", 10*time.Second, "how long to send")
}

// open connects the streams, each to the leader of its partition. Where it fails it returns
// those that are connected already.
func (q *asking) open(ctx context.Context, c *config) ([]*stream, error) {
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	meta, err := adm.Metadata(ctx, c.topic)
	if err != nil {
		return nil, err
	}
	versions, err := adm.ApiVersions(ctx)
	if err != nil {
		return nil, err
	}
	first, _, err := c.bounds(ctx)
	if err != nil {
		return nil, err
	}
	if q.api == "offsetcommit" {
		if err := firstCommits(ctx, adm, c.topic, len(first)); err != nil {
			return nil, err
		}
	}
	var streams []*stream
	for i := range q.conns {
		leader, partitions := q.place(meta, c.topic, i)
		at := slices.IndexFunc(meta.Brokers, func(b kadm.BrokerDetail) bool { return b.NodeID == leader })
		if at < 0 || len(partitions) == 0 {
			return streams, fmt.Errorf("connection %d has no partition with a leader", i)
		}
		s := &stream{latency: measure.NewHistogram(), fixed: true}
		req, err := q.request(s, c.topic, partitions, first)
		if err == nil {
			err = s.version(req, versions[leader])
		}
		if err == nil {
			s.conn, err = net.Dial("tcp", net.JoinHostPort(meta.Brokers[at].Host, fmt.Sprint(meta.Brokers[at].Port)))
		}
		if err != nil {
			return streams, err
		}
		streams = append(streams, s)
	}
	return streams, nil
}

// place returns the broker that connection i is to, and the partitions that it uses there.
func (q *asking) place(meta kadm.Metadata, topic string, i int) (leader int32, partitions []int32) {
	all := meta.Topics[topic].Partitions.Sorted()
	if !q.rotate {
		p := all[i%len(all)]
		return p.Leader, []int32{p.Partition}
	}
	leader = meta.Brokers[i%len(meta.Brokers)].NodeID
	for _, p := range all {
		if p.Leader == leader {
			partitions = append(partitions, p.Partition)
		}
	}
	return leader, partitions
}

// request has s ask what the flags say, of one partition or of several in turn. first has the start of each.
func (q *asking) request(s *stream, topic string, partitions []int32, first map[int32]int64) (kmsg.Request, error) {
	var req kmsg.Request
	partition := partitions[0]
	switch q.api {
	case "produce":
		req = s.produce(topic, partitions, int16(q.acks), q.perBatch, q.size)
	case "fetch":
		req = s.fetch(topic, partition, first[partition], q.depth, q.maxBytes)
	case "metadata":
		m := kmsg.NewMetadataRequest()
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &topic
		m.Topics = append(m.Topics, t)
		req = &m
	case "apiversions":
		a := kmsg.NewApiVersionsRequest()
		a.ClientSoftwareName, a.ClientSoftwareVersion = "bench", "1"
		req = &a
	case "offsetcommit":
		req = s.commit(topic, partition)
	default:
		return nil, fmt.Errorf("no api %q", q.api)
	}
	if s.ask == nil {
		s.ask = func(int) kmsg.Request { return req }
	}
	if s.answer == nil {
		s.answer = func(int, kmsg.Response) (int, int, error) { return 0, 0, nil }
	}
	return req, nil
}

// version sets the version of req: the greatest that both sides have and that names topics.
func (s *stream) version(req kmsg.Request, theirs kadm.BrokerApiVersions) error {
	v, ok := theirs.KeyMaxVersion(req.Key())
	if !ok {
		return fmt.Errorf("the broker has no %s", kmsg.NameForKey(req.Key()))
	}
	v = min(v, req.MaxVersion())
	switch req.(type) {
	case *kmsg.ProduceRequest:
		v = min(v, maxProduceVersion)
	case *kmsg.FetchRequest:
		v = min(v, maxFetchVersion)
	case *kmsg.MetadataRequest, *kmsg.OffsetCommitRequest:
		v = min(v, 9)
	}
	req.SetVersion(v)
	return nil
}

// produce sends one prepared batch again and again; the batch names no producer, so the broker keeps every copy.
func (s *stream) produce(topic string, partitions []int32, acks int16, records, size int) kmsg.Request {
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partitions[0], newBatch(records, size)
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req := kmsg.NewProduceRequest()
	req.Acks, req.TimeoutMillis, req.Topics = acks, 30_000, append(req.Topics, t)
	if len(partitions) > 1 {
		next := 0
		s.fixed = false
		s.ask = func(int) kmsg.Request {
			req.Topics[0].Partitions[0].Partition = partitions[next%len(partitions)]
			next++
			return &req
		}
	}
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

// groupOf names the group that a partition's connection commits for.
func groupOf(topic string, partition int) string { return fmt.Sprintf("%s-%d", topic, partition) }

// firstCommits has the coordinator of every group at work.
func firstCommits(ctx context.Context, adm *kadm.Client, topic string, partitions int) error {
	for p := range partitions {
		offsets := make(kadm.Offsets)
		offsets.AddOffset(topic, int32(p), 0, -1)
		resp, err := adm.CommitOffsets(ctx, groupOf(topic, p), offsets)
		if err == nil {
			err = resp.Error()
		}
		if err != nil {
			return fmt.Errorf("the first commit of group %s: %w", groupOf(topic, p), err)
		}
	}
	return nil
}

// commit sends the same commit of one offset again and again.
func (s *stream) commit(topic string, partition int32) kmsg.Request {
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, 42
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req := kmsg.NewOffsetCommitRequest()
	req.Group, req.Generation, req.Topics = groupOf(topic, int(partition)), -1, append(req.Topics, t)
	s.answer = func(_ int, resp kmsg.Response) (int, int, error) {
		for _, t := range resp.(*kmsg.OffsetCommitResponse).Topics {
			for _, p := range t.Partitions {
				return 0, 0, kerr.ErrorForCode(p.ErrorCode)
			}
		}
		return 0, 0, errors.New("a commit's answer without a partition")
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

// flight is a request that has no answer yet.
type flight struct {
	slot int
	sent time.Time
}

// run sends until stop, or most requests where that is not 0, with at most depth unanswered,
// and then awaits the answers still due.
func (s *stream) run(ctx context.Context, depth, most int, stop time.Time) error {
	if deadline, ok := ctx.Deadline(); ok {
		s.conn.SetDeadline(deadline)
	}
	free, flights := make(chan int, depth), make(chan flight, depth)
	for slot := range depth {
		free <- slot
	}
	sent := make(chan error, 1)
	receive := s.receiver(s.ask(0))
	go func() {
		defer close(flights)
		sent <- s.send(free, flights, most, stop)
	}()
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

// send sends while there are free slots, until stop or until free is closed.
func (s *stream) send(free <-chan int, flights chan<- flight, most int, stop time.Time) error {
	w := bufio.NewWriterSize(s.conn, 64<<10)
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench"))
	var frame []byte
	for id := int32(0); time.Now().Before(stop) && (most == 0 || int(id) < most); id++ {
		var slot int
		select {
		case slot = <-free:
		default: // about to wait: what is written must be on its way
			if err := w.Flush(); err != nil {
				return err
			}
			var ok bool
			if slot, ok = <-free; !ok {
				return nil
			}
		}
		if frame == nil || !s.fixed {
			frame = formatter.AppendRequest(frame[:0], s.ask(slot), id)
		} else {
			binary.BigEndian.PutUint32(frame[8:], uint32(id))
		}
		flights <- flight{slot, time.Now()}
		if _, err := w.Write(frame); err != nil {
			return err
		}
	}
	return w.Flush()
}

// receiver returns a function that reads and checks the answer of the next request, which is like example.
func (s *stream) receiver(example kmsg.Request) func(flight) error {
	r := bufio.NewReaderSize(s.conn, 64<<10)
	var body []byte
	head := 4 // the correlation id, and behind it no tags
	if _, versions := example.(*kmsg.ApiVersionsRequest); example.IsFlexible() && !versions {
		head = 5
	}
	resp := example.ResponseKind()
	return func(f flight) error {
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
}

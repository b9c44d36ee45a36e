package handler

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/server"
	"github.com/moldau/moldau/internal/wire"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Produce: v3-v13; v0-v2 are advertised, because librdkafka turns features off
// otherwise (KAFKA-18659), and refused
//
//	v5 log start offset; v7 zstd (KIP-110); v8 record errors (KIP-467); v9 flexible;
//	v10 current leader (KIP-951); v11 TRANSACTION_ABORTABLE; v12 implicit transaction partitions (KIP-890); v13 topic ids (KIP-516)
//
// The batches are validated, stamped and written here, on the connection's goroutine.
// With acks=all the answer is complete but for the error codes when it begins to
// wait, and the connection goes on meanwhile.
//
// Gaps: transactional batches answer as for a partition that is in no transaction.
func init() {
	register(kmsg.Produce, 0, 13, produce,
		"versions 0 to 2 are advertised, as clients turn features off otherwise, and refused; a transactional batch is one of no transaction until transactions are built")
	lookup(registry, int16(kmsg.Produce)).ServedFirst = 3
}

func produce(h *Handlers, x *server.Exchange) {
	req, err := wire.ReadProduceRequest(x.Version, x.Body)
	if err != nil {
		x.Close(fmt.Errorf("request of Produce v%d cannot be decoded: %w", x.Version, err))
		return
	}
	c := h.produceCalls.get()
	c.begin(x)
	h.appendAll(c, &req)
	if req.Acks == 0 {
		c.endUnanswered()
		return
	}
	c.await(time.Duration(req.TimeoutMs) * time.Millisecond)
}

// appendAll appends every batch of the request and encodes the answer as it goes.
func (h *Handlers) appendAll(c *produceCall, req *wire.ProduceRequest) {
	whole := refuseProduce(req)
	body := wire.AppendProduceResponse(c.x.Buffer(), req.Version, req.TopicCount())
	now := time.Now().UnixMilli()
	for topics := req.Topics(); topics.Next(); {
		body = wire.AppendProduceTopic(body, req.Version, topics.Name, topics.ID, topics.PartitionCount)
		c.sync = req.Acks == partition.AcksAll && req.TopicCount() == 1 && topics.PartitionCount == 1 && c.x.Alone()
		for parts := topics.Partitions(); parts.Next(); {
			out := wire.ProducePartitionResponse{Partition: parts.Partition, BaseOffset: -1, LogAppendTimeMs: -1, LogStartOffset: -1}
			err := whole
			if err == nil {
				var p *partition.Partition
				if p, err = h.findWritable(c.x.ClientID, topics.Name, topics.ID, parts.Partition); err == nil {
					err = appendOne(c, p, req, parts.Records, now, len(body), &out)
				}
			}
			if err != nil {
				h.refusePartition(c, err, &out)
				if out.ErrorCode == kerr.NotLeaderForPartition.Code {
					out.CurrentLeader = c.hints.leaderOf(h, c.x, string(topics.Name), topics.ID, parts.Partition)
				}
			}
			body = wire.AppendProducePartition(body, req.Version, &out)
		}
		body = wire.AppendProduceTopicEnd(body, req.Version)
	}
	c.body = wire.AppendProduceResponseEnd(body, req.Version, 0, c.hints.nodes)
}

// refuseProduce finds what makes every partition of a request fail.
func refuseProduce(req *wire.ProduceRequest) error {
	if req.Acks < partition.AcksAll || req.Acks > 1 {
		return fmt.Errorf("acks is %d, must be 0, 1 or -1: %w", req.Acks, kerr.InvalidRequiredAcks)
	}
	if req.TransactionalID != nil {
		return nil
	}
	for topics := req.Topics(); topics.Next(); {
		for parts := topics.Partitions(); parts.Next(); {
			if b, _, err := record.First(parts.Records); err == nil && b.Attributes().Transactional() {
				return fmt.Errorf("a transactional batch without a transactional id: %w", kerr.TransactionalIDAuthorizationFailed)
			}
		}
	}
	return nil
}

// findWritable finds a partition that the client may write to: not one of a topic that
// belongs to the brokers, unless it says that it is an admin client (error 17).
func (h *Handlers) findWritable(clientID string, name []byte, id ids.TopicID, number int32) (*partition.Partition, error) {
	var p *partition.Partition
	var err error
	if name != nil {
		p, err = h.Partitions.ByName(name, number)
	} else {
		p, err = h.Partitions.ByID(id, number)
	}
	if err == nil && isInternal(p.TopicPartition().Topic) && clientID != adminClientID {
		return nil, fmt.Errorf("%s is written by brokers alone: %w", p.TopicPartition().Topic, kerr.InvalidTopicException)
	}
	return p, err
}

// adminClientID is the client id with which Kafka's own tools may write to internal topics.
const adminClientID = "__admin_client"

// appendOne appends the batch of one partition. at is where the partition's answer will
// stand in the body.
func appendOne(c *produceCall, p *partition.Partition, req *wire.ProduceRequest, records []byte, now int64, at int, out *wire.ProducePartitionResponse) error {
	policy := p.Policy()
	c.limits = record.Limits{
		MaxMessageBytes:      policy.MaxMessageBytes,
		SegmentBytes:         policy.SegmentBytes,
		Now:                  now,
		TimestampBeforeMaxMs: policy.TimestampBeforeMaxMs,
		TimestampAfterMaxMs:  policy.TimestampAfterMaxMs,
		LogAppendTime:        policy.LogAppendTime,
		Compact:              policy.Compact,
		ProduceVersion:       req.Version,
	}
	batch, invalid := record.Validate(records, &c.limits)
	if invalid != nil {
		for _, r := range invalid.Records {
			out.RecordErrors = append(out.RecordErrors, wire.ProduceRecordError{Index: r.Index, Message: r.Message})
		}
		if !oneBatch(records) || req.Version < zstdSince && code(invalid) == kerr.UnsupportedCompressionType.Code {
			return invalid // Kafka finds these before it asks the log
		}
		return refusedAtLog(p, invalid, out)
	}
	if batch.Attributes().Transactional() {
		return refusedAtLog(p, noTransaction(req.Version), out)
	}
	if policy.Recompress {
		if batch, invalid = batch.Recompress(policy.Codec, policy.Level, &c.limits); invalid != nil {
			return refusedAtLog(p, invalid, out)
		}
	}
	write := (*partition.Partition).AppendAsLeader
	if c.sync {
		write = (*partition.Partition).AppendAndSync
	}
	appended, err := write(p, batch, req.Acks)
	if err != nil {
		return refusedAtLog(p, err, out)
	}
	out.BaseOffset, out.LogStartOffset = appended.BaseOffset, appended.LogStart
	if policy.LogAppendTime {
		out.LogAppendTimeMs = appended.TimestampMs
	}
	if req.Acks == partition.AcksAll {
		c.acks = append(c.acks, ack{call: c, partition: p, end: appended.LastOffset + 1, at: at})
	}
	return nil
}

// oneBatch tells whether records is exactly one whole batch of magic 2.
func oneBatch(records []byte) bool {
	b, rest, err := record.First(records)
	return err == nil && len(rest) == 0 && b.Magic() == 2
}

// zstdSince is the first version whose clients know zstd (KIP-110).
const zstdSince = 7

// noTransaction is the error of a batch for a partition that is not in a transaction.
func noTransaction(version int16) error {
	err := kerr.InvalidTxnState
	if version >= 11 {
		err = kerr.TransactionAbortable
	}
	return fmt.Errorf("the partition is not in an ongoing transaction: %w", err)
}

// refusedAtLog gives an error the log start offset where Kafka does: where the log
// itself judged the batch, not its size, its checksum or the partition.
func refusedAtLog(p *partition.Partition, err error, out *wire.ProducePartitionResponse) error {
	switch code(err) {
	case kerr.RecordListTooLarge.Code, kerr.MessageTooLarge.Code, kerr.CorruptMessage.Code,
		kerr.NotLeaderForPartition.Code, kerr.UnknownTopicOrPartition.Code, kerr.KafkaStorageError.Code:
	default:
		out.LogStartOffset = p.Log().StartOffset()
	}
	return err
}

// refusePartition fills in an error.
func (h *Handlers) refusePartition(c *produceCall, err error, out *wire.ProducePartitionResponse) {
	out.ErrorCode = code(err)
	out.ErrorMessage = err.Error()
	c.failed = errors.Join(c.failed, err)
	if out.ErrorCode == kerr.UnknownServerError.Code {
		h.Logger.Error("produce failed", "peer", c.x.Conn.RemoteAddr(), "partition", out.Partition, "err", err)
	}
}

// produceCall is one produce request from its first append to its answer.
type produceCall struct {
	pool   *produceCallPool
	x      *server.Exchange
	acks   []ack  // what an answer with acks=all waits for; set before await, then fixed
	body   []byte // the encoded answer, with the error codes of success where acks wait
	hints  leaderHints
	failed error         // every error so far, for acks=0, which can only close the connection
	sync   bool          // a sync that the one batch of the request waits for is done here
	limits record.Limits // of the partition at hand: here so that it costs no allocation
	timer  *time.Timer
	armed  bool // the timer runs; set before the call is shared

	// mu guards how the wait ends.
	mu struct {
		sync.Mutex
		pending  int // acks not told yet, and one for await itself
		finished bool
		expired  bool // acks may still hold pointers into this call: it is not reused
	}
}

// produceCallPool keeps calls that nothing points to any more.
type produceCallPool struct{ calls sync.Pool }

func (p *produceCallPool) get() *produceCall {
	if c, ok := p.calls.Get().(*produceCall); ok {
		return c
	}
	c := &produceCall{pool: p}
	c.timer = time.AfterFunc(time.Hour, c.expire)
	c.timer.Stop()
	return c
}

func (c *produceCall) begin(x *server.Exchange) {
	c.x, c.failed, c.body, c.armed = x, nil, nil, false
	c.acks, c.hints.nodes = c.acks[:0], c.hints.nodes[:0]
	c.mu.pending, c.mu.finished, c.mu.expired = 0, false, false
}

// endUnanswered ends a request with acks=0: there is no answer, and an error closes
// the connection, for the client would never learn of it otherwise.
func (c *produceCall) endUnanswered() {
	x, failed := c.x, c.failed
	c.recycle()
	if failed != nil {
		x.Close(fmt.Errorf("a produce request with acks=0 failed: %w", failed))
		return
	}
	x.NoReply()
}

// await answers as soon as every append is committed: before it returns where they are.
func (c *produceCall) await(timeout time.Duration) {
	c.mu.pending = len(c.acks) + 1
	for i := range c.acks {
		c.acks[i].partition.WhenCommitted(c.acks[i].end, &c.acks[i])
	}
	c.mu.Lock()
	if c.mu.pending > 1 {
		c.x.Later()
		c.x.FreeBody()
		c.armed = true
		c.timer.Reset(timeout)
	}
	c.mu.pending--
	done := c.mu.pending == 0
	c.mu.finished = done
	c.mu.Unlock()
	if done {
		c.answer()
	}
}

// ack is one partition's part in the wait.
type ack struct {
	call      *produceCall
	partition *partition.Partition
	end       ids.Offset // one past the last offset of the batch
	at        int        // where the partition's answer stands in the body
	told      bool       // guarded by call.mu
}

// errorCodeAt is where the error code stands in a partition's answer, behind its index.
const errorCodeAt = 4

// Done tells that the batch is committed or will not be.
func (a *ack) Done(err error) {
	c := a.call
	c.mu.Lock()
	if c.mu.finished {
		c.mu.Unlock()
		return
	}
	a.told = true
	if err != nil {
		c.refuse(a, code(err))
	}
	c.mu.pending--
	done := c.mu.pending == 0
	c.mu.finished = done
	c.mu.Unlock()
	if done {
		c.answer()
	}
}

// refuse turns the encoded success of a partition into an error: code, and no offsets.
// The fields up to the base offset have the same place in every version.
func (c *produceCall) refuse(a *ack, errorCode int16) {
	fixed := c.body[a.at+errorCodeAt : a.at+errorCodeAt : a.at+errorCodeAt+10]
	fixed = wire.AppendInt16(fixed, errorCode)
	wire.AppendInt64(fixed, int64(ids.NoOffset))
}

// expire answers REQUEST_TIMED_OUT for the partitions that are not committed in time.
// Their batches are in the log and may be committed yet.
func (c *produceCall) expire() {
	c.mu.Lock()
	if c.mu.finished {
		c.mu.Unlock()
		return
	}
	c.mu.finished, c.mu.expired = true, true
	for i := range c.acks {
		if !c.acks[i].told {
			c.refuse(&c.acks[i], kerr.RequestTimedOut.Code)
		}
	}
	c.mu.Unlock()
	c.answer()
}

// answer sends the body. Whoever set finished calls it, once.
func (c *produceCall) answer() {
	x, body := c.x, c.body
	c.recycle()
	x.ReplyBody(body, nil)
}

// recycle returns the call to the pool unless a queue or the timer may still come back to it.
func (c *produceCall) recycle() {
	if c.mu.expired || c.armed && !c.timer.Stop() {
		return
	}
	clear(c.acks)
	c.x, c.body = nil, nil
	c.pool.calls.Put(c)
}

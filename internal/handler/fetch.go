package handler

import (
	"fmt"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/server"
	"github.com/moldau/moldau/internal/wire"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fetch: v4-v18
//
//	v5 log start offset; v7 sessions (KIP-227); v9 leader epoch (KIP-320); v11 rack (KIP-392);
//	v12 flexible, diverging epoch (KIP-595); v13 topic ids (KIP-516); v15 replica state (KIP-903);
//	v16 node endpoints (KIP-951); v17 directory id (KIP-853); v18 high watermark of a follower (KIP-1166)
//
// A fetch reads only what may have news: everything the first time, and then what the
// session's Watch noted, what the request changes, and what the last answer had no room for.
//
// A replica is answered if its connection has proved to be that node's. -2, Kafka's debug reader, is served like a consumer,
// and by followers too: it compares replicas.
//
// Gaps: consumers are served by leaders only.
func init() {
	register(kmsg.Fetch, 4, 18, fetch, "consumers are served by leaders")
}

const (
	noReplica    int32 = -1
	debugReplica int32 = -2
)

func fetch(h *Handlers, x *server.Exchange) {
	var req kmsg.FetchRequest
	if !decode(x, &req) {
		return
	}
	follower, refused := followerOf(h, x, &req)
	s, err := h.sessions.open(h, &req, follower)
	if err != nil {
		refuseFetch(x, err)
		return
	}
	c := fetchCalls.Get().(*fetchCall)
	c.begin(h, x, s, &req)
	if refused != nil {
		c.refused = refused
	}
	c.run()
	c.reply()
	h.sessions.done(s)
	c.recycle()
}

// refuseFetch answers with an error of the whole request.
func refuseFetch(x *server.Exchange, err error) {
	body := wire.AppendFetchResponse(x.Buffer(), x.Version, 0, code(err), 0, 0)
	x.ReplyBody(wire.AppendFetchResponseEnd(body, x.Version, nil), nil)
}

// fetchCall is one fetch from its first read to its answer.
type fetchCall struct {
	h       *Handlers
	x       *server.Exchange
	s       *fetchSession
	version int16

	maxBytes, minBytes int
	wait               time.Duration
	brokerEpoch        int64 // of a follower
	committed          bool  // isolation level read_committed
	anyReplica         bool  // the debug reader
	refused            error // of every partition
	topCode            int16 // error code of the whole answer

	results []fetchResult // what was read, in the order of the session's queue
	bytes   int           // of all results
	urgent  bool          // a result that must not wait: an error or a diverging epoch
	moved   []int32       // scratch: keys with news
	parts   []server.Part
	hints   leaderHints
}

type fetchResult struct {
	p       *sessionPartition
	res     partition.FetchResult
	err     error
	unknown bool // err says that there is no such partition here
}

var fetchCalls = sync.Pool{New: func() any { return &fetchCall{} }}

func (c *fetchCall) begin(h *Handlers, x *server.Exchange, s *fetchSession, req *kmsg.FetchRequest) {
	c.h, c.x, c.s, c.version = h, x, s, x.Version
	c.maxBytes, c.brokerEpoch = int(req.MaxBytes), req.ReplicaState.Epoch
	if s.follower == ids.NoNode {
		c.maxBytes = min(c.maxBytes, int(h.Config().FetchMaxBytes))
	}
	c.minBytes = min(int(req.MinBytes), c.maxBytes)
	c.wait = time.Duration(req.MaxWaitMillis) * time.Millisecond
	c.committed, c.anyReplica = req.IsolationLevel == readCommitted, replicaOf(req) == debugReplica
	c.refused, c.topCode = nil, 0
	if req.IsolationLevel != readUncommitted && req.IsolationLevel != readCommitted {
		c.refused = fmt.Errorf("isolation level %d: %w", req.IsolationLevel, kerr.UnknownServerError)
		c.topCode = kerr.UnknownServerError.Code
		return
	}
}

// followerOf returns the replica that fetches, NoNode for a client, Kafka's debug reader among these. A replica is
// what the other end of the connection has proved to be: an error refuses every partition to who only says so.
func followerOf(h *Handlers, x *server.Exchange, req *kmsg.FetchRequest) (ids.NodeID, error) {
	replica := replicaOf(req)
	if replica == noReplica || replica == debugReplica {
		return ids.NoNode, nil
	}
	if from, ok := x.Conn.Node(); ok && int32(from.Node) == replica {
		return from.Node, nil
	}
	h.Logger.Warn("replica fetch refused", "peer", x.Conn.RemoteAddr(), "replica", replica)
	return ids.NoNode, fmt.Errorf("node %d fetches as a replica over a connection that is not that node's: %w", replica, kerr.ClusterAuthorizationFailed)
}

// replicaOf is who a request says that it comes from.
func replicaOf(req *kmsg.FetchRequest) int32 {
	if req.Version >= 15 {
		return req.ReplicaState.ID
	}
	return req.ReplicaID
}

// run reads until there is enough, something that cannot wait, or no time left.
func (c *fetchCall) run() {
	c.read()
	if c.enough() || c.wait <= 0 {
		return
	}
	c.s.watchAll()
	stopping := c.x.Park()
	wait, another := c.patience()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		// What moved between the read and the registration is noted nowhere: read once more first.
		c.release()
		c.read()
		if c.enough() {
			return
		}
		c.s.park(c.results)
		c.release() // a parked fetch holds no segment
		select {
		case <-c.s.watch.C:
			c.moved = c.s.watch.Take(c.moved[:0])
			c.s.enqueueKeys(c.moved)
		case <-timer.C:
			c.read()
			return
		case <-another:
			c.read()
			return
		case <-stopping:
			c.read()
			return
		}
	}
}

// anotherWait is how long a follower's fetch waits while there may be another partition that it has to ask for.
const anotherWait = 20 * time.Millisecond

// patience is how long the fetch waits for news. A follower has one request on its way: it can ask for a partition that
// this broker has just begun to lead only after the answer, and until it does nothing is committed there. Such a fetch is
// answered at once, and those that come before the follower has heard of its leader too do not wait long.
func (c *fetchCall) patience() (wait time.Duration, another <-chan struct{}) {
	if c.s.follower == ids.NoNode {
		return c.wait, nil
	}
	began, another := c.h.Partitions.Led()
	if time.Since(began) < c.wait {
		return min(c.wait, anotherWait), another
	}
	return c.wait, another
}

func (c *fetchCall) enough() bool { return c.urgent || c.bytes >= c.minBytes }

// read reads the partitions in the session's queue, within the bounds of the request.
func (c *fetchCall) read() {
	c.results, c.bytes, c.urgent = c.results[:0], 0, len(c.s.partitions) == 0
	for _, p := range c.s.queue {
		r := fetchResult{p: p}
		if r.err = c.refused; r.err == nil {
			r.err = c.readOne(&r)
		}
		if r.err != nil || r.res.Diverging != nil || c.s.follower != ids.NoNode && p.startMoved(&r) {
			c.urgent = true
		}
		c.bytes += r.res.Slice.Len()
		c.results = append(c.results, r)
	}
}

// readOne reads one partition, looking it up again where this broker's replica of it has gone.
func (c *fetchCall) readOne(r *fetchResult) error {
	p := r.p
	if p.part == nil {
		if err := c.s.resolve(c.h, p); err != nil {
			r.unknown = true
			return err
		}
	}
	if c.s.follower != ids.NoNode {
		return c.readAsFollower(r)
	}
	req := partition.FetchRequest{
		From:             p.from,
		CurrentEpoch:     p.currentEpoch,
		LastFetchedEpoch: p.lastFetchedEpoch,
		MaxBytes:         c.room(p),
		AtLeastOne:       c.bytes == 0,
		ReadCommitted:    c.committed,
		AnyReplica:       c.anyReplica,
	}
	var err error
	r.res, err = p.part.Read(&req)
	if err != nil {
		c.s.forgetReplica(p)
	}
	return c.h.outOfRange(err)
}

// room is how many bytes of a partition the answer still takes.
func (c *fetchCall) room(p *sessionPartition) int32 {
	return int32(max(0, min(int(p.maxBytes), c.maxBytes-c.bytes)))
}

// readAsFollower reads for the replica that fetches, beyond the high watermark, and has the leader note how far it is.
func (c *fetchCall) readAsFollower(r *fetchResult) error {
	p := r.p
	var err error
	r.res, err = p.part.ReadAsFollower(&partition.FollowerRead{
		Node:             c.s.follower,
		BrokerEpoch:      c.brokerEpoch,
		From:             p.from,
		Start:            p.start,
		CurrentEpoch:     p.currentEpoch,
		LastFetchedEpoch: p.lastFetchedEpoch,
		MaxBytes:         c.room(p),
		AtLeastOne:       c.bytes == 0,
	})
	if err != nil {
		c.s.forgetReplica(p)
	}
	return err
}

// release gives back the segments of what was read.
func (c *fetchCall) release() {
	for i := range c.results {
		c.results[i].res.Slice.Release()
	}
	clear(c.results)
	c.results = c.results[:0]
}

// reply encodes the results, in runs of one topic, and sends them.
func (c *fetchCall) reply() {
	c.s.requeue(c.results)
	kept := c.results[:0]
	for i := range c.results {
		r := &c.results[i]
		if !c.s.incremental || r.p.news(r) {
			r.p.sent(r)
			kept = append(kept, *r)
		}
	}
	topics := 0
	for i := range kept {
		if i == 0 || !kept[i].p.sameTopic(kept[i-1].p) {
			topics++
		}
	}
	body := wire.AppendFetchResponse(c.x.Buffer(), c.version, 0, c.topCode, c.s.id, topics)
	for i := 0; i < len(kept); {
		n := 1
		for i+n < len(kept) && kept[i+n].p.sameTopic(kept[i].p) {
			n++
		}
		body = wire.AppendFetchTopic(body, c.version, kept[i].p.topic, kept[i].p.topicID, n)
		for _, r := range kept[i : i+n] {
			body = c.appendPartition(body, &r)
		}
		body = wire.AppendFetchTopicEnd(body, c.version)
		i += n
	}
	c.x.ReplyBody(wire.AppendFetchResponseEnd(body, c.version, c.hints.nodes), c.parts)
}

func (c *fetchCall) appendPartition(body []byte, r *fetchResult) []byte {
	out := wire.FetchPartitionResponse{
		Partition:            r.p.partition,
		ErrorCode:            code(r.err),
		HighWatermark:        r.res.HighWatermark,
		LastStableOffset:     r.res.LastStable,
		LogStartOffset:       r.res.LogStart,
		PreferredReadReplica: ids.NoNode,
		RecordsBytes:         r.res.Slice.Len(),
	}
	if r.err != nil {
		out.HighWatermark, out.LastStableOffset, out.LogStartOffset = -1, -1, -1
		if c.s.follower != ids.NoNode && out.ErrorCode == kerr.OffsetOutOfRange.Code {
			out.LogStartOffset = r.res.LogStart // where the follower begins anew
		}
		if r.unknown {
			out.Aborted = []wire.AbortedTransaction{}
		}
		if out.ErrorCode == kerr.NotLeaderForPartition.Code || out.ErrorCode == kerr.FencedLeaderEpoch.Code {
			out.CurrentLeader = c.hints.leaderOf(c.h, c.x, r.p.topic, r.p.topicID, r.p.partition)
		}
	} else if c.committed {
		out.Aborted = make([]wire.AbortedTransaction, 0, len(r.res.Aborted))
		for _, a := range r.res.Aborted {
			out.Aborted = append(out.Aborted, wire.AbortedTransaction{ProducerID: a.ProducerID, FirstOffset: a.FirstOffset})
		}
	}
	if d := r.res.Diverging; d != nil {
		out.DivergingEpoch = wire.DivergingEpoch{Known: true, Epoch: d.Epoch, EndOffset: d.End}
	}
	body = wire.AppendFetchPartition(body, c.version, &out)
	if out.RecordsBytes > 0 {
		slice := r.res.Slice // on the heap: it outlives this call, until it is sent
		c.parts = append(c.parts, server.Part{At: len(body), Source: &slice})
	}
	return wire.AppendFetchPartitionEnd(body, c.version, &out)
}

// recycle returns the call to the pool. The slices of its parts belong to the server by now.
func (c *fetchCall) recycle() {
	clear(c.results)
	clear(c.parts)
	*c = fetchCall{results: c.results[:0], parts: c.parts[:0], moved: c.moved[:0], hints: leaderHints{c.hints.nodes[:0]}}
	fetchCalls.Put(c)
}

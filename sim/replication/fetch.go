package replication

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica"
)

// fetching is the follower's side of one leader.
type fetching struct {
	fetcher *replica.Fetcher
	request int // the one whose answer is due; 0 for none
	retry   bool
}

func (h *host) fetchingFrom(leader ids.NodeID) *fetching {
	f := h.fetching[leader]
	if f == nil {
		f = &fetching{fetcher: replica.NewFetcher(replica.FetcherConfig{
			Node: h.node, MaxBytes: 1 << 20, PartitionBytes: int32(100 + h.world.rng.IntN(1000)), MinBytes: 1, MaxWait: fetchWait, Backoff: fetchBackoff,
		})}
		h.fetching[leader] = f
	}
	return f
}

// fetchAll sends the fetches that are due.
func (h *host) fetchAll() {
	for _, leader := range slices.Sorted(maps.Keys(h.fetching)) {
		if f := h.fetching[leader]; f.request == 0 {
			h.fetchFrom(leader, f)
		}
	}
}

func (h *host) fetchFrom(leader ids.NodeID, f *fetching) {
	w := h.world
	req, wait := f.fetcher.Request(w.clock(), h.epoch, h.position)
	if req == nil {
		if !wait.IsZero() && !f.retry {
			f.retry = true
			w.at(int(wait.Sub(w.clock()).Milliseconds())+1, h.alive(func() { f.retry = false }))
		}
		return
	}
	w.requests++
	number := w.requests
	f.request = number
	to := w.hosts[leader]
	// The answer is for this connection, which ends with either process, or where one gives up.
	life, answer := to.life, h.alive
	w.send(h.node, leader, func() {
		if to.process == nil || to.life != life {
			return
		}
		to.serve(h.node, req, func(late func() *kmsg.FetchResponse) {
			w.send(leader, h.node, answer(func() {
				if f.request != number {
					return
				}
				f.request = 0
				h.follow(f, late())
			}))
		})
	})
	w.at(fetchTimeout, h.alive(func() {
		if f.request == number {
			f.request = 0
			f.fetcher.Failed(w.clock())
		}
	}))
}

func (h *host) position(key replica.PartitionKey, epoch ids.LeaderEpoch) (partition.Position, bool) {
	r := h.replicas[key.Partition]
	if !r.core.Follows(epoch) {
		return partition.Position{}, false
	}
	return r.disk.position(r.core.MayFetch()), true
}

// follow does what a leader's answer says.
func (h *host) follow(f *fetching, resp *kmsg.FetchResponse) {
	for _, a := range f.fetcher.Response(h.world.clock(), resp) {
		if a.Err == nil && !h.followPartition(h.replicas[a.Key.Partition], &a) {
			f.fetcher.Backoff(a.Key, h.world.clock())
		}
	}
}

func (h *host) followPartition(r *held, a *replica.Answer) bool {
	if r.core.FenceFollower(a.Epoch, a.From) != nil {
		return true
	}
	d := r.disk
	switch {
	case a.Restart:
		h.world.tracef("node %d: partition %d has %d to %d and begins anew at %d", h.node, r.number, d.start, d.end(), a.LogStart)
		d.restartAt(a.LogStart)
		h.truncated(r, r.core.Truncated(d.start, d.end()))
	case a.Diverging != nil:
		_, ownEnd := d.endOffsetFor(a.Diverging.Epoch)
		to := a.Diverging.Cut(ownEnd, d.end())
		h.world.tracef("node %d: partition %d is cut from %d to %d", h.node, r.number, d.end(), to)
		d.truncateTo(to)
		h.truncated(r, r.core.Truncated(d.start, d.end()))
		h.world.cuts++
	default:
		return h.appendPartition(r, a)
	}
	return true
}

func (h *host) appendPartition(r *held, a *replica.Answer) bool {
	d := r.disk
	batches, err := partition.OfEpoch(a.Batches, a.Epoch)
	if err != nil {
		return false
	}
	start := max(a.LogStart, d.start)
	base, rebase := partition.BeginsBelow(batches, start, d.end())
	if rebase {
		d.restartAt(base)
	}
	if !d.appendAsFollower(batches) {
		return false
	}
	if rebase {
		r.core.Rebased(base, d.end())
	}
	d.raiseStart(min(start, r.core.Replicated(d.end(), a.HighWatermark)))
	return true
}

func (h *host) truncated(r *held, lost bool) {
	h.world.judge.truncated(h, r, lost)
}

// session is the leader's side of a fetch session (KIP-227).
type session struct {
	epoch int32
	parts map[int32]*asked
}

// asked is one partition of a session.
type asked struct {
	kmsg.FetchRequestTopicPartition
	highWatermark, start int64 // as last sent
}

// fetch is a request that waits for news.
type fetch struct {
	from        ids.NodeID
	brokerEpoch int64
	session     int32
	parts       map[int32]*asked
	answer      func(late func() *kmsg.FetchResponse)
	done        bool
}

// serve answers a fetch, at once where it has news, else when there are some or its time is up.
func (h *host) serve(from ids.NodeID, req *kmsg.FetchRequest, answer func(late func() *kmsg.FetchResponse)) {
	f, code := h.inSession(from, req)
	if code != 0 {
		resp := kmsg.NewPtrFetchResponse()
		resp.ErrorCode = code
		answer(func() *kmsg.FetchResponse { return resp })
		return
	}
	f.answer = answer
	h.parked = append(h.parked, f)
	h.world.at(int(req.MaxWaitMillis), h.alive(func() { h.answerFetch(f, true) }))
	h.settle()
}

// inSession makes a session, or goes on in one.
func (h *host) inSession(from ids.NodeID, req *kmsg.FetchRequest) (*fetch, int16) {
	f := &fetch{from: from, brokerEpoch: req.ReplicaState.Epoch, session: req.SessionID}
	if req.SessionEpoch == 0 {
		delete(h.sessions, req.SessionID)
		f.session, f.parts = 0, map[int32]*asked{}
		if h.world.rng.IntN(4) > 0 {
			h.world.requests++
			f.session = int32(h.world.requests)
			h.sessions[f.session] = &session{epoch: 1, parts: f.parts}
		}
	} else {
		s := h.sessions[req.SessionID]
		switch {
		case s == nil:
			return nil, kerr.FetchSessionIDNotFound.Code
		case s.epoch != req.SessionEpoch:
			return nil, kerr.InvalidFetchSessionEpoch.Code
		}
		s.epoch++
		f.parts = s.parts
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if known := f.parts[p.Partition]; known != nil {
				known.FetchRequestTopicPartition = p
			} else {
				f.parts[p.Partition] = &asked{p, -1, -1}
			}
		}
	}
	for _, t := range req.ForgottenTopics {
		for _, p := range t.Partitions {
			delete(f.parts, p)
		}
	}
	return f, 0
}

func (h *host) answerParked() {
	for _, f := range slices.Clone(h.parked) {
		h.answerFetch(f, false)
	}
}

// answerFetch answers where there is news, or in any case.
func (h *host) answerFetch(f *fetch, anyway bool) {
	if f.done {
		return
	}
	resp := kmsg.NewPtrFetchResponse()
	resp.SessionID = f.session
	out := kmsg.NewFetchResponseTopic()
	out.TopicID = topic
	for _, number := range slices.Sorted(maps.Keys(f.parts)) {
		a := f.parts[number]
		p := h.read(f, a)
		if f.session == 0 && anyway || p.ErrorCode != 0 || p.DivergingEpoch.EndOffset >= 0 || len(p.RecordBatches) > 0 || p.HighWatermark != a.highWatermark || p.LogStartOffset != a.start {
			out.Partitions = append(out.Partitions, p)
		}
	}
	if len(out.Partitions) == 0 && !anyway {
		return
	}
	var offsets []ids.Offset
	for _, p := range out.Partitions {
		offsets = append(offsets, ids.Offset(f.parts[p.Partition].FetchOffset))
		f.parts[p.Partition].highWatermark, f.parts[p.Partition].start = p.HighWatermark, p.LogStartOffset
	}
	f.done = true
	h.parked = slices.DeleteFunc(h.parked, func(o *fetch) bool { return o == f })
	resp.Topics = append(resp.Topics, out)
	late := h.world.rng.IntN(3) == 0
	life := h.life
	f.answer(func() *kmsg.FetchResponse {
		if late && h.process != nil && h.life == life {
			h.sendLate(offsets, resp)
		}
		return resp
	})
}

// read is what a leader does with one partition of a fetch.
func (h *host) read(f *fetch, a *asked) kmsg.FetchResponseTopicPartition {
	out := kmsg.NewFetchResponseTopicPartition()
	out.Partition = a.Partition
	out.HighWatermark = -1
	r := h.replicas[a.Partition]
	from, last := ids.Offset(a.FetchOffset), ids.LeaderEpoch(a.LastFetchedEpoch)
	err := r.core.FenceLeader(ids.LeaderEpoch(a.CurrentLeaderEpoch))
	var diverging *partition.Diverging
	if err == nil {
		out.LogStartOffset = int64(r.disk.start)
		epoch, end := r.disk.endOffsetFor(last)
		diverging, err = partition.Divergence(from, last, epoch, end)
	}
	if err == nil && diverging == nil {
		err = partition.CheckPlace(from, r.disk.start, r.disk.end())
	}
	if err == nil && diverging == nil {
		var joins bool
		joins, err = r.core.FollowerFetched(partition.FollowerFetch{Node: f.from, BrokerEpoch: f.brokerEpoch, From: from, Start: ids.Offset(a.LogStartOffset)}, r.disk.start, h.world.clock())
		if joins {
			h.isr.want(r.number)
		}
		if _, broken := r.core.Advance(); broken != nil {
			h.world.judge.fail("node %d: %w", h.node, broken)
		}
	}
	switch {
	case err != nil:
		out.ErrorCode = codeOf(err)
	case diverging != nil:
		out.DivergingEpoch.Epoch, out.DivergingEpoch.EndOffset = int32(diverging.Epoch), int64(diverging.End)
	default:
		out.HighWatermark = int64(r.core.HighWatermark())
		out.RecordBatches = r.disk.read(from, int(a.PartitionMaxBytes))
	}
	return out
}

// sendLate has the bytes of an answer be what the file has by now: it may have been cut and written anew.
func (h *host) sendLate(offsets []ids.Offset, resp *kmsg.FetchResponse) {
	for i := range resp.Topics[0].Partitions {
		p := &resp.Topics[0].Partitions[i]
		if n := len(p.RecordBatches); n > 0 {
			p.RecordBatches = h.replicas[p.Partition].disk.read(offsets[i], n)
		}
	}
}

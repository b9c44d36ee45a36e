package replica

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
)

// fetchVersion is that of the fetches between replicas: topics by id, sessions, the broker epoch (KIP-516, KIP-227, KIP-903).
const fetchVersion = 17

// What a session id and epoch say in a request (KIP-227).
const (
	noSession      int32 = 0
	sessionAnew    int32 = 0 // makes a session, and closes the one that is named
	firstInSession int32 = 1
)

// PartitionKey names a partition by the life of its topic.
type PartitionKey struct {
	Topic     ids.TopicID
	Partition int32
}

// FetcherConfig says how a Fetcher asks.
type FetcherConfig struct {
	Node           ids.NodeID    // that follows
	MaxBytes       int32         // replica.fetch.response.max.bytes
	PartitionBytes int32         // replica.fetch.max.bytes
	MinBytes       int32         // replica.fetch.min.bytes
	MaxWait        time.Duration // replica.fetch.wait.max.ms
	Backoff        time.Duration // replica.fetch.backoff.ms: the longest between two tries of what fails
}

// backoffFirst is the pause after the first failure; each further one doubles it. Most failures are those of an election,
// of which one node has heard before the other.
const backoffFirst = 10 * time.Millisecond

// Fetcher is the pure part of following one leader: which partitions to ask it for and from where, and what its answers
// mean. One request is on its way at a time: Request, then Response or Failed; after Response, Backoff for each answer that
// could not be followed. Java: AbstractFetcherThread and FetchSessionHandler.
type Fetcher struct {
	cfg FetcherConfig

	partitions map[PartitionKey]*followed
	order      []*followed // who has not been served for longest comes first, where each request names all
	changed    []*followed // whose part of the session may have to be another than at the last request; each once

	session      int32 // the last that the leader gave; noSession for none
	sessionEpoch int32 // of the next request
	inSession    int   // partitions
	brokerEpoch  int64 // that the last request named

	failures int       // of whole requests, in a row
	until    time.Time // nothing is asked before
}

// followed is one partition.
type followed struct {
	key   PartitionKey
	epoch ids.LeaderEpoch
	gone  bool // not followed any more, and to be taken out of the session

	in    bool // the session, or the request that is on its way
	sent  sentFetch
	noted bool // in changed

	failures   int       // in a row
	unfollowed bool      // the last answer was fine and could not be followed
	until      time.Time // it is not asked for before
}

// sentFetch is what the leader knows of a partition from the last request that named it.
type sentFetch struct {
	epoch     ids.LeaderEpoch
	end       ids.Offset
	lastEpoch ids.LeaderEpoch
	start     ids.Offset
	maxBytes  int32
}

// Answer is what a leader's answer says of one partition: one of an error, another beginning, a divergence and records, or none.
type Answer struct {
	Key PartitionKey
	partition.Replicated
	Diverging *partition.Diverging
	Restart   bool // the leader has nothing at From; its log begins at LogStart
	Err       error
}

// NewFetcher returns a fetcher of nothing.
func NewFetcher(cfg FetcherConfig) *Fetcher {
	return &Fetcher{cfg: cfg, partitions: map[PartitionKey]*followed{}}
}

// Follow has a partition fetched from the leader in its epoch.
func (f *Fetcher) Follow(key PartitionKey, epoch ids.LeaderEpoch) {
	p := f.partitions[key]
	if p == nil {
		p = &followed{key: key}
		f.partitions[key] = p
		f.order = append(f.order, p)
	}
	p.epoch, p.gone = epoch, false
	p.failures, p.unfollowed, p.until = 0, false, time.Time{}
	f.note(p)
}

// Unfollow has a partition not fetched any more.
func (f *Fetcher) Unfollow(key PartitionKey) {
	if p := f.partitions[key]; p != nil {
		p.gone = true
		f.note(p)
	}
}

func (f *Fetcher) note(p *followed) {
	if !p.noted {
		p.noted = true
		f.changed = append(f.changed, p)
	}
}

// Request returns the next request. Where there is nothing to ask for it returns when there may be; the zero time stands for not before
// something is followed. position says where a partition goes on, and false where it is not followed in that epoch any more.
func (f *Fetcher) Request(now time.Time, brokerEpoch int64, position func(PartitionKey, ids.LeaderEpoch) (partition.Position, bool)) (req *kmsg.FetchRequest, wait time.Time) {
	if now.Before(f.until) {
		return nil, f.until
	}
	if brokerEpoch != f.brokerEpoch {
		// A leader counts a follower under the broker epoch of its last read, and of a session it reads what has moved: partitions
		// in which nothing happens would stay those of a broker that is no more.
		f.brokerEpoch, f.sessionEpoch = brokerEpoch, sessionAnew
	}
	look := f.changed
	if f.sessionEpoch == sessionAnew {
		look = f.order
		for _, p := range f.order {
			p.in = false
		}
		f.inSession = 0
	}
	f.changed = nil
	for _, p := range look {
		p.noted = false
	}
	b := fetchBuilder{Fetcher: f, now: now}
	for _, p := range look {
		pos, ok := partition.Position{}, false
		if !p.gone {
			pos, ok = position(p.key, p.epoch)
		}
		b.add(p, pos, ok)
	}
	if b.dropped {
		f.order = slices.DeleteFunc(f.order, func(p *followed) bool { return p.gone })
	}
	if f.inSession == 0 {
		f.sessionEpoch = sessionAnew // what it still has need not be taken out of it
		return nil, b.wait
	}
	return b.request(brokerEpoch), time.Time{}
}

// fetchBuilder makes one request.
type fetchBuilder struct {
	*Fetcher
	now       time.Time
	wait      time.Time // when the first of those that are left out may be asked for; zero for none
	dropped   bool
	topics    []kmsg.FetchRequestTopic
	forgotten []kmsg.FetchRequestForgottenTopic
}

func (b *fetchBuilder) add(p *followed, pos partition.Position, ok bool) {
	switch {
	case !ok:
		b.leaveOut(p)
		p.gone, b.dropped = true, true
		delete(b.partitions, p.key)
	case b.now.Before(p.until):
		b.leaveOut(p)
		b.lookAgain(p, p.until)
	case !pos.Ready:
		b.leaveOut(p)
		b.lookAgain(p, b.now.Add(backoffFirst))
	default:
		b.ask(p, sentFetch{p.epoch, pos.End, pos.LastEpoch, pos.Start, b.bytes(pos)})
	}
}

// bytes is how much of a partition is asked for. Without room for it a fetch tells the leader still that this replica is there,
// and brings the high watermark and the log start.
func (b *fetchBuilder) bytes(pos partition.Position) int32 {
	if pos.Full {
		return 1
	}
	return b.cfg.PartitionBytes
}

func (b *fetchBuilder) lookAgain(p *followed, at time.Time) {
	b.note(p)
	if b.wait.IsZero() || at.Before(b.wait) {
		b.wait = at
	}
}

func (b *fetchBuilder) leaveOut(p *followed) {
	if !p.in {
		return
	}
	p.in = false
	b.inSession--
	i := slices.IndexFunc(b.forgotten, func(t kmsg.FetchRequestForgottenTopic) bool { return t.TopicID == p.key.Topic })
	if i < 0 {
		t := kmsg.NewFetchRequestForgottenTopic()
		t.TopicID = p.key.Topic
		b.forgotten, i = append(b.forgotten, t), len(b.forgotten)
	}
	b.forgotten[i].Partitions = append(b.forgotten[i].Partitions, p.key.Partition)
}

func (b *fetchBuilder) ask(p *followed, now sentFetch) {
	if p.in && p.sent == now {
		return
	}
	if !p.in {
		p.in = true
		b.inSession++
	}
	p.sent = now
	// Partitions of a topic come together mostly.
	if n := len(b.topics); n == 0 || b.topics[n-1].TopicID != p.key.Topic {
		t := kmsg.NewFetchRequestTopic()
		t.TopicID = p.key.Topic
		b.topics = append(b.topics, t)
	}
	out := kmsg.NewFetchRequestTopicPartition()
	out.Partition = p.key.Partition
	out.CurrentLeaderEpoch = int32(now.epoch)
	out.FetchOffset = int64(now.end)
	out.LastFetchedEpoch = int32(now.lastEpoch)
	out.LogStartOffset = int64(now.start)
	out.PartitionMaxBytes = now.maxBytes
	t := &b.topics[len(b.topics)-1]
	t.Partitions = append(t.Partitions, out)
}

func (b *fetchBuilder) request(brokerEpoch int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = fetchVersion
	req.ReplicaState.ID, req.ReplicaState.Epoch = int32(b.cfg.Node), brokerEpoch
	req.MinBytes, req.MaxBytes = b.cfg.MinBytes, b.cfg.MaxBytes
	wait := b.cfg.MaxWait
	if !b.wait.IsZero() { // somebody must not wait for the others' records
		wait = min(wait, b.wait.Sub(b.now))
	}
	req.MaxWaitMillis = int32(max(wait.Milliseconds(), 1))
	req.SessionID, req.SessionEpoch = b.session, b.sessionEpoch
	req.Topics, req.ForgottenTopics = b.topics, b.forgotten
	return req
}

// Response returns what the leader answered to the last request. Its batches alias the response.
func (f *Fetcher) Response(now time.Time, resp *kmsg.FetchResponse) []Answer {
	if resp.ErrorCode != 0 {
		// Of the session mostly, which begins anew at once; if that does not help, with pauses.
		f.failed(now, f.failures)
		return nil
	}
	f.failures = 0
	var out []Answer
	served := false
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := f.partitions[PartitionKey{t.TopicID, t.Partitions[j].Partition}]
			if p == nil || p.gone || !p.in || p.sent.epoch != p.epoch {
				continue
			}
			f.note(p)
			answer := p.answer(&t.Partitions[j])
			if answer.Err != nil {
				p.backOff(now, f.cfg.Backoff)
			} else if !p.unfollowed {
				p.failures = 0
			}
			p.unfollowed = false
			served = served || len(answer.Batches) > 0
			out = append(out, answer)
		}
	}
	f.nextInSession(resp.SessionID)
	if served && f.sessionEpoch == sessionAnew {
		f.rotate(out)
	}
	return out
}

// nextInSession prepares the next request in the session that the leader named, which may be none.
func (f *Fetcher) nextInSession(id int32) {
	f.session = id
	switch {
	case id == noSession:
		f.sessionEpoch = sessionAnew
	case f.sessionEpoch == math.MaxInt32:
		f.sessionEpoch = firstInSession
	default:
		f.sessionEpoch++
	}
}

// rotate puts those that were served behind the others: the next answer has room for these first.
func (f *Fetcher) rotate(answers []Answer) {
	served := make(map[PartitionKey]bool, len(answers))
	for i := range answers {
		served[answers[i].Key] = len(answers[i].Batches) > 0
	}
	slices.SortStableFunc(f.order, func(a, b *followed) int {
		switch {
		case served[a.key] == served[b.key]:
			return 0
		case served[a.key]:
			return 1
		}
		return -1
	})
}

// answer says what one partition of a response means.
func (p *followed) answer(in *kmsg.FetchResponseTopicPartition) Answer {
	a := Answer{Key: p.key}
	a.Epoch, a.From = p.sent.epoch, p.sent.end
	a.LogStart = ids.Offset(in.LogStartOffset)
	switch err := kerr.ErrorForCode(in.ErrorCode); {
	case errors.Is(err, kerr.OffsetOutOfRange) && in.LogStartOffset >= 0:
		a.Restart = true
	case err != nil:
		a.Err = err
	case in.DivergingEpoch.EndOffset >= 0:
		a.Diverging = &partition.Diverging{Epoch: ids.LeaderEpoch(in.DivergingEpoch.Epoch), End: ids.Offset(in.DivergingEpoch.EndOffset)}
	default:
		a.Batches, a.HighWatermark = in.RecordBatches, ids.Offset(in.HighWatermark)
	}
	return a
}

// Failed says that there is no answer to the last request. What the leader made of it is not known, so its session begins anew.
func (f *Fetcher) Failed(now time.Time) { f.failed(now, f.failures+1) }

func (f *Fetcher) failed(now time.Time, pauses int) {
	f.failures++
	f.sessionEpoch = sessionAnew
	if pauses > 0 {
		f.until = now.Add(backoff(pauses, f.cfg.Backoff))
	}
}

// Backoff says that an answer of a partition could not be followed: it rests. first tells that the one before could.
func (f *Fetcher) Backoff(key PartitionKey, now time.Time) (first bool) {
	p := f.partitions[key]
	if p == nil {
		return false
	}
	p.unfollowed = true
	p.backOff(now, f.cfg.Backoff)
	f.note(p)
	return p.failures == 1
}

func (p *followed) backOff(now time.Time, longest time.Duration) {
	p.failures++
	p.until = now.Add(backoff(p.failures, longest))
}

func backoff(failures int, longest time.Duration) time.Duration {
	return min(longest, backoffFirst<<min(failures-1, 20))
}

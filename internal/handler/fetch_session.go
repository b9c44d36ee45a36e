package handler

import (
	"container/list"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fetch sessions (KIP-227): a consumer names its partitions once, then only changes;
// the broker answers only with partitions that have news.

const (
	noSession    int32 = 0
	finalEpoch   int32 = -1 // closes the session, or asks for none
	initialEpoch int32 = 0  // makes a session

	// sessionIdleEviction is how long a session must be unused before a new one may
	// take its place (min.incremental.fetch.session.eviction.ms).
	sessionIdleEviction = 2 * time.Minute
)

// fetchSessions is the broker's cache of sessions.
type fetchSessions struct {
	slots int

	mu struct {
		sync.Mutex
		byID map[int32]*list.Element // of *fetchSession
		lru  list.List               // least recently used first
	}
}

func newFetchSessions(slots int) *fetchSessions {
	fs := &fetchSessions{slots: slots}
	fs.mu.byID = map[int32]*list.Element{}
	return fs
}

// partitionKey names a partition in a session, which uses either names or ids.
type partitionKey struct {
	topic     string
	topicID   ids.TopicID
	partition int32
}

// sessionPartition is one partition of a session and what the client last heard of it.
type sessionPartition struct {
	partitionKey
	key int32 // in the session's Watch

	from             ids.Offset
	maxBytes         int32
	start            ids.Offset // of a follower's log
	currentEpoch     ids.LeaderEpoch
	lastFetchedEpoch ids.LeaderEpoch

	part    *partition.Partition // nil until it is found, and after a read failed
	watched bool
	queued  bool

	sentHighWatermark, sentLogStart ids.Offset
}

func (p *sessionPartition) sameTopic(o *sessionPartition) bool {
	return p.topic == o.topic && p.topicID == o.topicID
}

// news tells whether an incremental answer has to name the partition.
func (p *sessionPartition) news(r *fetchResult) bool {
	return r.err != nil || r.res.Slice.Len() > 0 || r.res.Diverging != nil ||
		r.res.HighWatermark != p.sentHighWatermark || r.res.LogStart != p.sentLogStart
}

// startMoved tells whether the log start is another than the one that was last sent. A follower is told at once: whoever deletes
// records waits for it.
func (p *sessionPartition) startMoved(r *fetchResult) bool {
	return p.sentLogStart != ids.NoOffset && r.res.LogStart != p.sentLogStart
}

// sent notes what the client hears of the partition with this answer.
func (p *sessionPartition) sent(r *fetchResult) {
	p.sentHighWatermark, p.sentLogStart = r.res.HighWatermark, r.res.LogStart
	if r.err != nil {
		p.sentHighWatermark = ids.NoOffset // so that the end of the error is news
	}
}

// readAgain tells whether the next fetch has to read the partition even if it does not
// move: after an error, where data is left, and where nobody would tell that it moved. A follower asks for more than what is
// committed, and names the partition anew once it has what it was sent.
func (s *fetchSession) readAgain(p *sessionPartition, r *fetchResult) bool {
	if r.err != nil || !p.watched || r.res.HighWatermark > p.from {
		return true
	}
	return s.follower != ids.NoNode && p.part.Log().EndOffset() > p.from
}

// fetchSession belongs to one fetch at a time: whoever got it from open, until done.
// A session that is not in the cache (id 0) lives for one request.
type fetchSession struct {
	id          int32
	usesIDs     bool
	follower    ids.NodeID // the replica that fetches, NoNode for a client
	incremental bool       // this request's answer names only what has news

	// busy, closed, epoch and used are guarded by fetchSessions.mu.
	busy   bool
	closed bool  // out of the cache; the fetch that has it cleans up
	epoch  int32 // of the next request
	used   time.Time

	partitions map[partitionKey]*sessionPartition
	byKey      []*sessionPartition // by Watch key; nil where forgotten
	freeKeys   []int32             // of byKey that are nil
	watch      *partition.Watch    // nil until partitions are watched
	queue      []*sessionPartition // what to read, least recently served first
}

// open finds or makes the session of a request and brings it up to date. A session that
// is left without partitions ends.
// follower is the replica that fetches, NoNode for a client.
func (fs *fetchSessions) open(h *Handlers, req *kmsg.FetchRequest, follower ids.NodeID) (*fetchSession, error) {
	usesIDs := req.Version >= 13
	switch {
	case req.Version < 7 || req.SessionEpoch == finalEpoch || req.SessionEpoch == initialEpoch:
		if req.SessionID != noSession {
			fs.close(req.SessionID)
		}
		s := newFetchSession(usesIDs, follower)
		s.update(h, req)
		if req.Version >= 7 && req.SessionEpoch == initialEpoch {
			fs.insert(s)
		}
		return s, nil
	}
	s, err := fs.take(req.SessionID, req.SessionEpoch, usesIDs, follower)
	if err != nil {
		return nil, err
	}
	s.incremental = true
	s.update(h, req)
	if len(s.partitions) == 0 {
		fs.close(s.id)
		return newFetchSession(usesIDs, follower), nil
	}
	s.enqueueKeys(s.watch.Take(nil))
	return s, nil
}

// take reserves a session for the request with the given epoch.
func (fs *fetchSessions) take(id, epoch int32, usesIDs bool, follower ids.NodeID) (*fetchSession, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	e := fs.mu.byID[id]
	if e == nil || e.Value.(*fetchSession).follower != follower {
		return nil, fmt.Errorf("fetch session %d: %w", id, kerr.FetchSessionIDNotFound)
	}
	s := e.Value.(*fetchSession)
	if s.busy || s.epoch != epoch {
		return nil, fmt.Errorf("fetch session %d is at epoch %d, not %d: %w", id, s.epoch, epoch, kerr.InvalidFetchSessionEpoch)
	}
	if s.usesIDs != usesIDs {
		return nil, fmt.Errorf("fetch session %d: %w", id, kerr.FetchSessionTopicIDError)
	}
	s.busy = true
	s.epoch = nextEpoch(epoch)
	fs.mu.lru.MoveToBack(e)
	return s, nil
}

// nextEpoch wraps to 1: 0 makes a session.
func nextEpoch(epoch int32) int32 {
	if epoch == 1<<31-1 {
		return 1
	}
	return epoch + 1
}

// insert caches a new session where there is a slot, or an idle session to evict.
// Without one the session keeps id 0, which tells the client that there is none.
func (fs *fetchSessions) insert(s *fetchSession) {
	fs.mu.Lock()
	var evicted *fetchSession
	if fs.mu.lru.Len() >= fs.slots {
		front := fs.mu.lru.Front()
		if front == nil {
			fs.mu.Unlock()
			return
		}
		oldest := front.Value.(*fetchSession)
		if oldest.busy || time.Since(oldest.used) < sessionIdleEviction {
			fs.mu.Unlock()
			return
		}
		evicted = fs.removeLocked(front)
	}
	for s.id == noSession || fs.mu.byID[s.id] != nil {
		s.id = rand.Int32()
	}
	s.epoch, s.busy = 1, true
	s.watch = partition.NewWatch()
	fs.mu.byID[s.id] = fs.mu.lru.PushBack(s)
	fs.mu.Unlock()
	if evicted != nil {
		evicted.unwatchAll()
	}
}

// removeLocked takes a session out of the cache and returns it where the caller has to
// clean up, nil where the fetch that has it will.
func (fs *fetchSessions) removeLocked(e *list.Element) *fetchSession {
	s := e.Value.(*fetchSession)
	fs.mu.lru.Remove(e)
	delete(fs.mu.byID, s.id)
	s.closed = true
	if s.busy {
		return nil
	}
	return s
}

func (fs *fetchSessions) close(id int32) {
	fs.mu.Lock()
	var s *fetchSession
	if e := fs.mu.byID[id]; e != nil {
		s = fs.removeLocked(e)
	}
	fs.mu.Unlock()
	if s != nil {
		s.unwatchAll()
	}
}

// done gives the session back after its answer.
func (fs *fetchSessions) done(s *fetchSession) {
	if s.id == noSession {
		s.unwatchAll()
		return
	}
	fs.mu.Lock()
	s.busy = false
	s.used = time.Now()
	closed := s.closed
	fs.mu.Unlock()
	if closed {
		s.unwatchAll()
	}
}

func newFetchSession(usesIDs bool, follower ids.NodeID) *fetchSession {
	return &fetchSession{usesIDs: usesIDs, follower: follower, partitions: map[partitionKey]*sessionPartition{}}
}

// update adds, changes and forgets the partitions that the request names.
func (s *fetchSession) update(h *Handlers, req *kmsg.FetchRequest) {
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			s.set(h, partitionKey{t.Topic, t.TopicID, t.Partitions[j].Partition}, &t.Partitions[j])
		}
	}
	for i := range req.ForgottenTopics {
		t := &req.ForgottenTopics[i]
		for _, p := range t.Partitions {
			s.forget(partitionKey{t.Topic, t.TopicID, p})
		}
	}
}

func (s *fetchSession) set(h *Handlers, k partitionKey, asked *kmsg.FetchRequestTopicPartition) {
	p := s.partitions[k]
	if p == nil {
		p = &sessionPartition{partitionKey: k, key: s.newKey(), sentHighWatermark: ids.NoOffset, sentLogStart: ids.NoOffset}
		s.partitions[k], s.byKey[p.key] = p, p
	}
	p.from = ids.Offset(asked.FetchOffset)
	p.start = ids.Offset(asked.LogStartOffset)
	p.maxBytes = asked.PartitionMaxBytes
	p.currentEpoch = max(ids.LeaderEpoch(asked.CurrentLeaderEpoch), ids.NoLeaderEpoch)
	p.lastFetchedEpoch = max(ids.LeaderEpoch(asked.LastFetchedEpoch), ids.NoLeaderEpoch)
	s.enqueue(p)
}

// newKey returns a key that no partition has. News under a key that was another's costs
// one read for nothing.
func (s *fetchSession) newKey() int32 {
	if last := len(s.freeKeys) - 1; last >= 0 {
		key := s.freeKeys[last]
		s.freeKeys = s.freeKeys[:last]
		return key
	}
	s.byKey = append(s.byKey, nil)
	return int32(len(s.byKey) - 1)
}

func (s *fetchSession) forget(k partitionKey) {
	p := s.partitions[k]
	if p == nil {
		return
	}
	s.forgetReplica(p)
	delete(s.partitions, k)
	s.byKey[p.key] = nil
	s.freeKeys = append(s.freeKeys, p.key)
	for i, q := range s.queue {
		if q == p {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			break
		}
	}
}

// resolve finds this broker's replica of the partition, and watches it where the session does.
func (s *fetchSession) resolve(h *Handlers, p *sessionPartition) error {
	var err error
	if s.usesIDs {
		p.part, err = h.Partitions.ByID(p.topicID, p.partition)
	} else {
		p.part, err = h.Partitions.ByName([]byte(p.topic), p.partition)
	}
	if err != nil {
		p.part = nil
		return err
	}
	if s.watch != nil {
		s.watchOne(p)
	}
	return nil
}

// forgetReplica lets go of a replica that could not be read, or is not asked for any more.
func (s *fetchSession) forgetReplica(p *sessionPartition) {
	if p.watched && s.follower == ids.NoNode {
		p.part.Unwatch(s.watch, p.key)
	} else if p.watched {
		p.part.UnwatchAsFollower(s.watch, p.key)
	}
	p.part, p.watched = nil, false
}

// watchOne begins to watch a partition: a follower's fetch waits for what is appended, a client's for what is committed.
func (s *fetchSession) watchOne(p *sessionPartition) {
	if s.follower == ids.NoNode {
		p.part.Watch(s.watch, p.key)
	} else {
		p.part.WatchAsFollower(s.watch, p.key)
	}
	p.watched = true
}

// watchAll begins to watch every partition that was found.
func (s *fetchSession) watchAll() {
	if s.watch == nil {
		s.watch = partition.NewWatch()
	}
	for _, p := range s.partitions {
		if p.part != nil && !p.watched {
			s.watchOne(p)
			s.enqueue(p)
		}
	}
}

func (s *fetchSession) unwatchAll() {
	for _, p := range s.partitions {
		s.forgetReplica(p)
	}
}

func (s *fetchSession) enqueue(p *sessionPartition) {
	if !p.queued {
		p.queued = true
		s.queue = append(s.queue, p)
	}
}

func (s *fetchSession) enqueueKeys(keys []int32) {
	for _, k := range keys {
		if p := s.byKey[k]; p != nil {
			s.enqueue(p)
		}
	}
}

// park drops from the queue what has no news; it comes back when it moves.
func (s *fetchSession) park(results []fetchResult) {
	s.queue = s.queue[:0]
	for i := range results {
		r := &results[i]
		r.p.queued = false
		if !r.p.watched || r.p.news(r) {
			s.enqueue(r.p)
		}
	}
}

// requeue makes the queue of the next request. What got data goes last, so that the
// others have their turn when an answer cannot hold all.
func (s *fetchSession) requeue(results []fetchResult) {
	s.queue = s.queue[:0]
	for i := range results {
		results[i].p.queued = false
	}
	for _, served := range []bool{false, true} {
		for i := range results {
			r := &results[i]
			if (r.res.Slice.Len() > 0) == served && s.readAgain(r.p, r) {
				s.enqueue(r.p)
			}
		}
	}
}

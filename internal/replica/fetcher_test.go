package replica

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
)

var (
	topicA = ids.TopicID{1}
	topicB = ids.TopicID{2}
	a0, a1 = PartitionKey{topicA, 0}, PartitionKey{topicA, 1}
	b0     = PartitionKey{topicB, 0}
)

// script is a fetcher and the logs that it fetches for.
type script struct {
	*Fetcher
	t    *testing.T
	now  time.Time
	life int64 // the broker epoch
	logs map[PartitionKey]partition.Position
}

func newScript(t *testing.T, keys ...PartitionKey) *script {
	s := &script{t: t, now: time.Unix(1000, 0), life: 77, logs: map[PartitionKey]partition.Position{}}
	s.Fetcher = NewFetcher(FetcherConfig{Node: 3, MaxBytes: 1000, PartitionBytes: 100, MinBytes: 1, MaxWait: 500 * time.Millisecond, Backoff: time.Second})
	for _, k := range keys {
		s.logs[k] = partition.Position{End: 5, LastEpoch: 2, Start: 1, Ready: true}
		s.Follow(k, 4)
	}
	return s
}

func (s *script) position(k PartitionKey, _ ids.LeaderEpoch) (partition.Position, bool) {
	p, ok := s.logs[k]
	return p, ok
}

// moves sets where a log ends.
func (s *script) moves(k PartitionKey, end ids.Offset) {
	p := s.logs[k]
	p.End = end
	s.logs[k] = p
}

// wants checks the next request: SESSION/EPOCH, then PARTITION@OFFSET of those named, then -PARTITION of those forgotten.
func (s *script) wants(want string) *kmsg.FetchRequest {
	s.t.Helper()
	req, wait := s.Request(s.now, s.life, s.position)
	if req == nil {
		if got := fmt.Sprintf("nothing for %v", max(wait.Sub(s.now), -1)); got != want {
			s.t.Fatalf("%s, want %s", got, want)
		}
		return nil
	}
	if got := requestText(req); got != want {
		s.t.Fatalf("%s, want %s", got, want)
	}
	return req
}

func requestText(req *kmsg.FetchRequest) string {
	text := []string{fmt.Sprintf("%d/%d", req.SessionID, req.SessionEpoch)}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			text = append(text, fmt.Sprintf("%c%d@%d", 'a'-1+t.TopicID[0], p.Partition, p.FetchOffset))
		}
	}
	for _, t := range req.ForgottenTopics {
		for _, p := range t.Partitions {
			text = append(text, fmt.Sprintf("-%c%d", 'a'-1+t.TopicID[0], p))
		}
	}
	return strings.Join(text, " ")
}

// part is what a response has of a partition.
type part struct {
	key PartitionKey
	kmsg.FetchResponseTopicPartition
}

func records(k PartitionKey, data string) part {
	p := part{k, kmsg.NewFetchResponseTopicPartition()}
	p.RecordBatches, p.HighWatermark, p.LogStartOffset = []byte(data), 3, 2
	return p
}

func refusal(k PartitionKey, err *kerr.Error) part {
	p := part{k, kmsg.NewFetchResponseTopicPartition()}
	p.ErrorCode = err.Code
	return p
}

// hears has the fetcher take a response.
func (s *script) hears(session int32, parts ...part) []Answer {
	resp := kmsg.NewPtrFetchResponse()
	resp.SessionID = session
	for _, p := range parts {
		t := kmsg.NewFetchResponseTopic()
		t.TopicID = p.key.Topic
		p.Partition = p.key.Partition
		t.Partitions = append(t.Partitions, p.FetchResponseTopicPartition)
		resp.Topics = append(resp.Topics, t)
	}
	return s.Response(s.now, resp)
}

func TestFetchRequest(t *testing.T) {
	s := newScript(t, a0)
	req := s.wants("0/0 a0@5")
	p := req.Topics[0].Partitions[0]
	if req.Version != 17 || req.ReplicaState.ID != 3 || req.ReplicaState.Epoch != 77 || req.MaxWaitMillis != 500 || req.MinBytes != 1 || req.MaxBytes != 1000 {
		t.Errorf("%+v", req)
	}
	if p.CurrentLeaderEpoch != 4 || p.LastFetchedEpoch != 2 || p.LogStartOffset != 1 || p.PartitionMaxBytes != 100 {
		t.Errorf("%+v", p)
	}
}

// TestSession: a session is told what has changed and nothing else.
func TestSession(t *testing.T) {
	s := newScript(t, a0, a1, b0)
	s.wants("0/0 a0@5 a1@5 b0@5")
	s.hears(9, records(a1, ""))
	s.wants("9/1")
	s.hears(9)
	s.wants("9/2")
	if got := s.hears(9, records(a1, "abc")); len(got) != 1 || got[0].Key != a1 || got[0].From != 5 || got[0].Epoch != 4 || string(got[0].Batches) != "abc" || got[0].HighWatermark != 3 || got[0].LogStart != 2 {
		t.Fatalf("%+v", got)
	}
	s.moves(a1, 8)
	s.wants("9/3 a1@8")
	s.hears(9)
	s.Follow(b0, 6) // a new epoch of the same leader
	s.Unfollow(a0)
	s.wants("9/4 b0@5 -a0")
	s.hears(9)
	s.Follow(a0, 7)
	s.wants("9/5 a0@5")
	s.hears(9)
	delete(s.logs, a1) // not followed any more, and nobody has said so
	s.Follow(a1, 4)
	s.wants("9/6 -a1")
}

func TestSessionEpochWraps(t *testing.T) {
	s := newScript(t, a0)
	s.wants("0/0 a0@5")
	s.hears(9)
	s.sessionEpoch = math.MaxInt32
	s.wants(fmt.Sprintf("9/%d", math.MaxInt32))
	s.hears(9)
	s.wants("9/1")
}

// TestWithoutSession: a leader that has no room for a session is asked for everything each time, first for what was not served.
func TestWithoutSession(t *testing.T) {
	s := newScript(t, a0, a1, b0)
	s.wants("0/0 a0@5 a1@5 b0@5")
	s.hears(0, records(a0, "x"), records(a1, ""), records(b0, ""))
	s.moves(a0, 6)
	s.wants("0/0 a1@5 b0@5 a0@6")
	s.hears(0, records(a1, "x"), records(b0, "x"))
	s.wants("0/0 a0@6 a1@5 b0@5")
}

func TestSessionLost(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.FetchSessionIDNotFound, kerr.InvalidFetchSessionEpoch, kerr.InconsistentTopicID} {
		s := newScript(t, a0, a1)
		s.wants("0/0 a0@5 a1@5")
		s.hears(9)
		s.wants("9/1")
		refused := kmsg.NewPtrFetchResponse()
		refused.ErrorCode = code.Code
		s.Response(s.now, refused)
		s.wants("9/0 a0@5 a1@5")
		s.Response(s.now, refused)
		s.wants("nothing for 10ms")
	}
}

// A leader has to hear of all partitions that they are another broker epoch's now, of those too in which nothing happens.
func TestSessionOfAnotherBrokerEpoch(t *testing.T) {
	s := newScript(t, a0, a1)
	s.life = partition.NoBrokerEpoch // fetched before the broker is registered
	s.wants("0/0 a0@5 a1@5")
	s.hears(9)
	s.wants("9/1")
	s.hears(9)
	s.life = 77
	if req := s.wants("9/0 a0@5 a1@5"); req.ReplicaState.Epoch != 77 {
		t.Errorf("broker epoch %d", req.ReplicaState.Epoch)
	}
	s.hears(11)
	s.wants("11/1")
}

func TestNoAnswer(t *testing.T) {
	s := newScript(t, a0)
	s.wants("0/0 a0@5")
	s.hears(9)
	s.wants("9/1")
	for _, pause := range []string{"10ms", "20ms", "40ms", "80ms", "160ms", "320ms", "640ms", "1s", "1s"} {
		s.Failed(s.now)
		s.wants("nothing for " + pause)
		s.now = s.until
		s.wants("9/0 a0@5")
	}
	s.hears(10)
	s.wants("10/1")
	s.Failed(s.now)
	s.wants("nothing for 10ms")
}

// TestPartitionThatFails rests, out of the session, while the others go on; nobody waits for records longer than it rests.
func TestPartitionThatFails(t *testing.T) {
	s := newScript(t, a0, a1)
	s.wants("0/0 a0@5 a1@5")
	got := s.hears(9, refusal(a0, kerr.UnknownLeaderEpoch))
	if len(got) != 1 || got[0].Err == nil {
		t.Fatalf("%+v", got)
	}
	if req := s.wants("9/1 -a0"); req.MaxWaitMillis != 10 {
		t.Fatalf("waits for %d ms", req.MaxWaitMillis)
	}
	s.hears(9)
	s.wants("9/2")
	s.hears(9, records(a1, "x"))
	s.Backoff(a1, s.now) // could not be appended
	s.wants("nothing for 10ms")
	s.now = s.now.Add(10 * time.Millisecond)
	s.wants("9/0 a0@5 a1@5")
	s.hears(9, refusal(a0, kerr.UnknownLeaderEpoch))
	s.Follow(a0, 5) // somebody else leads it
	s.wants("9/1 a0@5")
}

// TestPartitionThatCannotBeFollowed, for want of room say, rests longer each time, until it can.
func TestPartitionThatCannotBeFollowed(t *testing.T) {
	s := newScript(t, a0)
	s.wants("0/0 a0@5")
	for n, pause := range []string{"10ms", "20ms", "40ms"} {
		s.hears(noSession, records(a0, "x"))
		if first := s.Backoff(a0, s.now); first != (n == 0) {
			t.Errorf("failure %d is the first: %v", n+1, first)
		}
		s.wants("nothing for " + pause)
		s.now = s.now.Add(time.Second)
		s.wants("0/0 a0@5")
	}
	s.hears(noSession, records(a0, "x"))
	s.logs[a0] = partition.Position{End: 6, LastEpoch: 2, Start: 1, Ready: true}
	s.wants("0/0 a0@6")
	s.hears(noSession, records(a0, "y"))
	if !s.Backoff(a0, s.now) {
		t.Error("a failure after a success is not the first")
	}
	s.wants("nothing for 10ms")
}

// TestPartitionWithoutRoom is asked for still, to tell that this replica is there, but for next to nothing.
func TestPartitionWithoutRoom(t *testing.T) {
	s := newScript(t, a0)
	p := s.logs[a0]
	for _, full := range []bool{false, true, false} {
		p.Full = full
		s.logs[a0] = p
		req := s.wants("0/0 a0@5")
		if got := req.Topics[0].Partitions[0].PartitionMaxBytes; (got == 1) != full {
			t.Errorf("full %v: asks for %d bytes", full, got)
		}
		s.hears(noSession)
	}
}

// TestPartitionThatIsSynced is not asked for before what it has is synced.
func TestPartitionThatIsSynced(t *testing.T) {
	s := newScript(t, a0, a1)
	s.wants("0/0 a0@5 a1@5")
	s.hears(9, records(a0, "x"))
	s.logs[a0] = partition.Position{End: 6, LastEpoch: 2, Start: 1}
	s.wants("9/1 -a0")
	s.hears(9)
	s.logs[a0] = partition.Position{End: 6, LastEpoch: 2, Start: 1, Ready: true}
	s.wants("9/2 a0@6")
}

func TestAnswers(t *testing.T) {
	diverging := records(a0, "")
	diverging.DivergingEpoch.Epoch, diverging.DivergingEpoch.EndOffset = 1, 3
	outside, unknown := refusal(a0, kerr.OffsetOutOfRange), refusal(a0, kerr.OffsetOutOfRange)
	outside.LogStartOffset = 40
	for _, tc := range []struct {
		name string
		part part
		want func(Answer) bool
	}{
		{"records", records(a0, "abc"), func(a Answer) bool {
			return string(a.Batches) == "abc" && a.Diverging == nil && !a.Restart && a.Err == nil
		}},
		{"a divergence", diverging, func(a Answer) bool {
			return a.Diverging != nil && *a.Diverging == partition.Diverging{Epoch: 1, End: 3} && len(a.Batches) == 0
		}},
		{"outside the leader's log", outside, func(a Answer) bool { return a.Restart && a.LogStart == 40 && a.Err == nil }},
		{"outside, and nobody knows of what", unknown, func(a Answer) bool { return !a.Restart && a.Err != nil }},
		{"another error", refusal(a0, kerr.NotLeaderForPartition), func(a Answer) bool { return a.Err == kerr.NotLeaderForPartition }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScript(t, a0)
			s.wants("0/0 a0@5")
			if got := s.hears(9, tc.part); len(got) != 1 || !tc.want(got[0]) || got[0].From != 5 || got[0].Epoch != 4 {
				t.Fatalf("%+v", got)
			}
		})
	}
}

// TestAnswersThatNobodyWaitsFor: of partitions that were never asked for, or are followed in another epoch since.
func TestAnswersThatNobodyWaitsFor(t *testing.T) {
	s := newScript(t, a0, a1)
	s.wants("0/0 a0@5 a1@5")
	s.Follow(a0, 5)
	s.Unfollow(a1)
	if got := s.hears(9, records(a0, "x"), records(a1, "x"), records(b0, "x")); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
	s.wants("9/1 a0@5 -a1")
	if keys := slices.Collect(func(yield func(PartitionKey) bool) {
		for k := range s.partitions {
			if !yield(k) {
				return
			}
		}
	}); len(keys) != 1 || len(s.order) != 1 {
		t.Fatalf("still has %v", keys)
	}
}

func TestNothingToFollow(t *testing.T) {
	s := newScript(t)
	s.wants("nothing for -1ns")
	s.Follow(a0, 1)
	s.wants("nothing for -1ns") // not here
}

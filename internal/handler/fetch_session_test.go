package handler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/metadata"
)

// opening asks for a session.
func opening(req *kmsg.FetchRequest) *kmsg.FetchRequest {
	req.SessionID, req.SessionEpoch = noSession, initialEpoch
	return req
}

// incremental goes on with a session: nothing but what changed is named.
func incremental(session, epoch int32) *kmsg.FetchRequest {
	req := fetchRequest("", 0)
	req.SessionID, req.SessionEpoch = session, epoch
	return req
}

// naming adds a partition to a request.
func naming(req *kmsg.FetchRequest, topic string, partition int32, from int64) *kmsg.FetchRequest {
	req.Topics = append(req.Topics, fetchRequest(topic, from, partition).Topics...)
	return req
}

// forgetting takes a partition out of the session.
func forgetting(req *kmsg.FetchRequest, topic string, partition int32) *kmsg.FetchRequest {
	f := kmsg.NewFetchRequestForgottenTopic()
	f.Topic, f.Partitions = topic, []int32{partition}
	req.ForgottenTopics = append(req.ForgottenTopics, f)
	return req
}

// putTo writes a batch to a partition of a topic.
func (c *client) putTo(topic string, partition int32) {
	c.t.Helper()
	req := produceRequest(9, -1, topic, values("x"))
	req.Topics[0].Partitions[0].Partition = partition
	wantCode(c.t, "produce", only(c.t, ask[*kmsg.ProduceResponse](c, req)).ErrorCode, nil)
}

// cached counts the sessions of the broker.
func (b *broker) cached() int {
	b.handlers.sessions.mu.Lock()
	defer b.handlers.sessions.mu.Unlock()
	return len(b.handlers.sessions.mu.byID)
}

func wantFetchError(t *testing.T, what string, resp *kmsg.FetchResponse, want *kerr.Error) {
	t.Helper()
	wantCode(t, what, resp.ErrorCode, want)
	if len(resp.Topics) != 0 || resp.SessionID != 0 {
		t.Errorf("%s: an error with %d topics and session %d", what, len(resp.Topics), resp.SessionID)
	}
}

// TestFetchSession walks through the life of a session (KIP-227).
func TestFetchSession(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 3)
	b.create("u", 1)
	c := b.dial()
	defer c.close()
	c.putTo("t", 1)

	resp := c.fetch(opening(fetchRequest("t", 0, 0, 1, 2)))
	id := resp.SessionID
	wantFetch(t, "a session names all it has", resp, "t-0 t-1:0..1 t-2")
	if id <= 0 || b.cached() != 1 {
		t.Fatalf("session %d, %d are cached", id, b.cached())
	}
	epoch := int32(0)
	next := func() *kmsg.FetchRequest { epoch++; return incremental(id, epoch) }

	wantFetch(t, "data that was not taken comes again", c.fetch(next()), "t-1:0..1")
	wantFetch(t, "taken", c.fetch(naming(next(), "t", 1, 1)), "")
	wantFetch(t, "nothing new", c.fetch(next()), "")
	c.putTo("t", 2)
	c.putTo("u", 0)
	wantFetch(t, "only what moved", c.fetch(next()), "t-2:0..1")
	wantFetch(t, "one more partition", c.fetch(naming(naming(next(), "t", 2, 1), "u", 0, 0)), "u-0:0..1")
	wantFetch(t, "an end that is news though there are no records", c.fetch(naming(next(), "u", 0, 1)), "")
	c.putTo("t", 0)
	c.putTo("t", 1)
	wantFetch(t, "forgotten partitions are silent", c.fetch(forgetting(next(), "t", 0)), "t-1:1..2")
	wantFetch(t, "a partition comes back", c.fetch(naming(naming(next(), "t", 0, 0), "t", 1, 2)), "t-0:0..1")
	if _, err := b.partition("t", 2).DeleteRecords(1); err != nil {
		t.Fatal(err)
	}
	resp = c.fetch(naming(next(), "t", 0, 1))
	wantFetch(t, "a log start that moved is news", resp, "t-2")
	if got := firstPartition(t, resp).LogStartOffset; got != 1 {
		t.Errorf("log start offset %d", got)
	}
	wantFetch(t, "out of range", c.fetch(naming(next(), "t", 2, 9)), "t-2=1")
	wantFetch(t, "an error is told until it ends", c.fetch(next()), "t-2=1")
	wantFetch(t, "the end of an error is news", c.fetch(naming(next(), "t", 2, 1)), "t-2")

	closing := incremental(id, finalEpoch)
	if resp := c.fetch(closing); resp.ErrorCode != 0 || resp.SessionID != 0 || b.cached() != 0 {
		t.Errorf("close: %+v, %d sessions left", resp, b.cached())
	}
	wantFetchError(t, "closed", c.fetch(next()), kerr.FetchSessionIDNotFound)
}

func TestFetchSessionErrors(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	topicID := b.create("t", 1)
	c := b.dial()
	defer c.close()
	id := c.fetch(opening(fetchRequest("t", 0, 0))).SessionID
	byID := incremental(id, 1)
	byID.Version = 13
	for _, tc := range []struct {
		name string
		req  *kmsg.FetchRequest
		want *kerr.Error
	}{
		{"unknown session", incremental(id+1, 1), kerr.FetchSessionIDNotFound},
		{"no session with an epoch", incremental(0, 1), kerr.FetchSessionIDNotFound},
		{"epoch too new", incremental(id, 2), kerr.InvalidFetchSessionEpoch},
		{"epoch below all", incremental(id, -2), kerr.InvalidFetchSessionEpoch},
		{"ids in a session of names", byID, kerr.FetchSessionTopicIDError},
	} {
		wantFetchError(t, tc.name, c.fetch(tc.req), tc.want)
	}
	if resp := c.fetch(incremental(id, 1)); resp.ErrorCode != 0 {
		t.Errorf("the session was harmed: error %d", resp.ErrorCode)
	}
	wantFetchError(t, "epoch that was served", c.fetch(incremental(id, 1)), kerr.InvalidFetchSessionEpoch)

	ofIDs := opening(fetchRequest("", 0, 0))
	ofIDs.Version, ofIDs.Topics[0].TopicID = 13, topicID
	names := incremental(c.fetch(ofIDs).SessionID, 1)
	wantFetchError(t, "names in a session of ids", c.fetch(names), kerr.FetchSessionTopicIDError)
}

// TestFetchSessionReplaced: opening again with the id of a session ends that one.
func TestFetchSessionReplaced(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 1)
	c := b.dial()
	defer c.close()
	first := c.fetch(opening(fetchRequest("t", 0, 0))).SessionID
	again := opening(fetchRequest("t", 0, 0))
	again.SessionID = first
	second := c.fetch(again).SessionID
	if second == 0 || second == first || b.cached() != 1 {
		t.Errorf("session %d after %d, %d are cached", second, first, b.cached())
	}
	wantFetchError(t, "the first", c.fetch(incremental(first, 1)), kerr.FetchSessionIDNotFound)
}

// TestFetchSessionEmptied: a session without partitions ends, with session id 0 in its last
// answer. Java: FetchManager.newContext.
func TestFetchSessionEmptied(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 1)
	c := b.dial()
	defer c.close()
	id := c.fetch(opening(fetchRequest("t", 0, 0))).SessionID
	resp := c.fetch(waiting(forgetting(incremental(id, 1), "t", 0), time.Minute))
	if resp.ErrorCode != 0 || resp.SessionID != 0 || b.cached() != 0 {
		t.Errorf("error %d, session %d, %d are cached", resp.ErrorCode, resp.SessionID, b.cached())
	}
	wantFetchError(t, "the next", c.fetch(incremental(id, 2)), kerr.FetchSessionIDNotFound)
}

// TestFetchSessionTopicDeleted: a session hears of a deletion, and of the topic's next life.
func TestFetchSessionTopicDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t)
		defer b.stop()
		first := b.create("t", 1)
		b.create("u", 1)
		c := b.dial()
		defer c.close()
		c.putTo("t", 0)
		id := c.fetch(opening(naming(fetchRequest("t", 1, 0), "u", 0, 0))).SessionID
		req := waiting(incremental(id, 1), time.Hour)
		c.send(req)
		synctest.Wait()
		b.apply(&metadata.RemoveTopicRecord{TopicID: first})
		wantFetch(t, "deleted while it waits", answer[*kmsg.FetchResponse](c, req), "t-0=3")
		wantFetch(t, "still gone", c.fetch(incremental(id, 2)), "t-0=3")
		b.create("t", 1)
		wantFetch(t, "made again, shorter", c.fetch(incremental(id, 3)), "t-0=1")
		wantFetch(t, "from its start", c.fetch(naming(incremental(id, 4), "t", 0, 0)), "t-0")
		req = waiting(incremental(id, 5), time.Hour)
		c.send(req)
		synctest.Wait()
		producer := b.dial()
		defer producer.close()
		producer.putTo("t", 0)
		wantFetch(t, "the new life is watched", answer[*kmsg.FetchResponse](c, req), "t-0:0..1")
	})
}

// TestFetchSessionDeletedBetween: a deletion between two requests is told too.
func TestFetchSessionDeletedBetween(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	topicID := b.create("t", 1)
	c := b.dial()
	defer c.close()
	req := opening(fetchRequest("", 0, 0))
	req.Version, req.Topics[0].TopicID = 13, topicID
	id := c.fetch(req).SessionID
	b.apply(&metadata.RemoveTopicRecord{TopicID: topicID})
	b.create("t", 1)
	req = waiting(incremental(id, 1), time.Minute)
	req.Version = 13
	resp := c.fetch(req)
	if code := firstPartition(t, resp).ErrorCode; code != kerr.UnknownTopicID.Code && code != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("error %d", code)
	}
	req = incremental(id, 2)
	req.Version = 13
	wantCode(t, "the id of a topic that is no more", firstPartition(t, c.fetch(req)).ErrorCode, kerr.UnknownTopicID)
}

// TestFetchSessionTwice: a session serves one request at a time.
func TestFetchSessionTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t)
		defer b.stop()
		b.create("t", 1)
		c, other, producer := b.dial(), b.dial(), b.dial()
		defer c.close()
		defer other.close()
		defer producer.close()
		id := c.fetch(opening(fetchRequest("t", 0, 0))).SessionID
		req := waiting(incremental(id, 1), time.Hour)
		c.send(req)
		synctest.Wait()
		for _, epoch := range []int32{1, 2} {
			wantFetchError(t, "while another waits", other.fetch(incremental(id, epoch)), kerr.InvalidFetchSessionEpoch)
		}
		closing := incremental(id, finalEpoch)
		if resp := other.fetch(closing); resp.ErrorCode != 0 || b.cached() != 0 {
			t.Errorf("close from another connection: %+v", resp)
		}
		producer.putTo("t", 0)
		wantFetch(t, "whoever waits in a closed session is answered", answer[*kmsg.FetchResponse](c, req), "t-0:0..1")
		wantFetchError(t, "and then it is gone", c.fetch(incremental(id, 2)), kerr.FetchSessionIDNotFound)
		if n := b.partition("t", 0).Watching(); n != 0 {
			t.Errorf("%d still watch", n)
		}
	})
}

// TestFetchSessionEviction: a full cache gives no session until one has been idle for two minutes.
func TestFetchSessionEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t, "max.incremental.fetch.session.cache.slots", "2")
		defer b.stop()
		b.create("t", 1)
		c := b.dial()
		defer c.close()
		open := func() int32 {
			resp := c.fetch(opening(fetchRequest("t", 0, 0)))
			wantFetch(t, "open", resp, "t-0")
			return resp.SessionID
		}
		first, second := open(), open()
		if third := open(); third != 0 || b.cached() != 2 {
			t.Errorf("session %d where there is no slot, %d are cached", third, b.cached())
		}
		time.Sleep(sessionIdleEviction)
		c.fetch(incremental(first, 1)) // so that second is the one that was unused for longest
		if fourth := open(); fourth == 0 || b.cached() != 2 {
			t.Errorf("session %d though one is idle, %d are cached", fourth, b.cached())
		}
		wantFetchError(t, "the idle one", c.fetch(incremental(second, 1)), kerr.FetchSessionIDNotFound)
		if resp := c.fetch(incremental(first, 2)); resp.ErrorCode != 0 {
			t.Errorf("the one in use was evicted: %d", resp.ErrorCode)
		}
		if n := b.partition("t", 0).Watching(); n != 2 {
			t.Errorf("%d watch, want the 2 sessions there are", n)
		}
	})
}

// TestFetchSessionFair: what was left out for want of room comes first the next time.
func TestFetchSessionFair(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 3)
	c := b.dial()
	defer c.close()
	for number := range int32(3) {
		c.putTo("t", number)
	}
	small := func(req *kmsg.FetchRequest) *kmsg.FetchRequest { req.MaxBytes = 10; return req }
	resp := c.fetch(small(opening(fetchRequest("t", 0, 0, 1, 2))))
	wantFetch(t, "first", resp, "t-0:0..1 t-1 t-2")
	id := resp.SessionID
	wantFetch(t, "second", c.fetch(small(naming(incremental(id, 1), "t", 0, 1))), "t-1:0..1")
	wantFetch(t, "third", c.fetch(small(naming(incremental(id, 2), "t", 1, 1))), "t-2:0..1")
	wantFetch(t, "all taken", c.fetch(small(naming(incremental(id, 3), "t", 2, 1))), "")
}

// TestFetchSessionChurn: forgetting and naming partitions over and over leaves nothing behind.
func TestFetchSessionChurn(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 2)
	c := b.dial()
	defer c.close()
	id := c.fetch(opening(fetchRequest("t", 0, 0, 1))).SessionID
	epoch := int32(1)
	for range 100 {
		c.fetch(forgetting(incremental(id, epoch), "t", 1))
		c.putTo("t", 1)
		c.fetch(naming(incremental(id, epoch+1), "t", 1, 0))
		epoch += 2
	}
	fs := b.handlers.sessions
	fs.mu.Lock()
	s := fs.mu.byID[id].Value.(*fetchSession)
	fs.mu.Unlock()
	if len(s.byKey) > 2 || len(s.partitions) != 2 || len(s.queue) > 2 {
		t.Errorf("%d keys, %d partitions, %d in the queue", len(s.byKey), len(s.partitions), len(s.queue))
	}
	if n := b.partition("t", 1).Watching(); n != 1 {
		t.Errorf("%d watch", n)
	}
}

// TestFetchSessionOfThousand: with one active partition of a thousand, requests are under 200
// bytes and answers name one partition.
func TestFetchSessionOfThousand(t *testing.T) {
	const partitions = 1000
	b := startBroker(t)
	defer b.stop()
	b.create("t", partitions)
	c := b.dial()
	defer c.close()
	all := make([]int32, partitions)
	for i := range all {
		all[i] = int32(i)
	}
	resp := c.fetch(opening(fetchRequest("t", 0, all...)))
	if n := len(resp.Topics[0].Partitions); n != partitions {
		t.Fatalf("%d partitions in the first answer", n)
	}
	id, epoch := resp.SessionID, int32(0)
	c.fetch(incremental(id, 1))
	const active = 617
	req := incremental(id, 2)
	for offset := range int64(20) {
		c.putTo("t", active)
		if resp = c.fetch(waiting(req, time.Minute)); c.sentBytes >= 200 {
			t.Fatalf("a request of %d bytes", c.sentBytes)
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || firstPartition(t, resp).Partition != active {
			t.Fatalf("answer %s", offsets(t, resp))
		}
		epoch = int32(offset) + 3
		req = naming(incremental(id, epoch), "t", active, offset+1)
	}
}

// TestFetchSessionEpochWraps: the epoch after the largest is 1.
func TestFetchSessionEpochWraps(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 1)
	c := b.dial()
	defer c.close()
	id := c.fetch(opening(fetchRequest("t", 0, 0))).SessionID
	fs := b.handlers.sessions
	fs.mu.Lock()
	fs.mu.byID[id].Value.(*fetchSession).epoch = 1<<31 - 1
	fs.mu.Unlock()
	for _, epoch := range []int32{1<<31 - 1, 1, 2} {
		if resp := c.fetch(incremental(id, epoch)); resp.ErrorCode != 0 || resp.SessionID != id {
			t.Errorf("epoch %d: %+v", epoch, resp)
		}
	}
}

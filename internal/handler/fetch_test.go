package handler

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/record"
)

// fetchByName is the newest version of Fetch that names topics.
const fetchByName = 12

// fetchRequest asks for the partitions of one topic from an offset, without a session
// and without waiting.
func fetchRequest(topic string, from int64, partitions ...int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MinBytes, req.MaxBytes = fetchByName, 1, 50<<20
	req.SessionEpoch = finalEpoch
	if len(partitions) == 0 {
		return req
	}
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	for _, number := range partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = number, from, 1<<20
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// waiting makes a request wait for a time at most.
func waiting(req *kmsg.FetchRequest, atMost time.Duration) *kmsg.FetchRequest {
	req.MaxWaitMillis = int32(atMost.Milliseconds())
	return req
}

func (c *client) fetch(req *kmsg.FetchRequest) *kmsg.FetchResponse {
	c.t.Helper()
	return ask[*kmsg.FetchResponse](c, req)
}

// firstPartition returns the first partition of an answer.
func firstPartition(t testing.TB, resp *kmsg.FetchResponse) *kmsg.FetchResponseTopicPartition {
	t.Helper()
	if len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
		t.Fatalf("no partition: %+v", resp)
	}
	return &resp.Topics[0].Partitions[0]
}

// offsets lists what an answer holds: topic-partition:first..end of each partition in its
// order, with errors as =code.
func offsets(t testing.TB, resp *kmsg.FetchResponse) string {
	t.Helper()
	var out []string
	for i := range resp.Topics {
		topic := &resp.Topics[i]
		for j := range topic.Partitions {
			p := &topic.Partitions[j]
			name := fmt.Sprintf("%s-%d", topic.Topic, p.Partition)
			first, end := ids.Offset(-1), ids.Offset(-1)
			for rest := p.RecordBatches; len(rest) > 0; {
				b, more, err := record.First(rest)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					break
				}
				if first < 0 {
					first = b.BaseOffset()
				}
				end, rest = b.NextOffset(), more
			}
			switch {
			case p.ErrorCode != 0:
				name += fmt.Sprintf("=%d", p.ErrorCode)
			case first >= 0:
				name += fmt.Sprintf(":%d..%d", first, end)
			}
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}

func wantFetch(t testing.TB, what string, resp *kmsg.FetchResponse, want string) {
	t.Helper()
	if got := offsets(t, resp); got != want || resp.ErrorCode != 0 {
		t.Errorf("%s: %q with error %d, want %q", what, got, resp.ErrorCode, want)
	}
}

func TestFetchEveryVersion(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.create("t", 1)
	c := b.dial()
	defer c.close()
	sent := values("x", "y")
	c.produce("t", values("x", "y"))
	for version := int16(4); version <= 18; version++ {
		req := fetchRequest("t", 0, 0)
		req.Version, req.Topics[0].TopicID = version, id
		resp := c.fetch(req)
		p := firstPartition(t, resp)
		if p.ErrorCode != 0 || len(p.RecordBatches) != len(sent) || p.HighWatermark != 2 || p.LastStableOffset != 2 {
			t.Errorf("v%d: %+v", version, p)
		}
		if version >= 13 && resp.Topics[0].TopicID != id || version < 13 && resp.Topics[0].Topic != "t" {
			t.Errorf("v%d: topic %q %v", version, resp.Topics[0].Topic, resp.Topics[0].TopicID)
		}
	}
}

func TestFetchErrors(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.create("t", 1)
	other := leads(ids.NewUUID(), 0, 0)
	other.Leader, other.Replicas, other.ISR = testNode+1, []ids.NodeID{testNode + 1}, []ids.NodeID{testNode + 1}
	b.applyTopic("elsewhere", other.TopicID, other, leads(other.TopicID, 1, 0))
	c := b.dial()
	defer c.close()
	c.produce("t", values("x", "y"))
	b.newEpoch(id, 0)
	c.produce("t", values("z"))
	change := func(f func(*kmsg.FetchRequest, *kmsg.FetchRequestTopicPartition)) *kmsg.FetchRequest {
		req := fetchRequest("t", 0, 0)
		f(req, &req.Topics[0].Partitions[0])
		return req
	}
	for _, tc := range []struct {
		name string
		req  *kmsg.FetchRequest
		want string
	}{
		{"unknown topic", fetchRequest("nobody", 0, 0), "nobody-0=3"},
		{"unknown partition", fetchRequest("t", 0, 7, 0), "t-7=3 t-0:0..3"},
		{"negative partition", fetchRequest("t", 0, -1), "t--1=3"},
		{"led elsewhere", fetchRequest("elsewhere", 0, 0), "elsewhere-0=6"},
		{"at the end", fetchRequest("t", 3, 0), "t-0"},
		{"beyond the end", fetchRequest("t", 4, 0), "t-0=1"},
		{"before the start", fetchRequest("t", -1, 0), "t-0=1"},
		{"within a batch", fetchRequest("t", 1, 0), "t-0:0..3"},
		{"epoch of now", change(func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 1 }), "t-0:0..3"},
		{"older epoch", change(func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 0 }), "t-0=74"},
		{"newer epoch", change(func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 2 }), "t-0=75"},
		{"a replica", change(func(req *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { req.ReplicaID = 9 }), "t-0=31"},
		{"Kafka's debug reader", change(func(req *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { req.ReplicaID = -2 }), "t-0:0..3"},
		{"no partitions", fetchRequest("t", 0), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begin := time.Now()
			wantFetch(t, "fetch", c.fetch(waiting(tc.req, 0)), tc.want)
			if tc.want != "t-0" { // whatever has an answer does not wait
				wantFetch(t, "waiting fetch", c.fetch(waiting(tc.req, time.Minute)), tc.want)
			}
			if time.Since(begin) > 30*time.Second {
				t.Error("an error waited for data")
			}
		})
	}
	t.Run("isolation level", func(t *testing.T) {
		req := fetchRequest("t", 0, 0)
		req.IsolationLevel = 2
		if resp := c.fetch(req); resp.ErrorCode == 0 {
			t.Error("an isolation level that does not exist is served")
		}
	})
	t.Run("unknown topic id", func(t *testing.T) {
		req := fetchRequest("", 0, 0)
		req.Version, req.Topics[0].TopicID = 13, ids.NewUUID()
		wantFetch(t, "fetch", c.fetch(req), "-0=100")
	})
	t.Run("below a log start that moved", func(t *testing.T) {
		if _, err := b.partition("t", 0).DeleteRecords(2); err != nil {
			t.Fatal(err)
		}
		wantFetch(t, "fetch", c.fetch(fetchRequest("t", 1, 0)), "t-0=1")
		resp := c.fetch(fetchRequest("t", 2, 0))
		wantFetch(t, "fetch", resp, "t-0:2..3")
		if got := firstPartition(t, resp).LogStartOffset; got != 2 {
			t.Errorf("log start offset %d", got)
		}
	})
}

// TestFetchDiverging: a reader whose last epoch ended here before its offset hears where (KIP-595).
func TestFetchDiverging(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.create("t", 1)
	c := b.dial()
	defer c.close()
	c.produce("t", values("a", "b")) // epoch 0: 0..2
	b.newEpoch(id, 0)
	b.newEpoch(id, 0)
	c.produce("t", values("c")) // epoch 2: 2..3
	for _, tc := range []struct {
		name      string
		from      int64
		epoch     int32
		diverging bool
		wantEpoch int32
		wantEnd   int64
	}{
		{"same log", 3, 2, false, 0, 0},
		{"same log, an earlier epoch", 2, 0, false, 0, 0},
		{"an earlier epoch ended before", 3, 0, true, 0, 2},
		{"an epoch that is not here", 3, 1, true, 0, 2},
		{"no epoch", 3, -1, false, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := fetchRequest("t", tc.from, 0)
			req.Topics[0].Partitions[0].LastFetchedEpoch = tc.epoch
			p := firstPartition(t, c.fetch(req))
			if p.ErrorCode != 0 {
				t.Fatalf("error %d", p.ErrorCode)
			}
			d := p.DivergingEpoch
			if diverging := d.EndOffset >= 0; diverging != tc.diverging || tc.diverging && (d.Epoch != tc.wantEpoch || d.EndOffset != tc.wantEnd) {
				t.Errorf("%+v, want %v epoch %d end %d", d, tc.diverging, tc.wantEpoch, tc.wantEnd)
			}
			if tc.diverging && len(p.RecordBatches) > 0 {
				t.Error("records of a log that is another")
			}
		})
	}
}

// TestFetchLimits: bounds hold, but for the first batch of an answer (KIP-74).
func TestFetchLimits(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 3)
	c := b.dial()
	defer c.close()
	payload := strings.Repeat("x", 1000)
	size := values(payload).SizeBytes()
	for number := range int32(3) {
		for range 4 {
			req := produceRequest(9, -1, "t", values(payload))
			req.Topics[0].Partitions[0].Partition = number
			ask[*kmsg.ProduceResponse](c, req)
		}
	}
	for _, tc := range []struct {
		name         string
		max, perPart int
		isolation    int8
		want         string
	}{
		{"room for all", 1 << 20, 1 << 20, 0, "t-0:0..4 t-1:0..4 t-2:0..4"},
		{"partition bound", 1 << 20, 2*size + 1, 0, "t-0:0..2 t-1:0..2 t-2:0..2"},
		{"request bound", 5*size + 1, 1 << 20, 0, "t-0:0..4 t-1:0..1 t-2"},
		{"first batch over both", 10, 10, 0, "t-0:0..1 t-1 t-2"},
		{"first batch over the partition's", 1 << 20, 10, 0, "t-0:0..1 t-1 t-2"},
		{"nothing wanted", 0, 0, 0, "t-0:0..1 t-1 t-2"},
		{"committed alone", 1 << 20, 1 << 20, 1, "t-0:0..4 t-1:0..4 t-2:0..4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := fetchRequest("t", 0, 0, 1, 2)
			req.MaxBytes, req.IsolationLevel = int32(tc.max), tc.isolation
			for i := range req.Topics[0].Partitions {
				req.Topics[0].Partitions[i].PartitionMaxBytes = int32(tc.perPart)
			}
			wantFetch(t, "fetch", c.fetch(req), tc.want)
		})
	}
	t.Run("order of the request", func(t *testing.T) {
		req := fetchRequest("t", 0, 2, 0, 1)
		req.MaxBytes = int32(4 * size)
		wantFetch(t, "fetch", c.fetch(req), "t-2:0..4 t-0 t-1")
	})
}

// TestFetchWaits: a fetch is answered as soon as there is enough, or at its deadline, in
// the time of the bubble.
func TestFetchWaits(t *testing.T) {
	size := values("x").SizeBytes()
	for _, tc := range []struct {
		name     string
		minBytes int
		appends  int // one a second
		want     string
		after    time.Duration
	}{
		{"nothing comes", 1, 0, "t-0 t-1", 10 * time.Second},
		{"one append wakes", 1, 1, "t-0 t-1:0..1", time.Second},
		{"three are needed", 3 * size, 5, "t-0 t-1:0..3", 3 * time.Second},
		{"too few come", 100 * size, 3, "t-0 t-1:0..3", 10 * time.Second},
		{"no minimum", 0, 1, "t-0 t-1", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBroker(t)
				defer b.stop()
				b.create("t", 2)
				c, producer := b.dial(), b.dial()
				defer c.close()
				defer producer.close()
				req := waiting(fetchRequest("t", 0, 0, 1), 10*time.Second)
				req.MinBytes = int32(tc.minBytes)
				begin := time.Now()
				c.send(req)
				go func() {
					for range tc.appends {
						time.Sleep(time.Second)
						put := produceRequest(9, -1, "t", values("x"))
						put.Topics[0].Partitions[0].Partition = 1
						ask[*kmsg.ProduceResponse](producer, put)
					}
				}()
				wantFetch(t, "fetch", answer[*kmsg.FetchResponse](c, req), tc.want)
				if took := time.Since(begin); took != tc.after {
					t.Errorf("answered after %s, want %s", took, tc.after)
				}
				time.Sleep(20 * time.Second)
			})
		})
	}
}

// TestFetchWakesFor has what ends a wait but for data.
func TestFetchWakesFor(t *testing.T) {
	for _, tc := range []struct {
		name  string
		event func(b *broker, id ids.TopicID)
		want  string
	}{
		{"deletion", func(b *broker, id ids.TopicID) { b.apply(&metadata.RemoveTopicRecord{TopicID: id}) }, "t-0=3"},
		{"new epoch", func(b *broker, id ids.TopicID) { b.newEpoch(id, 0) }, "t-0=74"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBroker(t)
				defer b.stop()
				id := b.create("t", 1)
				c := b.dial()
				defer c.close()
				req := waiting(fetchRequest("t", 0, 0), time.Hour)
				req.Topics[0].Partitions[0].CurrentLeaderEpoch = 0
				begin := time.Now()
				c.send(req)
				time.Sleep(time.Minute)
				tc.event(b, id)
				wantFetch(t, "fetch", answer[*kmsg.FetchResponse](c, req), tc.want)
				if took := time.Since(begin); took != time.Minute {
					t.Errorf("answered after %s", took)
				}
			})
		})
	}
}

// TestFetchEndsWithTheServer: a stop does not wait for a long poll.
func TestFetchEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t)
		b.create("t", 1)
		c := b.dial()
		defer c.close()
		req := waiting(fetchRequest("t", 0, 0), time.Hour)
		c.send(req)
		synctest.Wait()
		go b.stop()
		wantFetch(t, "fetch", answer[*kmsg.FetchResponse](c, req), "t-0")
		synctest.Wait()
	})
}

// TestFetchReadsWhatIsPromised: records below the high watermark alone are seen, and it
// waits for the sync where acks=all does.
func TestFetchReadsWhatIsPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t)
		defer b.stop()
		b.create("synced", 1)
		b.create("os", 1, "ack.durability", "os")
		c := b.dial()
		defer c.close()
		release := b.stall()
		defer release()
		for _, topic := range []string{"synced", "os"} {
			ask[*kmsg.ProduceResponse](c, produceRequest(9, 1, topic, values("x")))
		}
		wantFetch(t, "unsynced", c.fetch(fetchRequest("synced", 0, 0)), "synced-0")
		wantFetch(t, "os", c.fetch(fetchRequest("os", 0, 0)), "os-0:0..1")
		req := waiting(fetchRequest("synced", 0, 0), time.Hour)
		c.send(req)
		synctest.Wait()
		release()
		wantFetch(t, "synced", answer[*kmsg.FetchResponse](c, req), "synced-0:0..1")
	})
}

// TestFetchCommitted: read_committed ends at the first open transaction, and lists what was aborted.
func TestFetchCommitted(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 1, "ack.durability", "os")
	c := b.dial()
	defer c.close()
	c.produce("t", values("x"))
	// Clients cannot write transactions yet, logs can hold them.
	p := b.partition("t", 0)
	open := record.NewBuilder()
	open.ProducerID, open.ProducerEpoch, open.BaseSequence, open.Transactional = 7, 0, 0, true
	if _, err := p.AppendAsLeader(batch(open, "y"), 1); err != nil {
		t.Fatal(err)
	}
	c.produce("t", values("z"))
	committed := fetchRequest("t", 0, 0)
	committed.IsolationLevel = readCommitted
	resp := c.fetch(committed)
	wantFetch(t, "committed, open transaction", resp, "t-0:0..1")
	if got := firstPartition(t, resp); got.LastStableOffset != 1 || got.HighWatermark != 3 {
		t.Errorf("last stable offset %d, high watermark %d", got.LastStableOffset, got.HighWatermark)
	}
	wantFetch(t, "uncommitted", c.fetch(fetchRequest("t", 0, 0)), "t-0:0..3")
	if _, err := p.AppendAsLeader(record.EndTxnMarker{ProducerID: 7}.Build(time.Now().UnixMilli()), 1); err != nil {
		t.Fatal(err)
	}
	resp = c.fetch(committed)
	wantFetch(t, "committed, aborted transaction", resp, "t-0:0..4")
	if got := firstPartition(t, resp).AbortedTransactions; len(got) != 1 || got[0].ProducerID != 7 || got[0].FirstOffset != 1 {
		t.Errorf("aborted transactions %+v", got)
	}
	if got := firstPartition(t, c.fetch(fetchRequest("t", 0, 0))).AbortedTransactions; got != nil {
		t.Errorf("read_uncommitted hears of aborted transactions %+v", got)
	}
}

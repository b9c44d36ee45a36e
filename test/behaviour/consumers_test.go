package behaviour

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

var consumerScenarios = []scenario{
	{name: "two consumers share the partitions, and each record is read once", run: consumersShare},
	{name: "a consumer that is left takes over from the committed offsets", run: consumerTakesOver},
	{name: "a cooperative consumer keeps what it need not give away", run: cooperative},
	{name: "a consumer of a pattern finds a topic that is made later", run: consumerFindsTopic},
	{name: "a static consumer that comes back causes no rebalance", run: staticConsumer},
}

// A reader is a consumer of a group and what it has read and been assigned.
type reader struct {
	*kgo.Client
	mu       sync.Mutex
	seen     []string // values
	assigned map[string]map[int32]bool
	lost     int // how many partitions it had to give away
}

// reader starts a consumer. It reads until the case ends, or close.
func (b *broker) reader(group string, opts ...kgo.Opt) *reader {
	b.Helper()
	r := &reader{assigned: map[string]map[int32]bool{}}
	r.Client = b.client(append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) { r.change(got, true) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) { r.change(gone, false) }),
	}, opts...)...)
	go func() {
		for {
			fetches := r.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			r.mu.Lock()
			fetches.EachRecord(func(rec *kgo.Record) { r.seen = append(r.seen, string(rec.Value)) })
			r.mu.Unlock()
		}
	}()
	return r
}

func (r *reader) change(topics map[string][]int32, has bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, partitions := range topics {
		if r.assigned[topic] == nil {
			r.assigned[topic] = map[int32]bool{}
		}
		for _, p := range partitions {
			r.assigned[topic][p] = has
			if !has {
				r.lost++
			}
		}
	}
}

// has returns how many partitions of a topic the consumer has.
func (r *reader) has(topic string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, has := range r.assigned[topic] {
		if has {
			n++
		}
	}
	return n
}

// values is a copy of what was read.
func (r *reader) values() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

// spread writes n records to the partitions of a topic in turn, with values that count from first.
func (b *broker) spread(topic string, partitions, first, n int) {
	b.Helper()
	batches := make([]batch, partitions)
	for i := range n {
		p := i % partitions
		batches[p].records = append(batches[p].records, rec(fmt.Sprintf("k=%d", first+i)))
	}
	for _, p := range b.produce(topic, batches...) {
		b.is("writing", p.ErrorCode, nil)
	}
}

// counts fails the case unless the values are those from 0 to n-1, each once.
func (b *broker) counts(n int, values []string) {
	b.Helper()
	seen := map[string]int{}
	for _, v := range values {
		seen[v]++
	}
	for i := range n {
		if seen[fmt.Sprint(i)] != 1 {
			b.Fatalf("record %d was read %d times", i, seen[fmt.Sprint(i)])
		}
	}
	same(b, "records", len(values), n)
}

func consumersShare(b *broker) {
	topic, group := b.topic(4), b.newGroup()
	one, two := b.reader(group, kgo.ConsumeTopics(topic)), b.reader(group, kgo.ConsumeTopics(topic))
	b.until("each has two partitions", func() bool { return one.has(topic) == 2 && two.has(topic) == 2 })
	b.spread(topic, 4, 0, 400)
	b.until("all is read", func() bool { return len(one.values())+len(two.values()) >= 400 })
	same(b, "records of one", len(one.values()), 200)
	b.counts(400, append(one.values(), two.values()...))
}

func consumerTakesOver(b *broker) {
	topic, group := b.topic(2), b.newGroup()
	b.spread(topic, 2, 0, 100)
	one := b.reader(group, kgo.ConsumeTopics(topic))
	b.until("all is read", func() bool { return len(one.values()) >= 100 })
	b.must("committing", one.CommitUncommittedOffsets(b.context()))
	two := b.reader(group, kgo.ConsumeTopics(topic))
	b.until("they share", func() bool { return one.has(topic) == 1 && two.has(topic) == 1 })
	one.Close()
	b.spread(topic, 2, 100, 100)
	b.until("the other reads on", func() bool { return two.has(topic) == 2 && len(two.values()) >= 100 })
	b.counts(200, append(one.values(), two.values()...))
}

func cooperative(b *broker) {
	topic, group := b.topic(4), b.newGroup()
	how := []kgo.Opt{kgo.ConsumeTopics(topic), kgo.Balancers(kgo.CooperativeStickyBalancer())}
	one := b.reader(group, how...)
	b.until("it has all", func() bool { return one.has(topic) == 4 })
	two := b.reader(group, how...)
	b.until("they share", func() bool { return one.has(topic) == 2 && two.has(topic) == 2 })
	one.mu.Lock()
	same(b, "partitions that the first gave away", one.lost, 2)
	one.mu.Unlock()
	b.spread(topic, 4, 0, 100)
	b.until("all is read", func() bool { return len(one.values())+len(two.values()) >= 100 })
	b.counts(100, append(one.values(), two.values()...))
}

func consumerFindsTopic(b *broker) {
	prefix, group := b.name(), b.newGroup()
	b.createTopic(prefix+"-1", 1)
	one := b.reader(group, kgo.ConsumeRegex(), kgo.ConsumeTopics("^"+prefix+"-.*"), kgo.MetadataMaxAge(refresh), kgo.MetadataMinAge(refresh))
	b.until("it has the first", func() bool { return one.has(prefix+"-1") == 1 })
	b.createTopic(prefix+"-2", 2)
	b.append(prefix+"-2", recs("k=0"))
	b.until("it has the second", func() bool { return one.has(prefix+"-2") == 2 && len(one.values()) == 1 })
}

func staticConsumer(b *broker) {
	topic, group := b.topic(4), b.newGroup()
	how := func(instance string) []kgo.Opt {
		return []kgo.Opt{kgo.ConsumeTopics(topic), kgo.InstanceID(instance)}
	}
	one, two := b.reader(group, how("one")...), b.reader(group, how("two")...)
	b.until("they share", func() bool { return one.has(topic) == 2 && two.has(topic) == 2 })
	two.Close() // it does not leave: it is static
	same(b, "members", len(b.describeGroup(group).Members), 2)
	one.mu.Lock()
	lost := one.lost
	one.mu.Unlock()
	back := b.reader(group, how("two")...)
	b.until("it is back", func() bool { return back.has(topic) == 2 })
	b.spread(topic, 4, 0, 100)
	b.until("all is read", func() bool { return len(one.values())+len(back.values()) >= 100 })
	one.mu.Lock()
	same(b, "partitions that the other gave away", one.lost, lost)
	one.mu.Unlock()
}

package group

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/ids"
)

// consumerClient is one consumer of the consumer protocol as the property test plays it: what it was told, and what it has.
type consumerClient struct {
	name       string
	instanceID *string
	id         string
	epoch      int32
	topics     []string
	reads      assignment // it may read these now
	told       assignment // it was told to have these; reads is brought there at its next step
	joined     bool
	says       bool      // its next heartbeat says all that it has
	heard      time.Time // when it was last answered
	waits      runtime.Ticket
	lose       bool // the answer that it waits for is lost
}

// consumerWorld is a group with its clients.
type consumerWorld struct {
	*harness
	t       *rapid.T
	clients []*consumerClient
	asked   map[runtime.Ticket]*consumerClient
	sizes   map[string]int
	runs    int
}

func newConsumerWorld(t *rapid.T) *consumerWorld {
	w := &consumerWorld{harness: newHarness(t), t: t, asked: make(map[runtime.Ticket]*consumerClient), sizes: map[string]int{"a": 4, "b": 3}}
	w.onReply = w.replied
	for i := range 5 {
		c := &consumerClient{name: fmt.Sprint("c", i), topics: []string{"a"}}
		if i >= 3 {
			c.instanceID = kmsg.StringPtr(fmt.Sprint("s", i))
		}
		w.clients = append(w.clients, c)
	}
	w.resize()
	return w
}

// resize publishes the topics as they are.
func (w *consumerWorld) resize() {
	var topics []string
	for _, name := range slices.Sorted(maps.Keys(w.sizes)) {
		topics = append(topics, fmt.Sprintf("%s:%d", name, w.sizes[name]))
	}
	w.image = imageOf(w.t, w.image.Offset+1, topics, nil, nil)
}

func (w *consumerWorld) ask(c *consumerClient, m *kmsg.ConsumerGroupHeartbeatRequest) {
	m.Version, m.Group, m.MemberID, m.InstanceID = 1, "g", c.id, c.instanceID
	next := w.tickets + 1
	w.asked[next], c.waits = c, next
	w.handle(request(m))
}

// beat sends what a client sends next: it joins where it is no member, and else says what it has where that is new.
func (w *consumerWorld) beat(c *consumerClient) {
	m := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	if !c.joined {
		w.runs++
		c.id, c.epoch, c.reads, c.told = fmt.Sprintf("%s-%d", c.name, w.runs), 0, nil, nil
		m.RebalanceTimeoutMillis, m.SubscribedTopicNames = 10_000, c.topics
		m.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		w.ask(c, m)
		return
	}
	m.MemberEpoch = c.epoch
	if !c.reads.equal(c.told) { // gives up first what it is not to have, and reads the rest once that is done
		c.reads, c.says = c.told, true
	}
	if c.says {
		m.RebalanceTimeoutMillis, m.SubscribedTopicNames = 10_000, c.topics
		m.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, t := range c.reads {
			m.Topics = append(m.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.topic, Partitions: t.partitions})
		}
	}
	w.ask(c, m)
}

func (w *consumerWorld) replied(t runtime.Ticket, response any) {
	c := w.asked[t]
	delete(w.asked, t)
	if c == nil || c.waits != t {
		return
	}
	c.waits = 0
	r, _ := response.(*kmsg.ConsumerGroupHeartbeatResponse)
	if c.lose || r == nil { // it says everything again
		c.lose, c.says = false, true
		return
	}
	switch r.ErrorCode {
	case 0:
	case kerr.FencedMemberEpoch.Code, kerr.UnknownMemberID.Code, kerr.GroupIDNotFound.Code, kerr.FencedInstanceID.Code, kerr.UnreleasedInstanceID.Code:
		c.joined, c.reads, c.told = false, nil, nil
		return
	default:
		w.t.Fatalf("%s: %s %s", c.name, codeText(r.ErrorCode), text(r.ErrorMessage))
	}
	c.joined, c.says, c.epoch, c.heard = true, false, r.MemberEpoch, w.now
	if r.Assignment == nil {
		return
	}
	b := newAssignmentBuilder()
	for _, t := range r.Assignment.Topics {
		for _, p := range t.Partitions {
			b.add(ids.TopicID(t.TopicID), p, 0)
		}
	}
	c.told = b.build()
	// A consumer reads on with what it keeps while it gives up the rest; what is new it may read at once.
	c.reads = c.reads.union(without(c.told, c.reads))
}

func without(a, b assignment) assignment {
	_, rest := a.split(func(topic ids.TopicID, p int32) bool { return b.topic(topic).has(p) })
	return rest
}

// alone sees to it that no partition is read by two clients that the group counts as members.
func (w *consumerWorld) alone() {
	w.t.Helper()
	owners := make(map[string]string)
	for _, c := range w.clients {
		if g := w.shard.consumers["g"]; g == nil || g.members[c.id] == nil {
			continue // it was removed, and is told so with its next heartbeat, or is gone
		}
		for _, t := range c.reads {
			for _, p := range t.partitions {
				at := fmt.Sprintf("%s-%d", topicOf(t.topic), p)
				if other, ok := owners[at]; ok {
					w.t.Fatalf("%s is read by %s and %s", at, other, c.id)
				}
				owners[at] = c.id
			}
		}
	}
}

// TestConsumersReadAlone: clients join, leave, stop, lose answers and change what they subscribe to; topics grow and
// go; appends fail and the shard is loaded anew. A partition is never read by two members at once, the state after a
// load is the state before it, and once nothing happens any more everything is read, evenly.
func TestConsumersReadAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newConsumerWorld(t)
		pick := func(t *rapid.T) *consumerClient { return rapid.SampledFrom(w.clients).Draw(t, "client") }
		t.Repeat(map[string]func(*rapid.T){
			"beat": func(t *rapid.T) { w.beat(pick(t)) },
			"lose": func(t *rapid.T) {
				c := pick(t)
				c.lose = true
				w.beat(c)
			},
			"subscribe": func(t *rapid.T) {
				c := pick(t)
				c.topics, c.says = rapid.SampledFrom([][]string{{"a"}, {"b"}, {"a", "b"}}).Draw(t, "topics"), true
			},
			"leave": func(t *rapid.T) {
				c := pick(t)
				if c.joined {
					c.reads, c.told = nil, nil
					m := kmsg.NewPtrConsumerGroupHeartbeatRequest()
					m.MemberEpoch = epochLeave
					if c.instanceID != nil && rapid.Bool().Draw(t, "comes back") {
						m.MemberEpoch = epochLeaveStatic
					}
					w.ask(c, m)
					c.joined = false
				}
			},
			"stop": func(t *rapid.T) { // without a word: it reads nothing, and its session ends
				c := pick(t)
				c.joined, c.reads, c.told = false, nil, nil
			},
			"topics": func(t *rapid.T) {
				name := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "topic")
				if n := w.sizes[name]; n > 0 && rapid.IntRange(0, 3).Draw(t, "goes") == 0 {
					delete(w.sizes, name)
				} else {
					w.sizes[name] = max(n+1, 2)
				}
				w.resize()
			},
			"wait": func(t *rapid.T) {
				w.wait(time.Duration(rapid.IntRange(1, 20_000).Draw(t, "ms"))*time.Millisecond, func() {})
			},
			"fail":   func(*rapid.T) { w.failNext = true },
			"reload": func(*rapid.T) { w.reloadSame() },
			"": func(*rapid.T) {
				w.alone()
				w.readsWhatItHas()
			},
		})
		w.settle()
		w.sizes["a"]++ // a change that no member brings
		w.resize()
		w.settle()
	})
}

// readsWhatItHas: a member that was answered last has no more than the group says it has.
func (w *consumerWorld) readsWhatItHas() {
	g := w.shard.consumers["g"]
	if g == nil {
		return
	}
	for _, c := range w.clients {
		if m := g.members[c.id]; m != nil && c.joined && m.epoch == c.epoch && !m.assigned.union(m.revoking).contains(c.told) {
			w.t.Fatalf("%s was told %s and has %s, gives up %s", c.id, c.told, m.assigned, m.revoking)
		}
	}
}

// reloadSame loads the shard anew and compares.
func (w *consumerWorld) reloadSame() {
	w.t.Helper()
	before := dumpConsumers(w.shard)
	w.reload()
	for _, c := range w.clients {
		if c.waits != 0 {
			c.waits, c.says = 0, true
		}
	}
	if after := dumpConsumers(w.shard); after != before {
		w.t.Fatalf("loaded anew it is\n%s\nand was\n%s", after, before)
	}
}

func dumpConsumers(s *Shard) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(s.consumers)) {
		g := s.consumers[name]
		text += fmt.Sprintf("%s epoch %d hash %d target %d at %d %v topics %v\n", name, g.epoch, g.metadataHash, g.targetEpoch, g.targetMs, g.target, g.topics)
		for _, id := range slices.Sorted(maps.Keys(g.members)) {
			m := g.members[id]
			text += fmt.Sprintf("  %s %s epoch %d before %d state %d has %s gives up %s of %v\n", id, deref(m.instanceID), m.epoch, m.previousEpoch, m.state, m.assigned, m.revoking, m.topics)
		}
	}
	return text
}

// settle has every client go on until all agree, which takes few heartbeats.
func (w *consumerWorld) settle() {
	w.failNext = false
	for range 14 { // sessions of those who stopped end meanwhile
		for _, c := range w.clients {
			c.lose = false
			w.beat(c)
			w.alone()
		}
		w.wait(5*time.Second, func() {})
	}
	want, have := 0, 0
	for name, n := range w.sizes {
		if slices.ContainsFunc(w.clients, func(c *consumerClient) bool { return slices.Contains(c.topics, name) }) {
			want += n
		}
	}
	for _, c := range w.clients {
		have += c.reads.count()
	}
	g := w.shard.consumers["g"]
	if have != want || g.state() != stateStable || len(g.members) != len(w.clients) {
		w.t.Fatalf("%d of %d partitions are read in a group that is %s of %d members:\n%s", have, want, g.state(), len(g.members), dumpConsumers(w.shard))
	}
}

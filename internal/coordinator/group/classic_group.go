package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

// groupState is a state of a classic group; its text is Kafka's.
type groupState string

const (
	stateEmpty               groupState = "Empty"
	statePreparingRebalance  groupState = "PreparingRebalance"  // members are joining
	stateCompletingRebalance groupState = "CompletingRebalance" // a generation waits for its leader's assignment
	stateStable              groupState = "Stable"
	stateDead                groupState = "Dead" // what is said of a group that there is not
)

// consumerProtocolType is the protocol type of consumers, whose metadata the coordinator can read.
const consumerProtocolType = "consumer"

// classicGroup is a group whose members agree on their assignment among themselves (Java: ClassicGroup).
type classicGroup struct {
	name   string
	timers *timers // the shard's
	absent bool    // it was made for one commit and is not stored

	state      groupState
	since      time.Time // when state was entered; zero where it is not known
	generation int32
	typ        string  // the protocol type; "" of a simple group
	protocol   *string // the elected protocol; nil where there is no generation with members
	leader     string  // a member id; "" without members
	topics     topicSet

	members   []*member // in the order in which they came
	byID      map[string]*member
	static    map[string]string // instance id -> member id
	supported map[string]int    // protocol name -> members that support it
	joining   int               // members with a join that waits

	pending     map[string]struct{} // member ids that were given out and have not joined (KIP-394)
	pendingSync map[string]struct{} // member ids that have not synced in this generation
	initial     *initialDelay       // while a group that was empty waits for its first members
}

// initialDelay is where the wait of group.initial.rebalance.delay.ms is (KIP-134).
type initialDelay struct {
	delayMs     int32 // of the timer that runs
	remainingMs int32 // by which it may be extended
	extended    bool  // a member joined since the timer was set
}

// topicSet is what the members of a consumer group subscribe to; nil where it is not known.
type topicSet map[string]struct{}

// member is a member of a classic group.
type member struct {
	id                 string
	instanceID         *string // of a static member (KIP-345)
	clientID           string
	clientHost         string
	rebalanceTimeoutMs int32
	sessionTimeoutMs   int32
	protocols          []kmsg.JoinGroupRequestProtocol // in order of preference
	assignment         []byte
	isNew              bool // it has not been told its id yet, so that it cannot send heartbeats

	join *waiter // nil or the JoinGroup that waits for the rebalance
	sync *waiter // nil or the SyncGroup that waits for the assignment
}

// waiter is a request that will be answered in another event.
type waiter struct {
	ticket  runtime.Ticket
	version int16
}

func sessionKey(group, member string) timerKey {
	return timerKey{kind: sessionTimer, group: group, member: member}
}

func (g *classicGroup) joinKey() timerKey { return timerKey{kind: joinTimer, group: g.name} }

func (g *classicGroup) syncKey() timerKey { return timerKey{kind: syncTimer, group: g.name} }

// metadata returns what the member sent along with a protocol, or nil.
func (m *member) metadata(protocol *string) []byte {
	for i := range m.protocols {
		if protocol != nil && m.protocols[i].Name == *protocol {
			return m.protocols[i].Metadata
		}
	}
	return nil
}

// matches tells whether protocols are what the member has, in the same order.
func (m *member) matches(protocols []kmsg.JoinGroupRequestProtocol) bool {
	return sameProtocols(m.protocols, protocols)
}

func sameProtocols(a, b []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(a, b, func(a, b kmsg.JoinGroupRequestProtocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

func (g *classicGroup) isEmpty() bool { return g.state == stateEmpty }

// emptySince returns when the last member went, where that is known.
func (g *classicGroup) emptySince() (time.Time, bool) {
	return g.since, g.state == stateEmpty && !g.since.IsZero()
}

func (g *classicGroup) protocolType() string { return g.typ }

// isSimple tells whether the group may be nothing but its offsets.
func (g *classicGroup) isSimple() bool { return g.isEmpty() && g.typ == "" }

// subscribed tells whether a member subscribes to a topic, as of the last generation. It is not known but of a
// consumer group whose members sent metadata that can be read.
func (g *classicGroup) subscribed(topic string) (subscribed, known bool) {
	if g.topics == nil {
		return false, false
	}
	_, subscribed = g.topics[topic]
	return subscribed, true
}

func (g *classicGroup) transition(to groupState, now time.Time) { g.state, g.since = to, now }

// refreshSession gives a member its session timeout from now on.
func (g *classicGroup) refreshSession(m *member, now time.Time) {
	g.timers.schedule(sessionKey(g.name, m.id), now, int64(m.sessionTimeoutMs))
}

// checkMember refuses who is not a member, and a static member that another has taken the place of.
func (g *classicGroup) checkMember(memberID string, instanceID *string) error {
	if instanceID != nil {
		current, ok := g.static[*instanceID]
		if !ok {
			return kerr.UnknownMemberID
		}
		if current != memberID {
			return kerr.FencedInstanceID
		}
	}
	if g.byID[memberID] == nil {
		return kerr.UnknownMemberID
	}
	return nil
}

// checkCommit decides whether a member, or with generation -1 anybody while there are no members,
// may commit offsets (Java: ClassicGroup.validateOffsetCommit). A commit counts as a heartbeat.
func (g *classicGroup) checkCommit(memberID string, instanceID *string, generation int32, now time.Time) error {
	switch {
	case g.absent && generation >= 0:
		return kerr.IllegalGeneration
	case g.state == stateEmpty && generation < 0:
		return nil
	case generation < 0 && memberID == "" && instanceID == nil:
		return kerr.UnknownMemberID
	}
	if err := g.checkMember(memberID, instanceID); err != nil {
		return err
	}
	if generation != g.generation {
		return kerr.IllegalGeneration
	}
	if g.state == stateCompletingRebalance {
		return kerr.RebalanceInProgress
	}
	g.refreshSession(g.byID[memberID], now)
	return nil
}

// rebalanceTimeoutMs is the longest of the members'.
func (g *classicGroup) rebalanceTimeoutMs() int32 {
	var longest int32
	for _, m := range g.members {
		longest = max(longest, m.rebalanceTimeoutMs)
	}
	return longest
}

func (g *classicGroup) allJoined() bool {
	return len(g.members) == g.joining && len(g.pending) == 0
}

// add takes in a member; the first one decides on the protocol type and leads.
func (g *classicGroup) add(m *member, protocolType string) {
	if len(g.members) == 0 {
		g.typ = protocolType
	}
	if g.leader == "" {
		g.leader = m.id
	}
	if m.instanceID != nil {
		g.static[*m.instanceID] = m.id
	}
	g.members = append(g.members, m)
	g.byID[m.id] = m
	g.countProtocols(m, 1)
	delete(g.pending, m.id)
}

// drop takes out a member whose requests have been answered. Where it led, the oldest member leads.
func (g *classicGroup) drop(m *member) {
	g.members = slices.DeleteFunc(g.members, func(other *member) bool { return other == m })
	delete(g.byID, m.id)
	g.countProtocols(m, -1)
	if m.instanceID != nil {
		delete(g.static, *m.instanceID)
	}
	delete(g.pendingSync, m.id)
	if g.leader == m.id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
	g.timers.cancel(sessionKey(g.name, m.id))
}

// rename gives a static member the id under which it has come back.
func (g *classicGroup) rename(m *member, id string) {
	g.timers.cancel(sessionKey(g.name, m.id))
	delete(g.byID, m.id)
	if _, ok := g.pendingSync[m.id]; ok {
		delete(g.pendingSync, m.id)
		g.pendingSync[id] = struct{}{}
	}
	if g.leader == m.id {
		g.leader = id
	}
	m.id = id
	g.byID[id] = m
	g.static[*m.instanceID] = id
}

// update takes over what a member says of itself each time it joins.
func (g *classicGroup) update(m *member, j *joinRequest) {
	g.countProtocols(m, -1)
	m.protocols, m.rebalanceTimeoutMs, m.sessionTimeoutMs = j.protocols(), j.rebalanceTimeoutMs, j.SessionTimeoutMillis
	g.countProtocols(m, 1)
}

// setJoin makes w, or with nil nothing, the join of m that waits.
func (g *classicGroup) setJoin(m *member, w *waiter) {
	if m.join != nil {
		g.joining--
	}
	if w != nil {
		g.joining++
	}
	m.join = w
}

// countProtocols counts the protocols of m by, each name once.
func (g *classicGroup) countProtocols(m *member, by int) {
	for i := range m.protocols {
		if name := m.protocols[i].Name; firstOfName(m.protocols, i) {
			if g.supported[name] += by; g.supported[name] == 0 {
				delete(g.supported, name)
			}
		}
	}
}

// firstOfName tells whether no protocol before the one at i has its name.
func firstOfName(protocols []kmsg.JoinGroupRequestProtocol, i int) bool {
	return !slices.ContainsFunc(protocols[:i], func(p kmsg.JoinGroupRequestProtocol) bool { return p.Name == protocols[i].Name })
}

// supports tells whether a member with these protocols fits the group: it has to have one in common
// with all members.
func (g *classicGroup) supports(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if g.state == stateEmpty {
		return protocolType != "" && len(protocols) > 0
	}
	return g.typ == protocolType && slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		return g.supported[p.Name] == len(g.members)
	})
}

// selectProtocol elects a protocol: each member votes for the first of its own that all members
// support. Where votes are equal the one that got them first wins.
func (g *classicGroup) selectProtocol() *string {
	return selectProtocol(g.members, func(name string) bool { return g.supported[name] == len(g.members) })
}

func selectProtocol(members []*member, common func(name string) bool) *string {
	votes := make(map[string]int)
	var elected *string
	for _, m := range members {
		for i := range m.protocols {
			name := m.protocols[i].Name
			if !common(name) {
				continue
			}
			votes[name]++
			if elected == nil || votes[name] > votes[*elected] {
				elected = &name
			}
			break
		}
	}
	return elected
}

// electJoinedLeader makes a member that has joined the leader where the present one has not. It
// tells whether the leader has joined then.
func (g *classicGroup) electJoinedLeader() bool {
	if m := g.byID[g.leader]; m != nil && m.join != nil {
		return true
	}
	for _, m := range g.members {
		if m.join != nil {
			g.leader = m.id
			return true
		}
	}
	return false
}

// nextGeneration begins a generation with the members that there are.
func (g *classicGroup) nextGeneration(now time.Time) {
	g.generation++
	g.initial = nil
	clear(g.pendingSync)
	if len(g.members) == 0 {
		g.protocol = nil
		g.transition(stateEmpty, now)
	} else {
		g.protocol = g.selectProtocol()
		g.transition(stateCompletingRebalance, now)
	}
	g.topics = g.subscribedTopics()
}

// subscribedTopics reads the topics of all members out of their metadata. Every version of it begins
// as version 0 does, so that it is read as that.
func (g *classicGroup) subscribedTopics() topicSet {
	if g.typ != consumerProtocolType {
		return nil
	}
	topics := topicSet{}
	for _, m := range g.members {
		metadata := slices.Clone(m.metadata(g.protocol))
		if len(metadata) < 2 {
			return nil
		}
		metadata[0], metadata[1] = 0, 0
		var subscription kmsg.ConsumerMemberMetadata
		if err := subscription.ReadFrom(metadata); err != nil {
			return nil
		}
		for _, topic := range subscription.Topics {
			topics[topic] = struct{}{}
		}
	}
	return topics
}

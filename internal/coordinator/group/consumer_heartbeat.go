package group

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/ids"
)

// refusal is an error of Kafka with a message for the client.
type refusal struct {
	err     *kerr.Error
	message string
}

func refuse(err *kerr.Error, message string) error { return &refusal{err, message} }

func (r *refusal) Error() string { return r.message }

func (r *refusal) Unwrap() error { return r.err }

// heartbeatVersionOwnIDs is the first version of ConsumerGroupHeartbeat whose members make their own ids (KIP-1082).
const heartbeatVersionOwnIDs = 1

// consumerHeartbeat is a ConsumerGroupHeartbeat that is being decided.
type consumerHeartbeat struct {
	*kmsg.ConsumerGroupHeartbeatRequest
	client *Request
}

// consumerGroupHeartbeat: v0-v1
//
//	v1 regular expressions, and member ids that clients make (KIP-1082)
func (s *Shard) consumerGroupHeartbeat(ev *event, r *Request, m *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	h := &consumerHeartbeat{m, r}
	resp, err := s.beatConsumer(ev, h)
	if err != nil {
		ev.out = runtime.Effects{}
		resp = kmsg.NewPtrConsumerGroupHeartbeatResponse()
		resp.ErrorCode, resp.ErrorMessage = errorCode(err), errorMessage(err)
	}
	resp.Version = m.Version
	return resp
}

// errorMessage returns what a refusal says, nil of other errors.
func errorMessage(err error) *string {
	if r, ok := err.(*refusal); ok {
		return &r.message
	}
	return nil
}

func (s *Shard) beatConsumer(ev *event, h *consumerHeartbeat) (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	if err := s.checkHeartbeat(h); err != nil {
		return nil, err
	}
	if h.MemberEpoch < epochJoin {
		return s.leaveConsumer(ev, h)
	}
	g, c, err := s.enterConsumerGroup(ev, h.Group, h.MemberEpoch == epochJoin)
	if err != nil {
		return nil, err
	}
	before, err := s.enterMember(ev, c, h)
	if err != nil {
		return nil, err
	}
	c.member = h.update(before)
	changed, bump, reason, err := s.changeSubscription(ev, c, before)
	if err != nil {
		return nil, err
	}
	epoch := s.follow(ev, c, bump, reason)
	after := s.reconcile(ev, c, epoch, changed, h.owned())
	cfg := s.groupConfig(h.Group)
	ev.after(func() { s.timers.schedule(sessionKey(g.name, after.id), ev.now, int64(cfg.sessionTimeoutMs)) })
	if c.upgraded != nil {
		s.endClassic(ev, c.upgraded)
	}

	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.MemberID, resp.MemberEpoch, resp.HeartbeatIntervalMillis = &after.id, after.epoch, cfg.heartbeatIntervalMs
	if h.MemberEpoch == epochJoin || h.full() || !before.assigned.equal(after.assigned) {
		resp.Assignment = heartbeatAssignment(after.assigned)
	}
	return resp, nil
}

// full tells whether the request says everything of the member: it does not know what its client missed.
func (h *consumerHeartbeat) full() bool {
	return h.RebalanceTimeoutMillis != -1 && (h.SubscribedTopicNames != nil || h.SubscribedTopicRegex != nil) && h.Topics != nil
}

// checkHeartbeat refuses what no member may say. Java: GroupCoordinatorService.throwIfConsumerGroupHeartbeatRequestIsInvalid.
func (s *Shard) checkHeartbeat(h *consumerHeartbeat) error {
	invalid := func(message string) error { return refuse(kerr.InvalidRequest, message) }
	switch {
	case (h.Version >= heartbeatVersionOwnIDs || h.MemberEpoch > epochJoin || h.MemberEpoch == epochLeave) && blank(h.MemberID):
		return invalid("MemberId can't be empty.")
	case blank(h.Group):
		return invalid("GroupId can't be empty.")
	case h.InstanceID != nil && blank(*h.InstanceID):
		return invalid("InstanceId can't be empty.")
	case h.RackID != nil && blank(*h.RackID):
		return invalid("RackId can't be empty.")
	}
	if err := h.checkEpoch(invalid); err != nil {
		return err
	}
	if known := s.assignors(); h.ServerAssignor != nil && !slices.Contains(known, *h.ServerAssignor) {
		return refuse(kerr.UnsupportedAssignor, fmt.Sprintf("ServerAssignor %s is not supported. Supported assignors: %s.",
			*h.ServerAssignor, strings.Join(known, ", ")))
	}
	if !h.fitsRecord() {
		return invalid("a name is longer than fits a record")
	}
	return nil
}

func (h *consumerHeartbeat) checkEpoch(invalid func(string) error) error {
	joins := h.MemberEpoch == epochJoin
	switch {
	case joins && h.RebalanceTimeoutMillis == -1:
		return invalid("RebalanceTimeoutMs must be provided in first request.")
	case joins && (h.Topics == nil || len(h.Topics) > 0):
		return invalid("TopicPartitions must be empty when (re-)joining.")
	case joins && h.SubscribedTopicNames == nil && h.SubscribedTopicRegex == nil:
		return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case h.MemberEpoch == epochLeaveStatic && h.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	case h.MemberEpoch < epochLeaveStatic:
		return invalid("MemberEpoch is invalid.")
	}
	return nil
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

// fitsRecord tells whether the strings that go into the keys of records have lengths of 16 bits.
func (h *consumerHeartbeat) fitsRecord() bool {
	return len(h.Group) <= math.MaxInt16 && len(h.MemberID) <= math.MaxInt16 && len(deref(h.SubscribedTopicRegex)) <= math.MaxInt16
}

// enterConsumerGroup returns the group, or where somebody joins one that there is not a new one, along with
// a change of it that changes nothing. A classic group becomes a consumer group then.
func (s *Shard) enterConsumerGroup(ev *event, name string, joins bool) (*consumerGroup, *groupChange, error) {
	g, classic := s.consumers[name], s.groups[name]
	c := &groupChange{group: g}
	switch {
	case g != nil:
	case !joins && classic != nil:
		return nil, nil, refuse(kerr.GroupIDNotFound, fmt.Sprintf("Group %s is not a consumer group.", name))
	case !joins:
		return nil, nil, refuse(kerr.GroupIDNotFound, fmt.Sprintf("Consumer group %s not found.", name))
	case classic == nil:
		g = newConsumerGroup(name)
	case classic.isEmpty():
		ev.write(classic.tombstones()...)
		g = newConsumerGroup(name)
	default:
		var err error
		if g, err = s.upgrade(ev, classic); err != nil {
			return nil, nil, err
		}
		c.upgraded = classic
	}
	c.group = g
	return g, c, nil
}

// enterMember returns the member that a heartbeat is of, as it was. It may be new.
func (s *Shard) enterMember(ev *event, c *groupChange, h *consumerHeartbeat) (*consumerMember, error) {
	g, id := c.group, h.MemberID
	if limit := s.cfg().ConsumerMaxSize; len(g.members) >= int(limit) && (id == "" || g.members[id] == nil) {
		return nil, refuse(kerr.GroupMaxSizeReached, fmt.Sprintf("The consumer group has reached its maximum capacity of %d members.", limit))
	}
	if id == "" {
		id = s.newID()
	}
	joins := h.MemberEpoch == epochJoin
	if h.InstanceID != nil {
		return s.enterStatic(ev, c, h, id)
	}
	m := g.members[id]
	switch {
	case m == nil && joins:
		return newConsumerMember(id), nil
	case m == nil:
		return nil, refuse(kerr.UnknownMemberID, fmt.Sprintf("Member %s is not a member of group %s.", id, g.name))
	}
	return m, h.checkMemberEpoch(m)
}

// enterStatic is enterMember of a static member. A new run of it takes the place of one that has said that it will come back.
func (s *Shard) enterStatic(ev *event, c *groupChange, h *consumerHeartbeat, id string) (*consumerMember, error) {
	g := c.group
	have := g.staticMember(h.InstanceID)
	switch {
	case h.MemberEpoch != epochJoin:
		if err := checkInstance(have, id, *h.InstanceID); err != nil {
			return nil, err
		}
		return have, h.checkMemberEpoch(have)
	case have == nil:
		if m := g.members[id]; m != nil {
			return m, nil
		}
		return newConsumerMember(id), nil
	case have.classic == nil && have.epoch != epochLeaveStatic:
		return nil, refuse(kerr.UnreleasedInstanceID, fmt.Sprintf(
			"Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.", id, *h.InstanceID, have.id))
	}
	return c.replace(ev, have, id), nil
}

// replace gives the place of a static member to its next run: a copy in epoch 0 with what the member had.
func (c *groupChange) replace(ev *event, old *consumerMember, id string) *consumerMember {
	g := c.group
	m := *old
	m.id, m.epoch, m.previousEpoch = id, epochJoin, epochJoin
	ev.write(g.memberTombstones(old.id)...)
	ev.write(g.memberRecord(&m), g.targetRecord(id, g.target[old.id]), g.currentRecord(&m))
	if id != old.id {
		c.replaces, c.gone = old.id, map[string]bool{old.id: true}
	}
	return &m
}

// checkInstance refuses who is not the member with an instance id.
func checkInstance(have *consumerMember, id, instanceID string) error {
	switch {
	case have == nil:
		return refuse(kerr.UnknownMemberID, fmt.Sprintf("Instance id %s is unknown.", instanceID))
	case have.id != id:
		return refuse(kerr.FencedInstanceID, fmt.Sprintf("Static member %s with instance id %s was fenced by member %s.", id, instanceID, have.id))
	}
	return nil
}

// checkMemberEpoch refuses a heartbeat of another epoch. That of the one before is let through where the member has
// nothing that it may not have: it may not have received the answer that told of the new one.
func (h *consumerHeartbeat) checkMemberEpoch(m *consumerMember) error {
	fence := func(than string) error {
		return refuse(kerr.FencedMemberEpoch, fmt.Sprintf("The consumer group member has a %s member epoch (%d) than the one known by the group coordinator (%d). "+
			"The member must abandon all its partitions and rejoin.", than, h.MemberEpoch, m.epoch))
	}
	switch owned := h.owned(); {
	case h.MemberEpoch == epochJoin, h.MemberEpoch == m.epoch:
		return nil
	case h.MemberEpoch > m.epoch:
		return fence("greater")
	case h.MemberEpoch != m.previousEpoch || owned == nil || !m.assigned.contains(*owned):
		return fence("smaller")
	}
	return nil
}

// owned returns the partitions that the member says it has; nil where it does not say.
func (h *consumerHeartbeat) owned() *assignment {
	if h.Topics == nil {
		return nil
	}
	b := newAssignmentBuilder()
	for i := range h.Topics {
		for _, p := range h.Topics[i].Partitions {
			b.add(ids.TopicID(h.Topics[i].TopicID), p, 0)
		}
	}
	owned := b.build()
	return &owned
}

// update returns the member with what the heartbeat says of it. What is null has not changed.
func (h *consumerHeartbeat) update(m *consumerMember) *consumerMember {
	next := *m
	next.clientID, next.clientHost, next.classic = h.client.ClientID, h.client.ClientHost, nil
	next.instanceID = cmp.Or(h.InstanceID, m.instanceID)
	next.rackID = cmp.Or(h.RackID, m.rackID)
	next.assignor = cmp.Or(h.ServerAssignor, m.assignor)
	if h.SubscribedTopicRegex != nil {
		next.regex = *h.SubscribedTopicRegex
	}
	if h.RebalanceTimeoutMillis != -1 {
		next.rebalanceTimeoutMs = h.RebalanceTimeoutMillis
	}
	if h.SubscribedTopicNames != nil {
		next.topics = withoutDuplicates(h.SubscribedTopicNames)
	}
	return &next
}

// changeSubscription writes what is new of the changed member, and tells whether it subscribes to other topics
// and whether that asks for another assignment at once: a new expression does when it has been resolved.
func (s *Shard) changeSubscription(ev *event, c *groupChange, before *consumerMember) (changed, bump bool, reason string, err error) {
	g, m := c.group, c.member
	if !m.sameMetadata(before) {
		ev.write(g.memberRecord(m))
	}
	if !slices.Equal(m.topics, before.topics) {
		changed, bump = true, true
		reason = fmt.Sprintf("member %s subscribes to %d topics", m.id, len(m.topics))
	}
	was, now := before.regex, m.regex
	if was != now {
		changed = true
		if was != "" && g.regexes[was] == 1 {
			ev.write(g.record(regexKeyVersion, was, nil))
		}
		switch {
		case now == "", g.resolved[now] != nil:
			bump, reason = true, fmt.Sprintf("member %s subscribes by another regular expression", m.id)
		case g.regexes[now] == 0:
			if _, _, err := compileRegex(now); err != nil {
				return false, false, "", err
			}
		}
	}
	s.refreshRegexes(ev, c)
	return changed, bump, reason, nil
}

// follow writes a new epoch of the group where the change asks for it or topics have changed, and returns the
// epoch that the group has then.
func (s *Shard) follow(ev *event, c *groupChange, bump bool, reason string) int32 {
	g, img := c.group, s.image()
	if !bump && g.seen == img.Offset+1 {
		return g.epoch
	}
	hash := s.metadataHash(c.topicNames())
	ev.after(func() {
		if g := s.consumers[g.name]; g != nil {
			g.seen = img.Offset + 1
		}
	})
	switch {
	case bump:
	case hash != g.metadataHash:
		reason = "topics that members subscribe to have changed"
	default:
		return g.epoch
	}
	s.bump(ev, g, hash, reason)
	return g.epoch + 1
}

// bump writes that the group enters another epoch, which asks for a new target.
func (s *Shard) bump(ev *event, g *consumerGroup, metadataHash int64, reason string) {
	s.logger.Info("a group rebalances", "group", g.name, "epoch", g.epoch+1, "state", g.state(), "reason", reason, "members", len(g.members))
	ev.write(g.epochRecord(g.epoch+1, metadataHash))
}

// reconcile makes a new target where one is due, and takes the changed member a step towards the target.
func (s *Shard) reconcile(ev *event, c *groupChange, epoch int32, changed bool, owned *assignment) *consumerMember {
	g, m := c.group, c.member
	targetEpoch := g.targetEpoch
	target, _ := c.target(m)
	if epoch > g.targetEpoch && g.targetDue(s.groupConfig(g.name).assignmentIntervalMs, ev.now) {
		target, targetEpoch = s.makeTarget(ev, g, c, epoch), epoch
	}
	if !changed && m.reconciled(targetEpoch) {
		return m
	}
	img := s.image()
	r := &reconciliation{
		targetEpoch: targetEpoch, target: target, changed: changed, owned: owned,
		subscribed: func(id ids.TopicID) bool {
			t, ok := img.TopicByID(id)
			return ok && c.subscribes(m, t.Name)
		},
		free: func(id ids.TopicID, p int32) bool { return g.freeFor(c, id, p) },
	}
	after := r.next(m)
	if after == m || after.sameProgress(m) {
		return m
	}
	ev.write(g.currentRecord(after))
	if after.classic == nil {
		ev.after(func() { s.watchRevocation(g.name, after, ev) })
	}
	return after
}

// freeFor tells whether no member will have a partition. One that c.member takes the place of has nothing any more.
func (g *consumerGroup) freeFor(c *groupChange, topic ids.TopicID, partition int32) bool {
	owner, taken := g.owners[topic][partition]
	return !taken || c.replaces != "" && owner == c.replaces
}

// watchRevocation lets a member go that does not give up what it was told to in its rebalance timeout. One that is away
// has nothing to give up.
func (s *Shard) watchRevocation(group string, m *consumerMember, ev *event) {
	if m.state == memberUnrevoked && m.epoch != epochLeaveStatic {
		s.timers.schedule(revocationKey(group, m.id), ev.now, int64(m.rebalanceTimeoutMs))
	} else {
		s.timers.cancel(revocationKey(group, m.id))
	}
}

func heartbeatAssignment(a assignment) *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	out := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
	for _, t := range a {
		topic := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
		topic.TopicID, topic.Partitions = t.topic, t.partitions
		out.Topics = append(out.Topics, topic)
	}
	return &out
}

package main

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// partitions says who reads which partition. Two at once is what must never be.
type partitions struct {
	sync.Mutex
	readers map[int32]string
	total   int
	twice   error
	moves   int
	done    chan struct{} // closed when every partition is read
}

func (p *partitions) take(member string, n int32) {
	p.Lock()
	defer p.Unlock()
	if other, ok := p.readers[n]; ok && p.twice == nil {
		p.twice = fmt.Errorf("partition %d is read by %s and %s", n, other, member)
	}
	p.readers[n] = member
	p.moves++
	if len(p.readers) == p.total && p.done != nil {
		close(p.done)
		p.done = nil
	}
}

func (p *partitions) give(n int32) {
	p.Lock()
	defer p.Unlock()
	delete(p.readers, n)
}

// consumer is a member that does what Java's does: it says what it has when that has changed, at once, and nothing
// at every interval.
type consumer struct {
	id    string
	group string
	all   *partitions
	reads map[int32]bool
	topic [16]byte
	epoch int32
	calls atomic.Int64
}

func (m *consumer) run(c *conn, stop <-chan struct{}) error {
	changed := true
	for {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.MemberEpoch = m.group, m.id, m.epoch
		if m.epoch == 0 {
			req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 60_000, []string{"groups"}
		}
		if changed {
			req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			if len(m.reads) > 0 {
				t := kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: m.topic}
				for n := range maps.Keys(m.reads) {
					t.Partitions = append(t.Partitions, n)
				}
				req.Topics = append(req.Topics, t)
			}
		}
		resp, err := ask[*kmsg.ConsumerGroupHeartbeatResponse](c, 1, req)
		if err != nil {
			return err
		}
		m.calls.Add(1)
		if resp.ErrorCode != 0 {
			return fmt.Errorf("member %s: error %d", m.id, resp.ErrorCode)
		}
		m.epoch = resp.MemberEpoch
		if changed = m.follow(resp); changed {
			continue
		}
		select {
		case <-stop:
			return nil
		case <-time.After(time.Duration(resp.HeartbeatIntervalMillis) * time.Millisecond):
		}
	}
}

// follow gives up and takes, and tells whether anything changed.
func (m *consumer) follow(resp *kmsg.ConsumerGroupHeartbeatResponse) bool {
	if resp.Assignment == nil {
		return false
	}
	now := make(map[int32]bool)
	for _, t := range resp.Assignment.Topics {
		for _, n := range t.Partitions {
			now[n] = true
		}
	}
	changed := false
	for n := range m.reads {
		if !now[n] {
			m.all.give(n)
			changed = true
		}
	}
	for n := range now {
		if !m.reads[n] {
			m.all.take(m.id, n)
			changed = true
		}
	}
	m.reads = now
	return changed
}

// consumers has n members of the consumer protocol join one group, and then ten more.
func consumers() error {
	id, err := makeTopic("groups", *parts)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	all := &partitions{readers: make(map[int32]string), total: *parts, done: done}
	failed := make(chan error, *count+10)
	stop := make(chan struct{})
	defer close(stop)
	var members []*consumer
	start := func(n int) error {
		for range n {
			c, err := dial()
			if err != nil {
				return err
			}
			m := &consumer{id: fmt.Sprintf("member-%04d", len(members)), group: "many-members", all: all, topic: id, reads: map[int32]bool{}}
			members = append(members, m)
			go func() {
				if err := m.run(c, stop); err != nil {
					failed <- err
				}
			}()
		}
		return nil
	}
	at := begin()
	if err := start(*count); err != nil {
		return err
	}
	if err := settled(all, failed); err != nil {
		return err
	}
	if err := at.report(fmt.Sprintf("%d members of the consumer protocol settled, %d partitions", *count, *parts)); err != nil {
		return err
	}
	all.Lock()
	before := all.moves
	all.Unlock()
	at = begin()
	if err := start(10); err != nil {
		return err
	}
	if err := settled(all, failed); err != nil {
		return err
	}
	all.Lock()
	moved := all.moves - before
	all.Unlock()
	if most := 10 * (*parts/(*count) + 1); moved > most {
		return fmt.Errorf("%d partitions moved for ten members, %d are enough", moved, most)
	}
	return at.report(fmt.Sprintf("ten more, for whom %d partitions moved", moved))
}

// settled waits until the group is stable and every partition is read, each by one member.
func settled(all *partitions, failed <-chan error) error {
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.Close()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		select {
		case err := <-failed:
			return err
		case <-time.After(50 * time.Millisecond):
		}
		all.Lock()
		read, twice := len(all.readers), all.twice
		all.Unlock()
		if twice != nil {
			return twice
		}
		if read < all.total {
			continue
		}
		list := kmsg.NewPtrListGroupsRequest()
		list.TypesFilter = []string{"consumer"}
		listed, err := ask[*kmsg.ListGroupsResponse](c, 5, list)
		if err != nil {
			return err
		}
		for i := range listed.Groups {
			if listed.Groups[i].Group == "many-members" && listed.Groups[i].GroupState == "Stable" {
				return nil
			}
		}
	}
	return fmt.Errorf("the group does not settle: %d of %d partitions are read", len(all.readers), all.total)
}

// manyGroups has n groups of one member each.
func manyGroups() error {
	if _, err := makeTopic("groups", *parts); err != nil {
		return err
	}
	const clients = 16
	at := begin()
	failed := make(chan error, clients)
	for i := range clients {
		go func() {
			failed <- func() error {
				c, err := dial()
				if err != nil {
					return err
				}
				defer c.Close()
				for n := i; n < *count; n += clients {
					req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
					req.Group, req.MemberID = fmt.Sprintf("group-%05d", n), fmt.Sprintf("member-%05d", n)
					req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 60_000, []string{"few"}
					req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
					resp, err := ask[*kmsg.ConsumerGroupHeartbeatResponse](c, 1, req)
					if err != nil {
						return err
					}
					if resp.ErrorCode != 0 {
						return fmt.Errorf("group %d: error %d", n, resp.ErrorCode)
					}
				}
				return nil
			}()
		}()
	}
	for range clients {
		if err := <-failed; err != nil {
			return err
		}
	}
	return at.report(fmt.Sprintf("%d groups of a member of the consumer protocol each", *count))
}

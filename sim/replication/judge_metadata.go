package replication

import (
	"bytes"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
)

// heartbeat looks at what a heartbeat is granted. Epochs count as committed: of what is in flight they are not known.
func (j *judge) heartbeat(committed *metadata.Image, req *kmsg.BrokerHeartbeatRequest, resp *kmsg.BrokerHeartbeatResponse, recs []metadata.Record) {
	b, ok := committed.Broker(ids.NodeID(req.BrokerID))
	if resp.ErrorCode == 0 && (!ok || b.Epoch != req.BrokerEpoch) {
		j.fail("a heartbeat of node %d is taken with broker epoch %d, and the broker is %+v", req.BrokerID, req.BrokerEpoch, b)
	}
	for _, rec := range recs {
		if to, ok := rec.(*metadata.BrokerChangeRecord); ok && !to.Fenced && req.CurrentMetadataOffset < b.Epoch {
			j.fail("node %d is unfenced with the metadata of %d, and was registered at %d", req.BrokerID, req.CurrentMetadataOffset, b.Epoch)
		}
	}
}

// altered looks at changes of the ISR that a leader asks for and is granted on what was decided before.
func (j *judge) altered(committed, before *metadata.Image, req *kmsg.AlterPartitionRequest, recs []metadata.Record) {
	granted := map[int32]bool{}
	for _, rec := range recs {
		granted[rec.(*metadata.PartitionChangeRecord).PartitionID] = true
	}
	leader, ok := committed.Broker(ids.NodeID(req.BrokerID))
	if len(recs) > 0 && (!ok || leader.Epoch != req.BrokerEpoch) {
		j.fail("node %d changes the ISR with broker epoch %d, and the broker is %+v", req.BrokerID, req.BrokerEpoch, leader)
	}
	for i := range req.Topics {
		for k := range req.Topics[i].Partitions {
			if asked := &req.Topics[i].Partitions[k]; granted[asked.Partition] {
				j.alteredPartition(committed, before, leader, asked)
			}
		}
	}
}

func (j *judge) alteredPartition(committed, before *metadata.Image, leader *metadata.Broker, asked *kmsg.AlterPartitionRequestTopicPartition) {
	p, _ := before.Partition(ids.TopicPartition{Topic: topicName, Partition: asked.Partition})
	if p.Leader != leader.ID || int32(p.LeaderEpoch) != asked.LeaderEpoch || p.PartitionEpoch != asked.PartitionEpoch {
		j.fail("partition %d: node %d changes the ISR as of epoch %d.%d, and node %d leads as of epoch %d.%d", asked.Partition, leader.ID, asked.LeaderEpoch, asked.PartitionEpoch, p.Leader, p.LeaderEpoch, p.PartitionEpoch)
	}
	for _, m := range asked.NewEpochISR {
		b, ok := before.Broker(ids.NodeID(m.BrokerID))
		known, settled := committed.Broker(ids.NodeID(m.BrokerID))
		if !ok || !settled || !b.Active() || known.Incarnation != b.Incarnation || m.BrokerEpoch != partition.NoBrokerEpoch && m.BrokerEpoch != known.Epoch {
			j.fail("partition %d: node %d of broker epoch %d gets into the ISR, and the broker is %+v", asked.Partition, m.BrokerID, m.BrokerEpoch, b)
		}
	}
}

// caughtUp compares what a controller decided with what has become of it.
func (j *judge) caughtUp(s *seat) {
	if p := s.core.Pending(); p.Offset != s.image.Offset || !bytes.Equal(p.AppendSnapshot(nil), s.image.AppendSnapshot(nil)) {
		j.fail("what seat %d has decided is not what was committed at %d", s.node, s.image.Offset)
	}
}

// looked looks for brokers that have been gone for long and were not fenced.
func (j *judge) looked(s *seat) {
	// A message may be late, and the seat may have stood still, which is not held against brokers.
	since := j.world.now - 6*sessionTimeout - 2*(j.world.lateMax+2*delayMax)
	for b := range s.core.Pending().Brokers() {
		if h := j.world.hosts[b.ID]; !b.Fenced && h.process == nil && h.downAt < since && s.since < since {
			j.fail("node %d is down since %d ms, and seat %d has not fenced it", b.ID, j.world.now-h.downAt, s.node)
		}
	}
}

// decided is told of what one entry has committed.
func (j *judge) decided(before, after *metadata.Image, decisions []decision) {
	img := before
	for i := range decisions {
		for _, rec := range decisions[i].records {
			delta := metadata.NewDelta(img)
			if err := delta.Replay(rec); err != nil {
				return // which was found already
			}
			next := delta.Apply(after.Offset, after.Epoch)
			switch rec := rec.(type) {
			case *metadata.RegisterBrokerRecord:
				j.registered(rec, after)
			case *metadata.PartitionChangeRecord:
				j.changed(int(rec.PartitionID), img, next, decisions[i].unclean)
			}
			img = next
		}
	}
	for b := range before.Brokers() {
		if now, ok := after.Broker(b.ID); ok && (now.Epoch < b.Epoch || (now.Incarnation == b.Incarnation) != (now.Epoch == b.Epoch)) {
			j.fail("broker %+v has become %+v", b, now)
		}
	}
	for p := range j.partitions {
		if now, ok := after.Partition(topicPartition(p)); ok {
			j.sound(p, now, after)
		}
	}
}

// registered is told of a broker that counts from now on.
func (j *judge) registered(rec *metadata.RegisterBrokerRecord, after *metadata.Image) {
	h := j.world.hosts[rec.BrokerID]
	j.world.tracef("controller: registers node %d at %d, after a clean stop: %v", rec.BrokerID, after.Offset, rec.CleanShutdown)
	if h.process == nil || h.incarnation != rec.IncarnationID {
		return
	}
	if h.lost && rec.CleanShutdown {
		j.fail("node %d has lost records, and is registered as if it had not", h.node)
	}
	if h.lost {
		h.lost, h.lostAt = false, int(after.Offset)
	}
}

// changed looks at one change of a partition.
func (j *judge) changed(number int, before, after *metadata.Image, asked bool) {
	tp := topicPartition(number)
	was, _ := before.Partition(tp)
	now, _ := after.Partition(tp)
	j.world.tracef("controller: at %d partition %d has leader %d, epoch %d.%d, in sync %v, eligible %v, last %v", after.Offset, number, now.Leader, now.LeaderEpoch, now.PartitionEpoch, now.ISR, now.ELR, now.LastKnownELR)
	if now.PartitionEpoch <= was.PartitionEpoch || now.LeaderEpoch < was.LeaderEpoch || now.Leader != was.Leader && now.LeaderEpoch == was.LeaderEpoch {
		j.fail("partition %d: leader %d of epoch %d.%d comes after leader %d of epoch %d.%d", number, now.Leader, now.LeaderEpoch, now.PartitionEpoch, was.Leader, was.LeaderEpoch, was.PartitionEpoch)
	}
	eligible := slices.DeleteFunc(slices.Concat(was.ISR, was.ELR), func(node ids.NodeID) bool {
		b, ok := after.Broker(node)
		crashed := ok && b.Epoch == int64(after.Offset) && !b.CleanShutdown
		return crashed || now.Directory(node) != was.Directory(node) // it is with this change that it may have lost records, or has lost all
	})
	if now.LeaderEpoch > was.LeaderEpoch && now.Leader != ids.NoNode && !j.elected(number, was, now, eligible, asked) {
		known := &j.partitions[number]
		known.unclean, known.begun = now.LeaderEpoch, false
		known.lossy++
		return
	}
	// Below min.insync.replicas the high watermark stands still: who leaves has everything, and stays eligible.
	need := min(j.world.rulesAt(after).MinInSyncReplicas, len(now.Replicas))
	for _, node := range eligible {
		if len(now.ISR) < need && !slices.Contains(now.ISR, node) && !slices.Contains(now.ELR, node) {
			j.fail("partition %d: node %d has everything and is not eligible any more: in sync %v, eligible %v, before %v and %v", number, node, now.ISR, now.ELR, was.ISR, was.ELR)
		}
	}
}

// elected looks at an election of somebody, and tells whether it loses nothing that was promised.
func (j *judge) elected(number int, was, now *metadata.Partition, eligible []ids.NodeID, asked bool) (clean bool) {
	again := now.Leader == was.Leader
	switch {
	case !again && slices.Contains(eligible, now.Leader):
		return true
	case again && len(was.ISR) == 1, len(eligible) == 0 && slices.Contains(was.LastKnownELR, now.Leader):
		// It alone may have everything. What it has lost, with no other machine to have it, is not promised, but where all is synced.
		return j.keepsAll(number, now.Leader) || j.world.rules.Durability == partition.DurabilityFsync && !j.world.emptied
	case !asked && !j.world.unclean:
		j.fail("partition %d: node %d is elected in epoch %d, and was neither in sync, %v, nor eligible, %v", number, now.Leader, now.LeaderEpoch, was.ISR, was.ELR)
	}
	return false
}

// keepsAll tells whether a node has all that is known to be committed.
func (j *judge) keepsAll(number int, node ids.NodeID) bool {
	d := j.world.hosts[node].disks[number]
	for o, want := range j.partitions[number].committed {
		if got, ok := d.at(ids.Offset(o)); ids.Offset(o) >= d.start && (!ok || got != want) && want != (recordID{}) {
			return false
		}
	}
	return true
}

// sound looks at what a partition has become.
func (j *judge) sound(number int, p *metadata.Partition, img *metadata.Image) {
	fail := func(rule string) {
		j.fail("partition %d: %s: leader %d, epoch %d.%d, in sync %v, eligible %v, last %v", number, rule, p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.ISR, p.ELR, p.LastKnownELR)
	}
	for _, list := range [][]ids.NodeID{p.ISR, p.ELR, p.LastKnownELR} {
		for i, node := range list {
			if !slices.Contains(p.Replicas, node) || slices.Contains(list[:i], node) {
				fail("a list has others than replicas, or one twice")
			}
		}
	}
	for _, node := range p.ISR {
		if slices.Contains(p.ELR, node) {
			fail("one is in sync and eligible")
		}
		// One that was started again, and held the partition alone, keeps it.
		alone := p.Leader == node && len(p.ISR) == 1 && len(p.ELR) == 0
		if b, ok := img.Broker(node); !alone && (!ok || !b.Active()) {
			fail("one is in sync and not at work")
		}
	}
	need := min(j.world.rulesAt(img).MinInSyncReplicas, len(p.Replicas))
	switch {
	case len(p.ISR) > 0 && !slices.Contains(p.ISR, p.Leader) || len(p.ISR) == 0 && p.Leader != ids.NoNode:
		fail("the leader is not in sync")
	case len(p.ISR) >= need && len(p.ELR) > 0:
		fail("the high watermark moves on, and some are eligible that do not follow")
	case len(p.ISR) > 0 && len(p.LastKnownELR) > 0:
		fail("a last leader is kept for nothing")
	case len(p.ISR) == 0 && slices.ContainsFunc(p.ELR, func(node ids.NodeID) bool { b, ok := img.Broker(node); return ok && b.Active() }):
		fail("nobody leads, and one who is eligible is at work")
	}
}

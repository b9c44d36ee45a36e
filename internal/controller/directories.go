package controller

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// fullDirsTag holds the ids of the directories without room in a heartbeat, which in Kafka has none: there a full disk is a failed one.
const fullDirsTag = 10_001

// SetFullLogDirs has a heartbeat say which directories have no room.
func SetFullLogDirs(req *kmsg.BrokerHeartbeatRequest, dirs []ids.DirectoryID) {
	if len(dirs) == 0 {
		return
	}
	var value []byte
	for _, dir := range dirs {
		value = append(value, dir[:]...)
	}
	req.UnknownTags.Set(fullDirsTag, value)
}

func fullLogDirs(req *kmsg.BrokerHeartbeatRequest) [][16]byte {
	var dirs [][16]byte
	req.UnknownTags.Each(func(tag uint32, value []byte) {
		for ; tag == fullDirsTag && len(value) >= 16; value = value[16:] {
			dirs = append(dirs, [16]byte(value))
		}
	})
	return dirs
}

// heartbeatWhy says for the log why a heartbeat changes leaders or in-sync replicas.
func heartbeatWhy(req *kmsg.BrokerHeartbeatRequest) string {
	why := fmt.Sprintf("broker %d asked", req.BrokerID)
	if len(req.OfflineLogDirs) > 0 {
		why = fmt.Sprintf("broker %d tells that log directories are offline: %v", req.BrokerID, directories(req.OfflineLogDirs))
	}
	if full := fullLogDirs(req); len(full) > 0 {
		why += fmt.Sprintf("; broker %d tells that log directories are full: %v", req.BrokerID, directories(full))
	}
	return why
}

// directoriesTold decides on what a heartbeat of b says of its directories (Java: ReplicationControlManager.handleDirectoriesOffline).
// A directory that has failed stays so until the broker registers anew.
func (c *Core) directoriesTold(b *metadata.Broker, req *kmsg.BrokerHeartbeatRequest) []metadata.Record {
	if !c.pending.KnowsDirectories() {
		return nil
	}
	now := *b
	now.OfflineDirs = among(b.Dirs, req.OfflineLogDirs, b.OfflineDirs)
	now.FullDirs = among(b.Dirs, fullLogDirs(req), nil)
	if c.alone(b) {
		now.FullDirs = b.FullDirs // nobody can take over, and a full disk is not written to for that
	}
	if slices.Equal(now.OfflineDirs, b.OfflineDirs) && slices.Equal(now.FullDirs, b.FullDirs) {
		return nil
	}
	recs := []metadata.Record{&metadata.BrokerChangeRecord{
		BrokerID: b.ID, BrokerEpoch: b.Epoch, Fenced: b.Fenced, InControlledShutdown: b.InControlledShutdown,
		OfflineDirs: now.OfflineDirs, FullDirs: now.FullDirs,
	}}
	for t := range c.pending.Topics() {
		for i := range t.Partitions {
			if p := &t.Partitions[i]; slices.Contains(p.Replicas, b.ID) && (!now.Holds(p) || now.Full(p) && c.roomElsewhere(p, b.ID)) {
				recs = c.withdraw(recs, t, i, b.ID, false)
			}
		}
	}
	return recs
}

// alone tells whether no other broker is registered.
func (c *Core) alone(b *metadata.Broker) bool {
	for other := range c.pending.Brokers() {
		if other.ID != b.ID {
			return false
		}
	}
	return true
}

// among returns those of dirs that are told of or were known before, in the order of dirs; not nil.
func among(dirs []ids.DirectoryID, told [][16]byte, before []ids.DirectoryID) []ids.DirectoryID {
	out := []ids.DirectoryID{}
	for _, dir := range dirs {
		if slices.Contains(told, [16]byte(dir)) || slices.Contains(before, dir) {
			out = append(out, dir)
		}
	}
	return out
}

// roomElsewhere tells whether another replica is in sync that has room to write.
func (c *Core) roomElsewhere(p *metadata.Partition, node ids.NodeID) bool {
	return slices.ContainsFunc(p.ISR, func(id ids.NodeID) bool {
		b, ok := c.pending.Broker(id)
		return ok && id != node && b.Active() && !b.Full(p) && c.pending.Online(b, p)
	})
}

// Relieve decides on replicas in full directories that are in sync: they leave the ISR as soon as one with room is in it, so that a
// partition is written on. Where none has room nothing changes: who is in sync serves what there is.
func (c *Core) Relieve() Decision {
	var recs []metadata.Record
	for b := range c.pending.Brokers() {
		if len(b.FullDirs) == 0 {
			continue
		}
		for t := range c.pending.Topics() {
			for i := range t.Partitions {
				if p := &t.Partitions[i]; slices.Contains(p.ISR, b.ID) && b.Full(p) && c.roomElsewhere(p, b.ID) {
					recs = c.withdraw(recs, t, i, b.ID, false)
				}
			}
		}
		if len(recs) > 0 { // of one broker: each partition changes once in a decision
			return Decision{Why: fmt.Sprintf("the disk of broker %d is full", b.ID), Records: recs}
		}
	}
	return Decision{}
}

// AssignReplicasToDirs decides on version 0: a broker says in which of its directories it has replicas (KIP-858; Java:
// ReplicationControlManager.handleAssignReplicasToDirs). One in metadata.LostDirectory was found damaged: its records are gone,
// and the leader begins a new epoch, so that no fetch from before it counts for the replica that takes its place.
func (c *Core) AssignReplicasToDirs(req *kmsg.AssignReplicasToDirsRequest) (*kmsg.AssignReplicasToDirsResponse, []metadata.Record) {
	if refusal := c.checkBrokerEpoch(ids.NodeID(req.BrokerID), req.BrokerEpoch); refusal != nil {
		return AssignReplicasToDirsRefused(req, refusal), nil
	}
	if !c.pending.KnowsDirectories() {
		return AssignReplicasToDirsRefused(req, refuse(kerr.UnsupportedVersion, "the cluster's %s is %d, directories of replicas are known from %d on",
			metadata.VersionFeature, c.level(), metadata.DirectoriesVersion)), nil
	}
	resp := kmsg.NewPtrAssignReplicasToDirsResponse()
	a := assignment{core: c, node: ids.NodeID(req.BrokerID), decided: make(map[*metadata.Partition]bool)}
	for i := range req.Directories {
		dir := &req.Directories[i]
		out := kmsg.NewAssignReplicasToDirsResponseDirectory()
		out.ID = dir.ID
		for j := range dir.Topics {
			topic := kmsg.NewAssignReplicasToDirsResponseDirectoryTopic()
			topic.TopicID = dir.Topics[j].TopicID
			for _, p := range dir.Topics[j].Partitions {
				answer := kmsg.NewAssignReplicasToDirsResponseDirectoryTopicPartition()
				answer.Partition = p.Partition
				answer.ErrorCode, _ = a.place(topic.TopicID, p.Partition, dir.ID).wire()
				topic.Partitions = append(topic.Partitions, answer)
			}
			out.Topics = append(out.Topics, topic)
		}
		resp.Directories = append(resp.Directories, out)
	}
	return resp, a.recs
}

// assignment is one AssignReplicasToDirs on its way.
type assignment struct {
	core    *Core
	node    ids.NodeID
	recs    []metadata.Record
	decided map[*metadata.Partition]bool // those of recs
}

func (a *assignment) place(id ids.TopicID, number int32, dir ids.DirectoryID) *Refusal {
	t, ok := a.core.pending.TopicByID(id)
	if !ok {
		return refuse(kerr.UnknownTopicID, "no topic has id %s", id)
	}
	if number < 0 || int(number) >= len(t.Partitions) {
		return refuse(kerr.UnknownTopicOrPartition, "topic %q has no partition %d", t.Name, number)
	}
	p := &t.Partitions[number]
	at := slices.Index(p.Replicas, a.node)
	switch {
	case at < 0:
		return refuse(kerr.NotLeaderForPartition, "broker %d has no replica of partition %d of topic %q", a.node, number, t.Name)
	case a.decided[p]:
		return refuse(kerr.InvalidRequest, "partition %d of topic %q is named twice", number, t.Name)
	case p.Directory(a.node) == dir:
		return nil
	}
	a.decided[p] = true
	a.recs = a.core.putInto(t, p, at, dir).appendTo(a.recs, t, int(number))
	return nil
}

// putInto returns the change that has the replica at a place of the list be in dir.
func (c *Core) putInto(t *metadata.Topic, p *metadata.Partition, at int, dir ids.DirectoryID) *partitionChange {
	node := p.Replicas[at]
	ch := c.change(t, p)
	ch.directories = make([]ids.DirectoryID, len(p.Replicas))
	copy(ch.directories, p.Directories)
	ch.directories[at] = dir
	b, ok := c.pending.Broker(node)
	switch {
	case ok && !b.Holds(ch.placed()):
		ch.isr, ch.leaving = without(p.ISR, node), node
		ch.lost = dir == metadata.LostDirectory
		ch.renewed = ch.lost
	case ok && len(p.Replicas) > 1 && !b.Holds(p):
		// The directory that it was in has not come back, so this is a new one, with nothing in it.
		ch.isr, ch.leaving, ch.lost, ch.empty = without(p.ISR, node), node, true, true
	}
	return ch
}

// AssignReplicasToDirsRefused answers a request of which nothing is granted.
func AssignReplicasToDirsRefused(_ *kmsg.AssignReplicasToDirsRequest, refusal *Refusal) *kmsg.AssignReplicasToDirsResponse {
	resp := kmsg.NewPtrAssignReplicasToDirsResponse()
	resp.ErrorCode, _ = refusal.wire()
	return resp
}

// assignWhy says for the log why replicas are placed.
func assignWhy(req *kmsg.AssignReplicasToDirsRequest) string {
	for i := range req.Directories {
		if req.Directories[i].ID == metadata.LostDirectory {
			return fmt.Sprintf("broker %d has found its replica damaged", req.BrokerID)
		}
	}
	return fmt.Sprintf("broker %d tells where its replica is", req.BrokerID)
}

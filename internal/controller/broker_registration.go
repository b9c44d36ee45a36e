package controller

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// BrokerRegistration admits one process of a broker, fenced until a heartbeat says that
// it is ready (Java: ClusterControlManager.registerBroker). A new incarnation gets a new
// broker epoch, the offset of the entry that holds its record; the same incarnation
// again only changes what it tells of itself, once that entry is committed.
//
// A new incarnation leaves every ISR that has others in it. A partition that it leads
// with nobody else in sync or eligible keeps it as its leader, for nobody could take
// over; after an unclean stop it gets a new leader epoch, for batches of the epoch
// before may have been lost with the power, so their offsets must not be given again
// under the same epoch. After a clean stop, clients notice nothing.
//
// Below moldau.version 2 there are no fenced brokers, and there is only one.
func (c *Core) BrokerRegistration(req *kmsg.BrokerRegistrationRequest, now time.Time) ([]metadata.Record, *Refusal) {
	if refusal := c.checkRegistration(req, now); refusal != nil {
		return nil, refusal
	}
	id := ids.NodeID(req.BrokerID)
	rec := registrationRecord(req)
	before, known := c.pending.Broker(id)
	if known && before.Incarnation == rec.IncarnationID {
		c.session(id, now).hear(now, ids.NoOffset)
		if _, ok := c.settled(id); !ok {
			return nil, nil // it is on its way, and gets its epoch: another entry would give it another one
		}
		rec.BrokerEpoch = before.Epoch
		rec.Fenced, rec.CleanShutdown = before.Fenced, before.CleanShutdown
		rec.InControlledShutdown = before.InControlledShutdown
		rec.LogDirs, rec.OfflineDirs, rec.FullDirs = before.Dirs, before.OfflineDirs, before.FullDirs // heartbeats tell of them
		return []metadata.Record{rec}, nil
	}
	c.sessions[id] = &session{heard: now, spoken: true, offset: ids.NoOffset}
	rec.Fenced = c.replicates()
	rec.CleanShutdown = known && c.stoppedCleanly(before, req.PreviousBrokerEpoch, rec.LogDirs)
	return c.restarted(rec), nil
}

func registrationRecord(req *kmsg.BrokerRegistrationRequest) *metadata.RegisterBrokerRecord {
	rec := &metadata.RegisterBrokerRecord{
		BrokerID:      ids.NodeID(req.BrokerID),
		IncarnationID: req.IncarnationID,
		BrokerEpoch:   metadata.EpochOfEntry,
		Rack:          cloneString(req.Rack),
		LogDirs:       directories(req.LogDirs),
	}
	slices.SortFunc(rec.LogDirs, func(x, y ids.DirectoryID) int { return slices.Compare(x[:], y[:]) })
	for i := range req.Listeners {
		l := &req.Listeners[i]
		rec.Endpoints = append(rec.Endpoints, metadata.Endpoint{Listener: l.Name, Host: l.Host, Port: l.Port, Protocol: l.SecurityProtocol})
	}
	return rec
}

func directories(dirs [][16]byte) []ids.DirectoryID {
	out := make([]ids.DirectoryID, len(dirs))
	for i := range dirs {
		out[i] = dirs[i]
	}
	return out
}

// stoppedCleanly tells whether the incarnation before closed its directories, and all of
// them are there again: an empty disk in the place of one has nothing of what was acknowledged.
func (c *Core) stoppedCleanly(before *metadata.Broker, previousEpoch int64, dirs []ids.DirectoryID) bool {
	committed, ok := c.committed.Broker(before.ID)
	return ok && committed.Incarnation == before.Incarnation && committed.Epoch == previousEpoch &&
		hasAll(dirs, before.Dirs)
}

func hasAll(dirs, wanted []ids.DirectoryID) bool {
	return !slices.ContainsFunc(wanted, func(d ids.DirectoryID) bool { return !slices.Contains(dirs, d) })
}

func (c *Core) checkRegistration(req *kmsg.BrokerRegistrationRequest, now time.Time) *Refusal {
	id, incarnation := ids.NodeID(req.BrokerID), ids.UUID(req.IncarnationID)
	if req.ClusterID != "" && req.ClusterID != c.pending.ClusterID() {
		return refuse(kerr.InconsistentClusterID, "broker %d belongs to cluster %s, this is cluster %s: check its log directories and its voters",
			id, req.ClusterID, c.pending.ClusterID())
	}
	if id < 0 || incarnation.IsZero() {
		return refuse(kerr.InvalidRegistration, "broker %d with incarnation %s names itself by neither", id, incarnation)
	}
	if refusal := c.checkDirectories(id, directories(req.LogDirs)); refusal != nil {
		return refusal
	}
	if refusal := c.checkFeatures(req); refusal != nil {
		return refusal
	}
	before, known := c.pending.Broker(id)
	if known && before.Incarnation != incarnation && before.Active() && c.replicates() && c.session(id, now).live(now, c.config.succession(before, req)) {
		return refuse(kerr.DuplicateBrokerRegistration, "another process is at work as broker %d: give this node a node.id of its own, or wait until the other one is fenced", id)
	}
	for other := range c.pending.Brokers() {
		if other.ID != id && !c.replicates() {
			return refuse(kerr.UnsupportedVersion, "broker %d cannot join broker %d: the cluster's %s is %d, several brokers need %d; finalize it first",
				id, other.ID, metadata.VersionFeature, c.level(), metadata.ReplicationVersion)
		}
	}
	return nil
}

// succession is how long a process that counts as being at work has to be silent before another one may take its place. A process locks
// its directories: who has all of them in its hands comes after it. That it is silent at all is still asked for, since the request
// may be a late one of a process before it.
func (c *CoreConfig) succession(before *metadata.Broker, req *kmsg.BrokerRegistrationRequest) time.Duration {
	if !hasAll(directories(req.LogDirs), before.Dirs) {
		return c.SessionTimeout
	}
	return c.SessionTimeout / 3
}

func (c *Core) checkDirectories(id ids.NodeID, dirs []ids.DirectoryID) *Refusal {
	if len(dirs) == 0 {
		return refuse(kerr.InvalidRegistration, "broker %d has no log directory", id)
	}
	for i, dir := range dirs {
		if dir.Reserved() {
			return refuse(kerr.InvalidRegistration, "log directory id %s of broker %d is reserved", dir, id)
		}
		if slices.Contains(dirs[:i], dir) {
			return refuse(kerr.InvalidRegistration, "two log directories of broker %d have the id %s: one is a copy, remove it", id, dir)
		}
	}
	for other := range c.pending.Brokers() {
		if other.ID == id {
			continue
		}
		for _, dir := range dirs {
			if slices.Contains(other.Dirs, dir) {
				return refuse(kerr.InvalidRegistration, "log directory %s of broker %d is broker %d's", dir, id, other.ID)
			}
		}
	}
	return nil
}

// checkFeatures refuses a broker of a release that does not know what the cluster has finalized.
func (c *Core) checkFeatures(req *kmsg.BrokerRegistrationRequest) *Refusal {
	for name, level := range c.pending.Features() {
		supported := slices.ContainsFunc(req.Features, func(f kmsg.BrokerRegistrationRequestFeature) bool {
			return f.Name == name && f.MinSupportedVersion <= level && level <= f.MaxSupportedVersion
		})
		if !supported {
			return refuse(kerr.UnsupportedVersion, "the release of broker %d does not support level %d of feature %s, which the cluster has finalized: start a release that does",
				req.BrokerID, level, name)
		}
	}
	return nil
}

// restarted returns the registration of a new incarnation of a broker and what that means for the partitions.
func (c *Core) restarted(rec *metadata.RegisterBrokerRecord) []metadata.Record {
	recs, node, clean := []metadata.Record{rec}, rec.BrokerID, rec.CleanShutdown
	now := &metadata.Broker{ID: node, Dirs: rec.LogDirs}
	for t := range c.pending.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			switch {
			case !holdsAlone(p, node):
				recs = c.withdraw(recs, t, i, node, !clean)
			case !c.pending.Online(now, p): // its directory has not come back
				recs = c.withdraw(recs, t, i, node, false)
			case !clean:
				recs = append(recs, &metadata.PartitionChangeRecord{TopicID: t.ID, PartitionID: int32(i), Leader: node})
			}
		}
	}
	return recs
}

// holdsAlone tells whether node leads p, and nobody else is in sync or eligible.
func holdsAlone(p *metadata.Partition, node ids.NodeID) bool {
	return p.Leader == node && len(p.ISR) == 1 && p.ISR[0] == node && len(p.ELR) == 0
}

func cloneString(s *string) *string {
	if s == nil {
		return nil
	}
	c := *s
	return &c
}

// refusalTag holds the text of a refusal in the responses between nodes, which in Kafka
// have none.
const refusalTag = 10_000

// BrokerRegistrationRefused answers a request that is not granted.
func BrokerRegistrationRefused(_ *kmsg.BrokerRegistrationRequest, refusal *Refusal) *kmsg.BrokerRegistrationResponse {
	resp := kmsg.NewPtrBrokerRegistrationResponse()
	resp.ErrorCode = refusal.Code.Code
	resp.BrokerEpoch = -1
	resp.UnknownTags.Set(refusalTag, []byte(refusal.Message))
	return resp
}

// RegistrationError returns why a registration was refused, nil where it was not.
func RegistrationError(resp *kmsg.BrokerRegistrationResponse) error {
	if resp.ErrorCode == 0 {
		return nil
	}
	refusal := &Refusal{Code: kerr.TypedErrorForCode(resp.ErrorCode)}
	resp.UnknownTags.Each(func(tag uint32, text []byte) {
		if tag == refusalTag {
			refusal.Message = string(text)
		}
	})
	return refusal
}

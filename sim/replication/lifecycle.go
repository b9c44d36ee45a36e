package replication

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica"
)

const clusterID = "simulated"

// numbered returns an id that no other kind and number has.
func numbered(kind byte, n int) ids.UUID {
	return ids.UUID{0: kind, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}
}

// lifecycle is how a process is a broker: it finds out what is committed, registers, and says that it is there.
type lifecycle struct {
	incarnation ids.UUID
	previous    int64 // the broker epoch up to whose end nothing can be missing; NoBrokerEpoch where something can
	current     bool  // it has heard of all that was committed when it started
	registered  int64 // the epoch that the controller has told; NoBrokerEpoch before
	stopping    bool
	stopBy      int // when it stops though nobody has taken over
}

// live registers, or says that the broker is there.
func (h *host) live() {
	switch {
	case h.stopping && h.world.now > h.stopBy:
		h.stop()
	case h.registered != partition.NoBrokerEpoch:
		h.heartbeat()
		h.assign()
	case h.current:
		h.register()
	}
}

func (h *host) registration() *kmsg.BrokerRegistrationRequest {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.Version, req.BrokerID, req.IncarnationID, req.ClusterID = 4, int32(h.node), h.incarnation, clusterID
	req.LogDirs = [][16]byte{h.dir}
	for _, f := range metadata.SupportedFeatures() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	req.PreviousBrokerEpoch = h.previous
	return req
}

func (h *host) register() {
	req := h.registration()
	h.call(func(s *seat, reply func(func())) {
		s.registerBroker(req, func(epoch int64, refusal *controller.Refusal) {
			reply(func() {
				switch {
				case refusal == nil && h.registered == partition.NoBrokerEpoch:
					h.registered, h.previous = epoch, epoch
				case refusal != nil && refusal.Code != kerr.NotController && refusal.Code != kerr.DuplicateBrokerRegistration:
					h.world.judge.fail("node %d may not register: %w", h.node, refusal)
				}
			})
		})
	})
}

func (h *host) heartbeat() {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version, req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset, req.WantShutdown = 1, int32(h.node), h.registered, int64(h.applied), h.stopping
	h.call(func(s *seat, reply func(func())) {
		s.brokerHeartbeat(req, func(resp *kmsg.BrokerHeartbeatResponse) {
			reply(func() { h.beaten(resp) })
		})
	})
}

// beaten does what the answer to a heartbeat says.
func (h *host) beaten(resp *kmsg.BrokerHeartbeatResponse) {
	switch resp.ErrorCode {
	case kerr.StaleBrokerEpoch.Code, kerr.BrokerIDNotRegistered.Code:
		if b, ok := h.world.quorum.image().Broker(h.node); ok && b.Incarnation == h.incarnation && b.Epoch == h.registered {
			h.world.judge.fail("node %d is told that it is no broker (%v), and it is registered with epoch %d", h.node, kerr.ErrorForCode(resp.ErrorCode), b.Epoch)
		}
		h.kill(false)
	case 0:
		if resp.ShouldShutdown && h.stopping {
			h.stop()
		}
	}
}

// assign tells the controller in which directory the replicas are that it knows elsewhere.
func (h *host) assign() {
	places := make(map[replica.PartitionKey]ids.DirectoryID)
	for number := range h.disks {
		p, ok := h.image().Partition(topicPartition(number))
		if ok && slices.Contains(p.Replicas, h.node) && p.Directory(h.node) != h.dir {
			places[keyOf(number)] = h.dir
		}
	}
	if len(places) == 0 {
		return
	}
	req := replica.AssignRequest(h.node, h.registered, places)
	h.call(func(s *seat, _ func(func())) { s.assignReplicas(req) })
}

// leave has the broker stop in order.
func (h *host) leave() {
	if h.process != nil && !h.stopping {
		h.stopping, h.stopBy = true, h.world.now+stopWithin
		h.world.tracef("node %d is to stop", h.node)
	}
}

// toldGone may have controllers notice that the connections of the process have ended.
func (h *host) toldGone(epoch int64) {
	w := h.world
	for _, s := range w.quorum.seats {
		if w.rng.IntN(2) == 0 {
			w.send(h.node, s.node, func() { s.gone(h.node, epoch) })
		}
	}
}

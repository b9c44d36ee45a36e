package replication

import (
	"slices"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// entry is one of the committed metadata log, at its offset.
type entry struct {
	image *metadata.Image
	delta *metadata.Delta // that made it
}

// quorum is the committed metadata log and who may add to it, a model of what sim/cluster runs for real: one leader in an epoch, entries that
// are committed in order or lost with who proposed them, and leaders that have yet to hear of another one.
type quorum struct {
	world   *world
	log     []entry
	epoch   ids.LeaderEpoch // of the latest election
	leader  *seat           // of that epoch, nil before it has everything that is committed
	leaders map[ids.LeaderEpoch]*seat
	seats   []*seat
}

func newQuorum(w *world, first ids.NodeID, seats int) *quorum {
	q := &quorum{world: w, leaders: map[ids.LeaderEpoch]*seat{}}
	none := metadata.NewDelta(nil)
	q.log = []entry{{none.Apply(0, 0), none}}
	for i := range seats {
		q.seats = append(q.seats, newSeat(w, first+ids.NodeID(i)))
	}
	return q
}

// end is the offset of the last committed entry.
func (q *quorum) end() int { return len(q.log) - 1 }

func (q *quorum) image() *metadata.Image { return q.log[q.end()].image }

// elect has another seat lead, or the same one again. Of what the one before had in flight, the next one has some, which is
// committed; the rest is lost.
func (q *quorum) elect() {
	w, old := q.world, q.leader
	var tail []*proposal
	before := ids.NoLeaderEpoch
	if old != nil {
		before = old.epoch
		tail = slices.Clone(old.inFlight[:w.rng.IntN(len(old.inFlight)+1)])
		w.at(w.rng.IntN(250), func() {
			if old.epoch == before {
				old.lose()
			}
		})
	}
	q.epoch++
	epoch, next := q.epoch, q.seats[w.rng.IntN(len(q.seats))]
	q.leader = nil
	w.at(1+w.rng.IntN(150), func() {
		if q.epoch != epoch {
			return
		}
		for _, p := range tail {
			q.append(before, p)
		}
		q.append(epoch, nil)
		q.leader, q.leaders[epoch] = next, next
		w.tracef("controller: seat %d leads in epoch %d from %d", next.node, epoch, q.end())
		next.lead(epoch)
		for _, h := range w.hosts {
			w.send(next.node, h.node, func() { h.hears(epoch) })
		}
	})
}

// append commits an entry, nil for one without decisions.
func (q *quorum) append(epoch ids.LeaderEpoch, p *proposal) *metadata.Image {
	before := q.image()
	delta := metadata.NewDelta(before)
	if p != nil {
		recs, err := metadata.ReadEnvelope(p.data)
		if err != nil {
			q.world.judge.fail("an entry cannot be read: %w", err)
		}
		for _, rec := range recs {
			if err := delta.Replay(rec); err != nil {
				q.world.judge.fail("an entry cannot be applied: %w", err)
				break
			}
		}
	}
	image := delta.Apply(before.Offset+1, epoch)
	q.log = append(q.log, entry{image, delta})
	if p != nil {
		q.world.judge.decided(before, image, p.decided)
	}
	q.world.committed(q.end())
	return image
}

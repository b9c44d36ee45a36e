package cluster

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// machine is a node's state: the image of the metadata, as a broker has it, and a chain of hashes over
// everything that was applied.
type machine struct {
	node    ids.NodeID
	judge   *judge
	image   *metadata.Image
	chain   uint64
	at      ids.Offset
	leading ids.LeaderEpoch // NoLeaderEpoch while the node does not lead
}

func newMachine(node ids.NodeID, j *judge) *machine {
	return &machine{node: node, judge: j, image: metadata.NewDelta(nil).Apply(0, 0), leading: ids.NoLeaderEpoch}
}

// imageEvery is how many entries lie between two comparisons of whole images.
const imageEvery = 8

// Apply implements quorum.StateMachine.
func (m *machine) Apply(offset ids.Offset, epoch ids.LeaderEpoch, data []byte) error {
	if offset <= m.at {
		m.judge.fail("node %d applies entry %d after entry %d", m.node, offset, m.at)
	}
	recs, err := metadata.ReadEnvelope(data)
	if err != nil {
		return err
	}
	delta := metadata.NewDelta(m.image)
	for _, rec := range recs {
		if err := delta.Replay(rec); err != nil {
			return err
		}
	}
	m.image = delta.Apply(offset, epoch)
	h := fnv.New64a()
	var b [24]byte
	binary.BigEndian.PutUint64(b[:], m.chain)
	binary.BigEndian.PutUint64(b[8:], uint64(offset))
	binary.BigEndian.PutUint64(b[16:], uint64(epoch))
	h.Write(b[:])
	h.Write(data)
	m.chain, m.at = h.Sum64(), offset
	m.show(epoch)
	return nil
}

// show has the judge compare the state with that of others.
func (m *machine) show(epoch ids.LeaderEpoch) {
	d := decision{epoch: epoch, chain: m.chain}
	if m.at%imageEvery == 0 {
		h := fnv.New64a()
		h.Write(m.image.AppendSnapshot(nil))
		d.image = h.Sum64()
	}
	m.judge.applied(m.node, m.at, d)
}

// Restore implements quorum.StateMachine.
func (m *machine) Restore(offset ids.Offset, epoch ids.LeaderEpoch, snapshot []byte) error {
	if len(snapshot) < 16 {
		return fmt.Errorf("a snapshot of %d bytes", len(snapshot))
	}
	at := ids.Offset(binary.BigEndian.Uint64(snapshot[8:]))
	if at < m.at {
		m.judge.fail("node %d goes back from entry %d to a snapshot at %d", m.node, m.at, at)
	}
	m.chain, m.at = binary.BigEndian.Uint64(snapshot), at
	img, err := metadata.ReadSnapshot(snapshot[16:], offset, epoch)
	if err != nil {
		return err
	}
	m.image = img
	if d, found := m.judge.decided[at]; found && d.chain != m.chain {
		m.judge.fail("node %d has a snapshot at %d with chain %x, and chain %x was applied there", m.node, at, m.chain, d.chain)
	}
	return nil
}

// Snapshot implements quorum.StateMachine.
func (m *machine) Snapshot() ([]byte, error) {
	b := binary.BigEndian.AppendUint64(nil, m.chain)
	b = binary.BigEndian.AppendUint64(b, uint64(m.at))
	return m.image.AppendSnapshot(b), nil
}

// LeaderChanged implements quorum.StateMachine.
func (m *machine) LeaderChanged(leading bool, epoch ids.LeaderEpoch) {
	m.leading = ids.NoLeaderEpoch
	if leading {
		m.leading = epoch
		m.judge.leads(m.node, epoch)
	}
}

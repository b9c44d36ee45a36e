package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/raft/v3/confchange"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"github.com/moldau/moldau/internal/ids"
)

// admittedIDs is where the raft ids of members begin that came after the first ones.
const admittedIDs = 1 << 16

// RaftID is the raft id of a voter of the first quorum. Ids are never 0 and never used again.
func RaftID(node ids.NodeID) uint64 { return uint64(node) + 1 }

// admittedID is the raft id of the member that the entry at index admits.
func admittedID(index uint64) uint64 { return admittedIDs + index }

// Peer is a member of the quorum.
type Peer struct {
	Identity
	Endpoint string
}

// Membership is who the quorum consists of, as of an entry. It is changed by entries alone.
type Membership struct {
	ClusterID string            // "" before the first leader has written it, and in a quorum of one
	Peers     map[uint64]Peer   // by raft id: who votes, and who is admitted and does not vote yet
	Conf      *raftpb.ConfState // who votes; replaced, never changed
}

// firstMembership is what a quorum begins with.
func firstMembership(nodes []ids.NodeID) Membership {
	c := new(raftpb.ConfState)
	for _, node := range nodes {
		c.Voters = append(c.Voters, RaftID(node))
	}
	slices.Sort(c.Voters)
	return Membership{Peers: make(map[uint64]Peer), Conf: c}
}

// clone returns a copy that later entries leave alone.
func (m *Membership) clone() Membership {
	return Membership{m.ClusterID, maps.Clone(m.Peers), m.Conf}
}

// founded tells whether the first leader's entry has been applied.
func (m *Membership) founded() bool { return m.ClusterID != "" }

// votes tells whether a raft id counts in elections.
func (m *Membership) votes(id uint64) bool {
	return slices.Contains(m.Conf.GetVoters(), id) || slices.Contains(m.Conf.GetVotersOutgoing(), id)
}

// joint tells whether a change of voters is half done.
func (m *Membership) joint() bool { return len(m.Conf.GetVotersOutgoing()) > 0 }

// voterOf returns the raft id of the voter that a node has, 0 for none.
func (m *Membership) voterOf(node ids.NodeID) uint64 {
	for _, id := range m.Conf.GetVoters() {
		if m.nodeOf(id) == node {
			return id
		}
	}
	return 0
}

// nodeOf returns the node behind a raft id, NoNode where it is not known.
func (m *Membership) nodeOf(id uint64) ids.NodeID {
	if p, ok := m.Peers[id]; ok {
		return p.Node
	}
	if id == 0 || id > admittedIDs {
		return ids.NoNode
	}
	return ids.NodeID(id - 1)
}

// admitted returns the raft id under which an identity was admitted, 0 for none.
func (m *Membership) admitted(who Identity) (newest uint64) {
	for id, p := range m.Peers {
		if id >= admittedIDs && p.Identity == who {
			newest = max(newest, id)
		}
	}
	return newest
}

// apply takes in a committed entry of the quorum's own.
func (m *Membership) apply(c *Committed) error {
	var err error
	switch c.Kind {
	case kindFounding:
		err = m.found(c.Data)
	case kindAdmission:
		err = m.admit(c.Index, c.Data)
	case kindConfiguration:
		err = m.configure(c.Data)
	}
	if err != nil {
		return fmt.Errorf("entry %d: %w", c.Index, err)
	}
	return nil
}

// found takes the first leader's entry. One that follows changes nothing: a leader that had lost its
// term may have left it.
func (m *Membership) found(data []byte) error {
	clusterID, peers, rest, err := readPeers(data)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow the members", len(rest))
	}
	if err == nil && clusterID == "" {
		err = errors.New("the quorum's first entry names no cluster")
	}
	if err != nil || m.founded() {
		return err
	}
	m.ClusterID, m.Peers = clusterID, peers
	return nil
}

func (m *Membership) admit(index uint64, data []byte) error {
	_, peers, rest, err := readPeers(data)
	if err == nil && (len(peers) != 1 || len(rest) > 0) {
		err = fmt.Errorf("it admits %d members, with %d bytes behind them", len(peers), len(rest))
	}
	if err != nil {
		return err
	}
	for _, p := range peers {
		// Whoever of the node was admitted before and never voted has gone.
		maps.DeleteFunc(m.Peers, func(id uint64, old Peer) bool { return old.Node == p.Node && !m.votes(id) })
		m.Peers[admittedID(index)] = p
	}
	return nil
}

// configure takes a change of raft's configuration, and forgets who votes no more.
func (m *Membership) configure(data []byte) error {
	cc := new(raftpb.ConfChangeV2)
	if err := proto.Unmarshal(data, cc); err != nil {
		return fmt.Errorf("decoding a change of voters: %w", err)
	}
	before := m.Conf
	after, err := changed(before, cc)
	if err != nil {
		return fmt.Errorf("changing voters: %w", err)
	}
	m.Conf = after
	// A later admission of its node may have come in between.
	if len(cc.GetContext()) > 0 {
		_, peers, _, err := readPeers(cc.GetContext())
		if err != nil {
			return fmt.Errorf("changing voters: %w", err)
		}
		maps.Copy(m.Peers, peers)
	}
	for _, id := range append(slices.Clone(before.GetVoters()), before.GetVotersOutgoing()...) {
		if !m.votes(id) {
			delete(m.Peers, id)
		}
	}
	return nil
}

// changed returns the configuration that follows from a change.
func changed(conf *raftpb.ConfState, cc *raftpb.ConfChangeV2) (*raftpb.ConfState, error) {
	tr := tracker.MakeProgressTracker(1, 0)
	changer := confchange.Changer{Tracker: tr, LastIndex: 1}
	cfg, progress, err := confchange.Restore(changer, conf)
	if err != nil {
		return nil, err
	}
	changer.Tracker.Config, changer.Tracker.Progress = cfg, progress
	if cc.LeaveJoint() {
		cfg, _, err = changer.LeaveJoint()
	} else if autoLeave, ok := cc.EnterJoint(); ok {
		cfg, _, err = changer.EnterJoint(autoLeave, cc.Changes...)
	} else {
		cfg, _, err = changer.Simple(cc.Changes...)
	}
	tr.Config = cfg
	return tr.ConfState(), err
}

// replacement is the one change that gives a node's place to the member that was admitted for it. It says again who that is.
func replacement(old, admitted uint64, who Peer) *raftpb.ConfChangeV2 {
	return &raftpb.ConfChangeV2{
		Context:    appendPeers(nil, "", map[uint64]Peer{admitted: who}),
		Transition: raftpb.ConfChangeTransitionJointImplicit.Enum(),
		Changes: []*raftpb.ConfChangeSingle{
			{Type: raftpb.ConfChangeAddNode.Enum(), NodeId: &admitted},
			{Type: raftpb.ConfChangeRemoveNode.Enum(), NodeId: &old},
		},
	}
}

// appendPeers appends a cluster id and members by raft id, which is 0 where the entry's index makes it.
func appendPeers(dst []byte, clusterID string, peers map[uint64]Peer) []byte {
	dst = appendText(dst, clusterID)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(peers)))
	for _, id := range slices.Sorted(maps.Keys(peers)) {
		p := peers[id]
		dst = binary.BigEndian.AppendUint64(dst, id)
		dst = binary.BigEndian.AppendUint32(dst, uint32(p.Node))
		dst = append(dst, p.Directory[:]...)
		dst = appendText(dst, p.Endpoint)
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

var errShort = errors.New("the members end early")

const peerBytes = 8 + 4 + 16 + 2 // and the endpoint

func readPeers(b []byte) (clusterID string, peers map[uint64]Peer, rest []byte, err error) {
	clusterID, b, err = readText(b)
	if err != nil || len(b) < 2 {
		return "", nil, nil, errShort
	}
	count := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if count > len(b)/peerBytes {
		return "", nil, nil, errShort
	}
	peers = make(map[uint64]Peer, count)
	for range count {
		if len(b) < peerBytes {
			return "", nil, nil, errShort
		}
		id := binary.BigEndian.Uint64(b)
		p := Peer{Identity: Identity{ids.NodeID(binary.BigEndian.Uint32(b[8:])), ids.DirectoryID(b[12:28])}}
		if p.Endpoint, b, err = readText(b[28:]); err != nil {
			return "", nil, nil, err
		}
		if _, twice := peers[id]; twice || p.Node < 0 {
			return "", nil, nil, fmt.Errorf("raft id %d of node %d cannot be", id, p.Node)
		}
		peers[id] = p
	}
	return clusterID, peers, b, nil
}

func readText(b []byte) (string, []byte, error) {
	if len(b) < 2 {
		return "", nil, errShort
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return "", nil, errShort
	}
	return string(b[:n]), b[n:], nil
}

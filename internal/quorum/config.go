package quorum

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// DefaultSnapshotBytes is Kafka's metadata.log.max.record.bytes.between.snapshots.
const DefaultSnapshotBytes = 20 << 20

// Config is what a member is told.
type Config struct {
	NodeID ids.NodeID
	Voters []ids.NodeID // of the first quorum, this node among them
	FS     vfs.FS
	Dir    string // the data directory that holds __cluster_metadata-0; somebody else has locked it

	// Of a quorum of several voters.
	DirectoryID ids.DirectoryID // of Dir; durable before anybody hears of it
	ClusterID   string          // what the first leader calls the cluster
	Endpoint    string          // where the other voters reach this node

	// SnapshotBytes is how many bytes of entries are applied before the next snapshot; more
	// where the last snapshot was larger, so that writing snapshots costs no more than writing entries.
	SnapshotBytes int64
	SegmentBytes  int32 // of the log; 0: 32 MiB
	Logger        *slog.Logger
}

// alone tells whether the quorum has this voter and no other.
func (c *Config) alone() bool { return len(c.Voters) == 1 }

func (c *Config) self() Identity { return Identity{c.NodeID, c.DirectoryID} }

// check fills in what was left out.
func (c *Config) check() error {
	switch {
	case len(c.Voters) == 0:
		return errors.New("the metadata quorum has no voters")
	case c.NodeID < 0 || !c.alone() && slices.Max(c.Voters) >= admittedIDs-1:
		return fmt.Errorf("the voters of the metadata quorum are %v, and this is node %d: of several voters each has a node.id of 0 to %d", c.Voters, c.NodeID, admittedIDs-2)
	case !slices.Contains(c.Voters, c.NodeID):
		return fmt.Errorf("the voters of the metadata quorum are %v, and node %d is none of them", c.Voters, c.NodeID)
	case len(slices.Compact(slices.Sorted(slices.Values(c.Voters)))) != len(c.Voters):
		return fmt.Errorf("the voters of the metadata quorum are %v: one is there twice", c.Voters)
	case !c.alone() && (c.DirectoryID.IsZero() || c.ClusterID == ""):
		return fmt.Errorf("node %d of the voters %v was told no directory id or no cluster id", c.NodeID, c.Voters)
	}
	if c.SnapshotBytes <= 0 {
		c.SnapshotBytes = DefaultSnapshotBytes
	}
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = defaultSegmentBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// remedy says what to do with a directory that must not vote.
func (c *Config) remedy() string {
	if c.alone() {
		return "restore the whole metadata directory from one backup"
	}
	return "empty the directory: the node then joins again as a new member"
}

// StateMachine is what the quorum agrees on. Its methods are called by one goroutine, in the
// order of the log; an error from one stops the node.
type StateMachine interface {
	// Apply takes in one committed entry. It may keep data, and must not change it.
	Apply(offset ids.Offset, epoch ids.LeaderEpoch, data []byte) error
	// Restore replaces the state by that of a snapshot: everything up to offset. Opening calls it
	// where there is a snapshot, before anything else; later it is called on a node that fell far behind.
	Restore(offset ids.Offset, epoch ids.LeaderEpoch, snapshot []byte) error
	// Snapshot encodes the state as of the last Apply.
	Snapshot() ([]byte, error)
	// LeaderChanged says that this node leads now, in the given epoch and with everything of earlier
	// epochs applied, or that it does not lead any more.
	LeaderChanged(leading bool, epoch ids.LeaderEpoch)
}

// Status is the quorum as this node knows it. Ends are exclusive.
type Status struct {
	Leader        ids.NodeID // NoNode where none is known
	LeaderAt      string     // where it is reached, HOST:PORT; "" where that is not known
	Epoch         ids.LeaderEpoch
	HighWatermark ids.Offset // what is below is committed
	LogStart      ids.Offset
	LogEnd        ids.Offset
	SnapshotEnd   ids.Offset // of the newest snapshot, 0 without one
}

package quorum

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/moldau/moldau/internal/ids"
)

// queueBytesMax bounds the proposals that wait to be written.
const queueBytesMax = 32 << 20

// Node is this node's member of the metadata quorum.
type Node struct {
	cfg       Config
	transport Transport // nil in a quorum of one voter
	state     StateMachine
	member    *Member // of the goroutine of run, and before Start of Open

	wake    chan struct{} // one token: mu.queue or mu.readers has something
	stop    chan struct{} // closed by Stop
	stopped chan struct{} // closed when run is over
	started bool          // of the goroutine that calls Start and Stop

	// mu is a leaf.
	mu struct {
		sync.Mutex
		queue      [][]byte // proposals of epoch, oldest first
		queueBytes int
		epoch      ids.LeaderEpoch // that this node leads in, NoLeaderEpoch while it does not
		over       bool            // nothing is taken any more
		err        error           // why run is over, nil after Stop
		status     Status
		readable   readable
		moved      chan struct{}         // closed when leader or high watermark of status change; nil while nobody watches
		observers  map[Identity]observed // of a leader
		readers    []chan<- struct{}     // whose read has not been asked for
		curious    []chan<- Description
	}
}

// Open reads what this node knows of the quorum and gives the newest snapshot, if there is one, to the
// state machine. The error wraps ErrDamaged or ErrForeign where the directory is unfit to vote. A quorum
// of one voter needs no transport.
func Open(cfg Config, state StateMachine, transport Transport) (*Node, error) {
	n := &Node{
		cfg: cfg, transport: transport, state: state,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if len(cfg.Voters) > 1 && transport == nil {
		return nil, fmt.Errorf("the metadata quorum has the voters %v, and node %d has no way to reach the others", cfg.Voters, cfg.NodeID)
	}
	member, err := OpenMember(cfg, leaderNoted{state, n}, n.send)
	if err != nil {
		return nil, err
	}
	n.cfg, n.member = member.cfg, member
	n.mu.epoch, n.mu.status, n.mu.readable = ids.NoLeaderEpoch, member.Status(), member.readable()
	return n, nil
}

// Check tells whether Open would find the directory fit to vote, with the same errors. A node that
// never voted is fit. It changes what Open would, a torn tail of the metadata log, and makes nothing.
func Check(cfg Config) error {
	if _, err := cfg.FS.Stat(filepath.Join(cfg.Dir, metadataLog.String())); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	m, err := OpenMember(cfg, nobody{}, nil)
	if err != nil {
		return err
	}
	return m.Close()
}

// nobody is the state machine of a Check.
type nobody struct{ StateMachine }

func (nobody) Restore(ids.Offset, ids.LeaderEpoch, []byte) error { return nil }

// leaderNoted has the node know who leads before the state machine does.
type leaderNoted struct {
	StateMachine
	node *Node
}

// LeaderChanged implements StateMachine.
func (s leaderNoted) LeaderChanged(leading bool, epoch ids.LeaderEpoch) {
	s.node.leaderChanged(leading, epoch)
	s.StateMachine.LeaderChanged(leading, epoch)
}

func (n *Node) send(m Message) { n.transport.Send(m) }

// Start begins to take part. The only voter leads at once.
func (n *Node) Start() {
	n.started = true
	go n.run()
}

// Stop ends taking part and closes the log. It returns when nothing of the node runs any more.
func (n *Node) Stop() {
	select {
	case <-n.stop:
	default:
		close(n.stop)
	}
	if !n.started {
		n.started = true
		n.end(nil)
	}
	<-n.stopped
}

// Done is closed when the node has stopped or failed.
func (n *Node) Done() <-chan struct{} { return n.stopped }

// Err returns why the node has failed; nil while it runs and after Stop.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.err
}

// Status returns what this node knows of the quorum.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.status
}

// Propose offers data as the next entry, on behalf of the leader of epoch. It does not wait: the
// entry is applied by the state machine once it is committed, entries of one epoch in the order
// of their proposals, or not at all if leadership ends. Nobody may change data from now on.
func (n *Node) Propose(epoch ids.LeaderEpoch, data []byte) error {
	if len(data) == 0 || len(data) > entryBytesMax {
		return fmt.Errorf("%w: it has %d bytes of at least 1 and at most %d", ErrTooLarge, len(data), entryBytesMax)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.mu.over:
		return ErrStopped
	case epoch != n.mu.epoch || epoch < 0:
		return ErrNotLeader
	case n.mu.queueBytes+len(data) > queueBytesMax:
		return ErrOverloaded
	}
	n.mu.queue = append(n.mu.queue, data)
	n.mu.queueBytes += len(data)
	n.wakeUp()
	return nil
}

// ReadIndex returns once the state machine has everything that had been decided anywhere when it
// was called: a read of the state is linearizable from then on.
func (n *Node) ReadIndex(ctx context.Context) error {
	done := make(chan struct{})
	n.mu.Lock()
	switch {
	case n.mu.over:
		n.mu.Unlock()
		return ErrStopped
	case len(n.mu.readers) >= readersMax:
		n.mu.Unlock()
		return ErrOverloaded
	}
	n.mu.readers = append(n.mu.readers, done)
	n.wakeUp()
	n.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-n.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) wakeUp() {
	select {
	case n.wake <- struct{}{}:
	default: // there is a token already
	}
}

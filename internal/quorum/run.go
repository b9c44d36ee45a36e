package quorum

import (
	"errors"
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

const (
	// fullRetry is how long a node waits for room on a full disk before it tries again.
	fullRetry = time.Second

	electionTimeout = 500 * time.Millisecond
	tickInterval    = electionTimeout / electionTicks

	receivedAtOnce = 64   // messages between two looks at the disk
	readersMax     = 1000 // reads that wait to be asked for

	// readRetry is how long a read waits before it is asked for again: its messages may be lost.
	readRetry = 2 * heartbeatTicks
)

// reads are those of ReadIndex: one round asks for all that waited when it began.
type reads struct {
	number uint64 // of the round that is under way or was the last
	asked  []chan<- struct{}
	ticks  int // since it was asked for
}

// run is the node's goroutine.
func (n *Node) run() { n.end(n.loop()) }

// end tells everybody that the node is over.
func (n *Node) end(err error) {
	n.mu.Lock()
	n.mu.over, n.mu.epoch = true, ids.NoLeaderEpoch
	n.mu.queue, n.mu.queueBytes, n.mu.readers, n.mu.curious = nil, 0, nil, nil
	s := n.mu.status
	s.Leader = ids.NoNode
	n.setStatusLocked(s)
	n.mu.Unlock()
	err = errors.Join(err, n.member.Close())
	n.mu.Lock()
	n.mu.err = err
	n.mu.Unlock()
	close(n.stopped)
}

// errStopping ends the loop without a failure.
var errStopping = errors.New("stopping")

func (n *Node) loop() error {
	err := n.live()
	if errors.Is(err, errStopping) {
		return nil
	}
	return err
}

func (n *Node) live() error {
	var r reads
	if err := n.work(&r); err != nil { // applies again what had been committed
		return err
	}
	if n.member.cfg.alone() {
		return n.liveAlone(&r)
	}
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-n.wake:
		case <-ticker.C:
			n.member.Tick()
			n.readAgain(&r)
		case msg := <-n.transport.Received():
			if err := n.receive(msg); err != nil {
				return err
			}
		case <-n.stop:
			return errStopping
		}
		if err := n.work(&r); err != nil {
			return err
		}
	}
}

// liveAlone is the life of a sole voter: it needs no clock, and nobody tells it anything.
func (n *Node) liveAlone(r *reads) error {
	if err := n.member.Campaign(); err != nil {
		return err
	}
	for {
		if err := n.work(r); err != nil {
			return err
		}
		select {
		case <-n.wake:
		case <-n.stop:
			return errStopping
		}
	}
}

// receive takes what has come in: one sync serves all of it.
func (n *Node) receive(msg Message) error {
	for range receivedAtOnce {
		if err := n.member.Receive(msg); err != nil {
			return err
		}
		select {
		case msg = <-n.transport.Received():
		default:
			return nil
		}
	}
	return n.member.Receive(msg)
}

// work carries out what is due until there is nothing. What is proposed meanwhile joins what comes next:
// one sync serves all that came while the one before ran.
func (n *Node) work(r *reads) error {
	for {
		select {
		case <-n.stop:
			return errStopping
		default:
		}
		if err := n.takeProposals(); err != nil {
			return err
		}
		n.takeReaders(r)
		worked, err := n.workWithRoom()
		if err != nil {
			return err
		}
		n.noteStatus()
		n.answerReaders(r)
		n.tell()
		if !worked {
			return nil
		}
	}
}

func (n *Node) takeProposals() error {
	n.mu.Lock()
	queue := n.mu.queue
	n.mu.queue, n.mu.queueBytes = nil, 0
	n.mu.Unlock()
	for _, data := range queue {
		// A proposal that comes too late is dropped: LeaderChanged tells.
		if err := n.member.Propose(data); err != nil && !errors.Is(err, ErrNotLeader) {
			return fmt.Errorf("proposing a metadata change: %w", err)
		}
	}
	return nil
}

// takeReaders begins a round of reads if there is none.
func (n *Node) takeReaders(r *reads) {
	if r.asked != nil {
		return
	}
	n.mu.Lock()
	r.asked, n.mu.readers = n.mu.readers, nil
	n.mu.Unlock()
	if r.asked != nil {
		r.number++
		r.ticks = 0
		n.member.ReadIndex(r.number)
	}
}

func (n *Node) readAgain(r *reads) {
	if r.ticks++; r.asked != nil && r.ticks%readRetry == 0 {
		n.member.ReadIndex(r.number)
	}
}

func (n *Node) answerReaders(r *reads) {
	for _, number := range n.member.ReadsDone() {
		if number != r.number || r.asked == nil {
			continue // of a round that was asked for twice
		}
		for _, done := range r.asked {
			close(done)
		}
		r.asked = nil
		n.wakeUp() // others may have come meanwhile
	}
}

func (n *Node) leaderChanged(leading bool, epoch ids.LeaderEpoch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.queue, n.mu.queueBytes = nil, 0 // proposals of another epoch
	n.mu.observers = nil
	s := n.mu.status
	n.mu.epoch, s.Leader, s.LeaderAt = ids.NoLeaderEpoch, ids.NoNode, ""
	if leading && !n.mu.over {
		n.mu.epoch, s.Leader, s.LeaderAt = epoch, n.cfg.NodeID, n.cfg.Endpoint
	}
	n.setStatusLocked(s)
}

// noteStatus publishes what Status and Read return.
func (n *Node) noteStatus() {
	s, r := n.member.Status(), n.member.readable()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.readable = r // before anybody is told
	n.setStatusLocked(s)
}

// workWithRoom repeats what a full disk has refused until there is room again or the node is stopped.
func (n *Node) workWithRoom() (bool, error) {
	worked, err := n.member.Work()
	if !DiskFull(err) {
		return worked, err
	}
	n.cfg.Logger.Error("the disk is full: metadata changes wait until there is room", "error", err)
	for DiskFull(err) {
		select {
		case <-n.stop:
			return true, errStopping
		case <-time.After(fullRetry):
			worked, err = n.member.Work()
		}
	}
	if err == nil {
		n.cfg.Logger.Info("there is room for metadata changes again")
	}
	return worked, err
}

package replica

import (
	"errors"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
)

// Moves is where logs are moved between data directories; *log.Store is.
type Moves interface {
	BeginMove(tp ids.TopicPartition, dir string) (*log.Move, error)
	Interrupted() map[ids.TopicPartition]string
}

// Mover moves replicas between the data directories of this broker while they are used
// (KIP-113). Java: ReplicaAlterLogDirsManager.
//
// Goroutines: one for each directory that something is moved to, while there is work.
type Mover struct {
	table  *Table
	moves  Moves
	logger *slog.Logger

	mu struct {
		sync.Mutex                        // leaf
		waiting    map[string][]*log.Move // by the directory they go to; an entry while its goroutine runs
		stopped    bool
	}
	workers sync.WaitGroup
}

// NewMover returns a mover of the partitions of t.
func NewMover(t *Table, moves Moves, logger *slog.Logger) *Mover {
	m := &Mover{table: t, moves: moves, logger: logger}
	m.mu.waiting = make(map[string][]*log.Move)
	return m
}

// Move begins to move a replica to a data directory; it goes on being used meanwhile. Where it is there already, a
// move elsewhere is called off. Errors: 57 where dir is none of log.dirs, 56 where that or the replica
// is offline, 3 where there is no such partition and 6 where it is not here.
func (m *Mover) Move(tp ids.TopicPartition, dir string) error {
	move, err := m.moves.BeginMove(tp, dir)
	if errors.Is(err, log.ErrUnknownPartition) {
		_, known := m.table.ByName([]byte(tp.Topic), tp.Partition)
		return errors.Join(known, err)
	}
	if err != nil || move == nil {
		return err
	}
	m.logger.Info("moving a replica to another data directory", "partition", tp.String(), "dir", dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.stopped {
		return kerr.KafkaStorageError
	}
	queue, working := m.mu.waiting[dir]
	m.mu.waiting[dir] = append(queue, move)
	if !working {
		m.workers.Go(func() { m.work(dir) })
	}
	return nil
}

// Resume begins again the moves that the last end of the process interrupted. To be called once, when the table has the partitions.
func (m *Mover) Resume() {
	for tp, dir := range m.moves.Interrupted() {
		if err := m.Move(tp, dir); err != nil {
			m.logger.Warn("an interrupted move is given up", "partition", tp.String(), "dir", dir, "cause", err)
		}
	}
}

// Stop ends the moves; the next start begins them again.
func (m *Mover) Stop() {
	m.mu.Lock()
	m.mu.stopped = true
	m.mu.Unlock()
	m.workers.Wait()
}

// work makes the moves to one directory, one after the other.
func (m *Mover) work(dir string) {
	for {
		move, ok := m.next(dir)
		if !ok {
			return
		}
		if err := m.run(move); err != nil {
			m.giveUp(move, dir, err)
		}
	}
}

// giveUp tells of a move that failed, but not of one that was called off or whose partition was deleted.
func (m *Mover) giveUp(move *log.Move, dir string, cause error) {
	move.Cancel()
	tp := move.TopicPartition()
	if _, err := m.table.ByName([]byte(tp.Topic), tp.Partition); err != nil || errors.Is(cause, log.ErrMoveEnded) {
		return
	}
	m.logger.Error("a replica was not moved to another data directory; alter its directory again to try again", "partition", tp.String(), "dir", dir, "cause", cause)
}

func (m *Mover) next(dir string) (move *log.Move, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	queue := m.mu.waiting[dir]
	if len(queue) == 0 || m.mu.stopped {
		delete(m.mu.waiting, dir)
		return nil, false
	}
	m.mu.waiting[dir] = queue[1:]
	return queue[0], true
}

// run copies until little is missing, and has the partition go on in the copy. It returns early when
// the mover stops, or the move is called off.
func (m *Mover) run(move *log.Move) error {
	for caughtUp := false; !caughtUp; {
		if m.isStopped() {
			return nil
		}
		var err error
		if caughtUp, err = move.Copy(); err != nil {
			return err
		}
	}
	if err := move.Sync(); err != nil {
		return err
	}
	p, err := m.table.ByName([]byte(move.TopicPartition().Topic), move.TopicPartition().Partition)
	if err != nil {
		return err
	}
	if err := p.ReplaceLog(move.Switch); err != nil {
		return err
	}
	m.table.Moved(p)
	m.logger.Info("a replica has moved to another data directory", "partition", move.TopicPartition().String(), "dir", p.Log().DataDir())
	return move.Finish()
}

func (m *Mover) isStopped() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.stopped
}

package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// movedFile says, in a partition's directory, that this is the copy to keep where another data
// directory has the partition too. It is there from before the copy has its name until the other has lost its.
const movedFile = "moved"

// moveStepBytes is how much a move copies at a time, unless a batch is larger.
const moveStepBytes = 1 << 20

// ErrMoveEnded says that the partition went away, or that the move was called off.
var ErrMoveEnded = errors.New("the move has ended")

// Move copies a partition's log to another data directory, where it then goes on (KIP-113). It is
// Kafka's future replica: TOPIC-PARTITION.UNIQUE-future until Switch.
//
// What a crash leaves of a copy is thrown away and made again, for which Interrupted tells that
// there was one. Copy, Sync, Switch and Finish are for one goroutine, Cancel is for all.
type Move struct {
	store *Store
	from  *Log
	to    *dataDir

	// resume lets the log be cleaned again: a tombstone that went while the copy had the record
	// below it already would be missing there. Called once, when the move leaves the store.
	resume func()

	// mu is held across each step, so that Cancel returns when nothing of the copy is used any more.
	// Before Store.mu and all locks of both logs.
	mu struct {
		sync.Mutex
		future   *Log
		starts   bool // the copy has its first offset
		switched *Log // what the copy became; nil before
		ended    bool
		buf      []byte
	}
}

// MoveInfo describes a move that has not ended.
type MoveInfo struct {
	TopicPartition ids.TopicPartition
	Dir            string
	SizeBytes      int64
	OffsetLag      int64 // how far the copy is behind
}

// BeginMove makes the directory in dir that a partition's log is to be copied to; dir is as log.dirs
// has it. It returns nil where the log is in dir already. A move that went elsewhere is called off.
func (s *Store) BeginMove(tp ids.TopicPartition, dir string) (*Move, error) {
	to, err := s.onlineDir(dir)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	l, running := s.mu.logs[tp], s.mu.moves[tp]
	s.mu.RUnlock()
	if l == nil {
		return nil, fmt.Errorf("moving %s: %w", tp, ErrUnknownPartition)
	}
	if running != nil && running.to == to {
		return nil, nil
	}
	if running != nil {
		running.Cancel()
	}
	if l.root == to.path {
		return nil, nil
	}
	// A mark of an earlier move has done its duty once nothing of that move can come back.
	if err := errors.Join(s.makeWay(tp), l.clearMoved()); err != nil {
		return nil, fmt.Errorf("moving %s: %w", tp, err)
	}
	m := &Move{store: s, from: l, to: to, resume: l.holdCleaning()}
	m.mu.future = newLog(to.env, to.path, tp, l.id, l.Config())
	m.mu.future.dir = filepath.Join(to.path, asideName(tp, futureSuffix))
	s.mu.Lock()
	if s.mu.closed || s.mu.logs[tp] != l || s.mu.moves[tp] != nil {
		s.mu.Unlock()
		m.resume()
		return nil, fmt.Errorf("moving %s: %w: %w", tp, ErrUnknownPartition, ErrMoveEnded)
	}
	s.mu.moves[tp] = m
	s.mu.Unlock()
	if err := m.mu.future.bear(); err != nil {
		m.Cancel()
		return nil, fmt.Errorf("moving %s: %w", tp, err)
	}
	return m, nil
}

// onlineDir finds a directory of log.dirs: error 57 where there is no such, 56 where it is offline.
func (s *Store) onlineDir(dir string) (*dataDir, error) {
	i := slices.IndexFunc(s.dirs[:len(s.cfg.Dirs)], func(d *dataDir) bool { return samePath(d.path, dir) })
	if i < 0 {
		return nil, fmt.Errorf("%s is none of log.dirs: %w", dir, kerr.LogDirNotFound)
	}
	return s.dirs[i], s.dirs[i].err()
}

// samePath tells whether an absolute path names the directory that the configuration calls configured.
func samePath(configured, asked string) bool {
	abs, err := filepath.Abs(configured)
	return err == nil && abs == asked
}

// clearMoved removes the mark of the move that brought the log here, durably.
func (l *Log) clearMoved() error {
	err := l.env.fs.Remove(filepath.Join(l.dir, movedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = l.env.fs.SyncDir(l.dir)
	}
	if err != nil {
		return l.ioError("forgetting that it was moved", err)
	}
	return nil
}

// bear makes the directory of a log that is still empty, durably.
func (l *Log) bear() error {
	l.mu.Lock()
	err := l.bornLocked()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = l.syncFiles()
	return err
}

// TopicPartition returns whose log is moved.
func (m *Move) TopicPartition() ids.TopicPartition { return m.from.tp }

// Copy copies a piece and tells whether the copy then had all that there was before.
func (m *Move) Copy() (caughtUp bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	end := m.from.EndOffset()
	if err := m.stepLocked(); err != nil {
		return false, fmt.Errorf("copying %s to %s: %w", m.from.tp, m.to.path, err)
	}
	return m.mu.future.EndOffset() >= end, nil
}

// Sync makes durable what has been copied, so that Switch has little left to do.
func (m *Move) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.ended {
		return ErrMoveEnded
	}
	return m.mu.future.Sync()
}

// stepLocked copies what follows the end of the copy, if there is anything.
func (m *Move) stepLocked() error {
	if m.mu.ended {
		return ErrMoveEnded
	}
	from := max(m.from.StartOffset(), m.mu.future.EndOffset())
	if from >= m.from.EndOffset() {
		return m.restartLocked(from)
	}
	s, err := m.from.Read(from, m.from.EndOffset(), moveStepBytes, true)
	if errors.Is(err, kerr.OffsetOutOfRange) && from < m.from.StartOffset() {
		return nil // deleted in this moment
	}
	if err != nil || s.Len() == 0 {
		return err
	}
	m.mu.buf = slices.Grow(m.mu.buf[:0], s.Len())[:s.Len()]
	_, err = s.ReadInto(m.mu.buf)
	s.Release()
	if err != nil && err != io.EOF {
		return err
	}
	// The first batch may reach below the log start, or compaction have left a gap before it.
	if err := m.startLocked(min(from, record.Batch(m.mu.buf).BaseOffset())); err != nil {
		return err
	}
	_, err = m.mu.future.AppendAsFollower(m.mu.buf)
	return err
}

// restartLocked has the copy begin anew at the end of a log in which nothing is left.
func (m *Move) restartLocked(end ids.Offset) error {
	if m.mu.future.EndOffset() >= end {
		return nil
	}
	m.mu.starts = true
	return m.mu.future.TruncateFullyAndStartAt(end)
}

// startLocked gives the copy its first offset, once.
func (m *Move) startLocked(o ids.Offset) error {
	if m.mu.starts {
		return nil
	}
	m.mu.starts = true
	return m.mu.future.TruncateFullyAndStartAt(o)
}

// Switch copies the rest, gives the copy the partition's name and returns it as the partition's log.
// Nobody may append meanwhile, or delete records. The former log is still open, for those who read it,
// and Finish must follow. After an error the log is where it was and the move has ended.
//
// From the change of the name on there is no way back: a copy that is in doubt because its disk fails is
// the partition's log all the same, an offline one, for at the next start it would be the one to keep.
func (m *Move) Switch() (*Log, error) {
	l, err := m.switchOver()
	if err != nil {
		m.Cancel()
		return nil, fmt.Errorf("moving %s to %s: %w", m.from.tp, m.to.path, err)
	}
	return l, nil
}

func (m *Move) switchOver() (*Log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.completeLocked(); err != nil {
		return nil, err
	}
	at := openOptions{
		recoveryPoint: m.mu.future.EndOffset(), logStart: m.from.StartOffset(), highWatermark: m.from.HighWatermark(),
		cleaned: m.from.CleanedOffset(), clean: true,
	}
	if err := m.announceLocked(at); err != nil {
		return nil, err
	}
	l, err := m.renameLocked(at)
	if err != nil {
		return nil, err
	}
	l.StartEpoch(m.from.LatestEpoch())
	l.onDurable = m.from.onDurable
	m.mu.switched = l
	s, tp := m.store, m.from.tp
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.arriving, tp)
	s.mu.logs[tp] = l
	return l, nil
}

// completeLocked leaves the copy whole, closed, durable and marked as the one to keep.
func (m *Move) completeLocked() error {
	for m.mu.ended || m.mu.future.EndOffset() < m.from.EndOffset() {
		if err := m.stepLocked(); err != nil {
			return err
		}
	}
	future := m.mu.future
	f, err := m.to.env.fs.Create(filepath.Join(future.dir, movedFile))
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return m.to.writeFailed(err)
	}
	future.mu.Lock()
	future.mu.namesDirty = true
	future.mu.Unlock()
	return future.closeClean()
}

// announceLocked writes the lines of the checkpoints, which come before the name that they are about.
func (m *Move) announceLocked(at openOptions) error {
	s, tp, d := m.store, m.from.tp, m.to
	s.mu.Lock()
	if s.mu.closed || s.mu.logs[tp] != m.from {
		s.mu.Unlock()
		return ErrMoveEnded
	}
	s.mu.arriving[tp] = leftDir{dir: d, offsets: at}
	s.mu.Unlock()
	return d.writeCheckpoints()
}

// renameLocked gives the copy its name and opens it. An error says that it has not got it.
func (m *Move) renameLocked(at openOptions) (*Log, error) {
	tp, d := m.from.tp, m.to
	err := d.env.fs.Rename(m.mu.future.dir, filepath.Join(d.path, tp.String()))
	if err != nil && exhausted(err) {
		return nil, d.writeFailed(err)
	}
	if err == nil {
		err = d.env.fs.SyncDir(d.path)
	}
	var l *Log
	if err == nil {
		l, err = openLog(d.env, d.path, tp, m.from.id, m.from.Config(), at)
	}
	if err == nil {
		return l, nil
	}
	d.fail(fmt.Errorf("moving %s there: %w", tp, err))
	l = newLog(d.env, d.path, tp, m.from.id, m.from.Config())
	_ = l.fail(d.err()) // returns what it was given
	return l, nil
}

// Finish takes the former log away. A failure is its directory's: the partition has moved.
func (m *Move) Finish() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.finishLocked()
}

func (m *Move) finishLocked() error {
	if m.mu.ended {
		return nil
	}
	m.mu.ended = true
	defer m.forget()
	left := m.from.leave()
	s, tp := m.store, m.from.tp
	former := s.dirOf(m.from)
	if former.err() != nil || m.mu.switched.Err() != nil {
		left()
		return nil // the mark tells at the next start which one to keep
	}
	name, err := former.setAside(tp, deleteSuffix)
	left() // a checkpoint that is being written may wait for the log, and the one below for that
	if err != nil {
		return fmt.Errorf("%s has moved to %s, but its former directory stays: %w", tp, m.to.path, err)
	}
	if name != "" {
		s.housekeeping.removeLater(former, name, tp, m.from.Config().FileDeleteDelayMs)
	}
	if err := former.forgetFormer(tp); err != nil || former.err() != nil {
		return err
	}
	return m.mu.switched.clearMoved()
}

// Cancel ends the move and removes the copy, or does what Finish has to do where it is the partition's log by
// now. It waits for a step.
func (m *Move) Cancel() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.ended {
		return
	}
	if m.mu.switched != nil {
		_ = m.finishLocked() // judged there
		return
	}
	m.mu.ended = true
	m.forget()
	m.mu.future.leave()()
	if m.to.err() == nil {
		m.to.noteStale(m.from.tp)
		m.store.housekeeping.removeLater(m.to, filepath.Base(m.mu.future.dir), m.from.tp, 0)
	}
}

// forget takes the move out of the store.
func (m *Move) forget() {
	m.resume()
	s := m.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.moves[m.from.tp] == m {
		delete(s.mu.moves, m.from.tp)
		delete(s.mu.arriving, m.from.tp)
	}
}

// abandon ends the move as a crash would: the next start makes the copy again.
func (m *Move) abandon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.switched == nil {
		m.mu.ended = true
		m.mu.future.closeAbrupt()
	}
}

// info describes the move; ok is false where the copy is the partition's log by now.
func (m *Move) info() (info MoveInfo, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.ended || m.mu.switched != nil {
		return MoveInfo{}, false
	}
	lag := max(0, m.from.EndOffset()-m.mu.future.EndOffset())
	return MoveInfo{m.from.tp, m.to.path, m.mu.future.SizeBytes(), int64(lag)}, true
}

// Moves describes the moves that are under way, in no order.
func (s *Store) Moves() []MoveInfo {
	var infos []MoveInfo
	for _, m := range s.allMoves() {
		if info, ok := m.info(); ok {
			infos = append(infos, info)
		}
	}
	return infos
}

func (s *Store) allMoves() []*Move {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.mu.moves))
}

func (s *Store) cancelMove(tp ids.TopicPartition) {
	s.mu.RLock()
	m := s.mu.moves[tp]
	s.mu.RUnlock()
	if m != nil {
		m.Cancel()
	}
}

// Interrupted returns to which directories OpenStore found that partitions were being moved. The
// copies are gone.
func (s *Store) Interrupted() map[ids.TopicPartition]string {
	moves := make(map[ids.TopicPartition]string)
	for _, d := range s.dirs {
		path, err := filepath.Abs(d.path)
		if err != nil {
			continue
		}
		for _, tp := range d.interrupted {
			moves[tp] = path
		}
	}
	return moves
}

// dropCopies removes what is left of copies that were being made when the process ended, but for
// one that may be all that there is of its partition.
func (d *dataDir) dropCopies() error {
	for _, name := range d.names {
		if !strings.HasSuffix(name, futureSuffix) {
			continue
		}
		tp := partitionOfDeleted(name)
		if !slices.ContainsFunc(d.store.dirs, func(o *dataDir) bool { return o.err() == nil && o.has(tp.String()) }) {
			d.store.cfg.Logger.Warn("copy of a partition that is in no data directory: left alone", "dir", d.path, "name", name)
			continue
		}
		if err := d.env.fs.RemoveAll(filepath.Join(d.path, name)); err != nil {
			return fmt.Errorf("removing %s: %w", name, err)
		}
		d.interrupted = append(d.interrupted, tp)
	}
	return nil
}

// supersede puts the former log of a move aside.
func (d *dataDir) supersede(tp ids.TopicPartition) error {
	name, err := d.setAside(tp, deleteSuffix)
	if err == nil {
		d.store.housekeeping.removeLater(d, name, tp, d.store.cfg.Config(tp.Topic).FileDeleteDelayMs)
	}
	return err
}

// settle decides which of two directories that hold a partition has the one to keep, where a crash came before
// the former log of a move was renamed. It returns false where they are not marked so.
func settle(a, b *dataDir, name string) (bool, error) {
	aMoved, err := a.isMoved(name)
	if err != nil {
		return false, err
	}
	bMoved, err := b.isMoved(name)
	if err != nil || aMoved == bMoved {
		return false, err
	}
	former := a
	if aMoved {
		former = b
	}
	former.superseded = append(former.superseded, name)
	return true, nil
}

func (d *dataDir) isMoved(name string) (bool, error) {
	_, err := d.env.fs.Stat(filepath.Join(d.path, name, movedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

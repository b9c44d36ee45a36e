package log

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// StoreConfig is what a broker says of its data directories.
type StoreConfig struct {
	FS   vfs.FS
	Dirs []string // log.dirs
	// MetadataDir is metadata.log.dir: locked and checked like the others, but no partition
	// is put there unless it is one of Dirs. "" is the first of Dirs.
	MetadataDir string
	NodeID      ids.NodeID
	ClusterID   string // "": what the directories say, or none until SetClusterID

	OpenFilesMax    int // 0 is 1,000
	RecoveryThreads int // num.recovery.threads.per.data.dir; 0 is one for each processor

	// 0 is Kafka's default; below 0 is never.
	RetentionCheckInterval        time.Duration // log.retention.check.interval.ms
	FlushCheckInterval            time.Duration // log.flush.scheduler.interval.ms; 0 is one second
	RecoveryCheckpointInterval    time.Duration // log.flush.offset.checkpoint.interval.ms
	StartOffsetCheckpointInterval time.Duration // log.flush.start.offset.checkpoint.interval.ms

	Cleaner func() CleanerConfig // asked whenever the cleaner looks for work; nil is Kafka's defaults

	// ReservedBytes is kept free in each directory for the time when the disk is full; 0 for none.
	ReservedBytes int64

	// Check is asked once the directories have turned out to be this node's, before anything in
	// them changes, unless the disk of MetadataDir fails. It gets the id of that directory, zero where that
	// has none yet. Its error refuses them.
	Check func(metadata ids.DirectoryID) error

	Config func(topic string) Config // of a log that is found on disk
	Logger *slog.Logger
	// OnDirFailure is told, on a goroutine of its own, of each directory that goes offline
	// after OpenStore has returned. Dirs tells of those that failed before.
	OnDirFailure func(dir string, id ids.DirectoryID, err error)
	// OnRoom is told when a directory has become full, or has room again. It must not block.
	OnRoom func()
	// OnDamage is told, on a goroutine of its own, of a log that was found damaged after OpenStore has returned: by a read, which
	// takes it offline, or by a cleaning, which does not. Damaged tells of those that were found before.
	OnDamage func(tp ids.TopicPartition, cause error)
}

func (c *StoreConfig) setDefaults() {
	orDefault := func(d *time.Duration, is time.Duration) {
		if *d == 0 {
			*d = is
		}
	}
	orDefault(&c.RetentionCheckInterval, 5*time.Minute)
	orDefault(&c.FlushCheckInterval, time.Second)
	orDefault(&c.RecoveryCheckpointInterval, time.Minute)
	orDefault(&c.StartOffsetCheckpointInterval, time.Minute)
	if c.OpenFilesMax == 0 {
		c.OpenFilesMax = 1000
	}
	if c.RecoveryThreads == 0 {
		c.RecoveryThreads = runtime.GOMAXPROCS(0)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Check == nil {
		c.Check = func(ids.DirectoryID) error { return nil }
	}
	if c.Cleaner == nil {
		c.Cleaner = DefaultCleanerConfig
	}
	if c.Config == nil {
		c.Config = func(string) Config { return DefaultConfig() }
	}
	if c.MetadataDir == "" && len(c.Dirs) > 0 {
		c.MetadataDir = c.Dirs[0]
	}
}

// Store is the data directories of one broker and the logs in them. It is safe for
// concurrent use. Java: LogManager.
//
// Goroutines: one for housekeeping from Start to Close; those of each directory's group
// commit, and those of the cleaner, while there is work.
type Store struct {
	cfg   StoreConfig
	files *fileCache
	dirs  []*dataDir // of cfg.Dirs, in that order; then the metadata directory where it is another

	found []*Log // what OpenStore found; set before it returns

	brokerEpoch atomic.Int64 // for the marks of a clean close

	// mu guards the table of logs. No lock of a log is taken with it held: a log that fails
	// its directory holds its own lock and takes this one.
	mu struct {
		sync.RWMutex
		logs map[ids.TopicPartition]*Log
		// left is the partition directories that are in no log's hands: damaged ones, and
		// those that Forget gave up.
		left map[ids.TopicPartition]leftDir
		// stale is the directories in which a former log of the name is not forgotten for
		// good: a checkpoint may have a line about it, or a power cut may undo its renaming.
		stale map[ids.TopicPartition][]*dataDir
		moves map[ids.TopicPartition]*Move
		// arriving is the copies that are about to get their partition's name: their lines in the
		// checkpoints come first.
		arriving  map[ids.TopicPartition]leftDir
		clusterID string
		closed    bool
	}

	housekeeping housekeeping
	cleaner      *logCleaner
	background   sync.WaitGroup // calls of OnDirFailure
}

// leftDir is a partition's directory that no log has open. Its entries in the checkpoints stay.
type leftDir struct {
	dir     *dataDir
	offsets openOptions
	err     error // why it could not be opened; nil for one that was forgotten
}

// ErrUnknownPartition says that the store has no such log.
var ErrUnknownPartition = errors.New("no such log")

// Log returns the log of a partition, nil where there is none.
func (s *Store) Log(tp ids.TopicPartition) *Log {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mu.logs[tp]
}

// All goes through the logs that are there when it is called, in no order.
func (s *Store) All() iter.Seq[*Log] { return slices.Values(s.all(nil)) }

// all returns the logs of a directory, of every one where it is nil.
func (s *Store) all(d *dataDir) []*Log {
	s.mu.RLock()
	defer s.mu.RUnlock()
	logs := make([]*Log, 0, len(s.mu.logs))
	for _, l := range s.mu.logs {
		if d == nil || l.root == d.path {
			logs = append(logs, l)
		}
	}
	return logs
}

// Found returns the logs that OpenStore found on disk. A topic id of zero means that
// partition.metadata is missing: Kafka before 2.8 made the directory, or power was cut before
// the first append was synced.
func (s *Store) Found() []*Log { return s.found }

// Damaged returns the partitions whose directories could not be opened, and why. They stay
// as they are on disk, and Create refuses them, until Delete.
func (s *Store) Damaged() map[ids.TopicPartition]error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	damaged := make(map[ids.TopicPartition]error)
	for tp, left := range s.mu.left {
		if left.err != nil {
			damaged[tp] = left.err
		}
	}
	return damaged
}

// ClusterID returns the cluster that the directories belong to, "" for none yet.
func (s *Store) ClusterID() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mu.clusterID
}

// MetadataDirectory returns the id of the directory of the metadata log, zero where that is offline.
func (s *Store) MetadataDirectory() ids.DirectoryID {
	if d := s.metadataDir(); d != nil {
		return d.id
	}
	return ids.ZeroUUID
}

// metadataDir returns the directory of the metadata log, nil where it is offline.
func (s *Store) metadataDir() *dataDir {
	path := filepath.Clean(s.cfg.MetadataDir)
	for _, d := range s.dirs {
		if d.path == path && d.err() == nil {
			return d
		}
	}
	return nil
}

// CleanShutdown tells whether every directory was closed cleanly the last time, or is new.
func (s *Store) CleanShutdown() bool {
	for _, d := range s.dirs {
		if !d.clean {
			return false
		}
	}
	return true
}

// noBrokerEpoch is the broker epoch of a broker that is not known.
const noBrokerEpoch = -1

// PreviousBrokerEpoch returns under which registration of the broker the directories were last written to, where they were closed
// cleanly then and every time since, and -1 otherwise: a process that finds a crash behind it and ends in good order before it could
// register does not make the crash undone.
func (s *Store) PreviousBrokerEpoch() int64 {
	if !s.CleanShutdown() {
		return noBrokerEpoch
	}
	epoch := int64(noBrokerEpoch)
	for _, d := range s.dirs {
		switch {
		case d.marked == nil: // new
		case *d.marked == noBrokerEpoch || epoch != noBrokerEpoch && *d.marked != epoch:
			return noBrokerEpoch
		default:
			epoch = *d.marked
		}
	}
	return epoch
}

// SetBrokerEpoch tells under which registration the directories are written to from now on.
func (s *Store) SetBrokerEpoch(epoch int64) { s.brokerEpoch.Store(epoch) }

// DirInfo describes a data directory.
type DirInfo struct {
	Path string
	ID   ids.DirectoryID
	Err  error // why it is offline; nil while it is not
	Full bool  // produce is refused for want of room, and the reserve is given back
	Logs int
}

// Dirs describes the directories of log.dirs, in that order.
func (s *Store) Dirs() []DirInfo {
	logs := make(map[string]int)
	for l := range s.All() {
		logs[l.root]++
	}
	infos := make([]DirInfo, 0, len(s.cfg.Dirs))
	for _, d := range s.dirs[:len(s.cfg.Dirs)] {
		infos = append(infos, DirInfo{d.path, d.id, d.err(), d.env.full.Load() && d.room.told.Load(), logs[d.path]})
	}
	return infos
}

// Directory returns the id of the data directory that a log is in.
func (s *Store) Directory(l *Log) ids.DirectoryID {
	if d := s.dirOf(l); d != nil {
		return d.id
	}
	return ids.ZeroUUID
}

// AnyOffline tells whether a directory of log.dirs has failed.
func (s *Store) AnyOffline() bool {
	return slices.ContainsFunc(s.dirs[:len(s.cfg.Dirs)], func(d *dataDir) bool { return d.err() != nil })
}

// Volume returns the size of the file system that holds a data directory and what this process
// may still write there; -1 for both where the system does not tell.
func (s *Store) Volume(dir string) (totalBytes, usableBytes int64) {
	free, total, err := s.cfg.FS.Usage(dir)
	if err != nil {
		return -1, -1
	}
	return int64(min(total, math.MaxInt64)), int64(min(free, math.MaxInt64))
}

// Create makes the log of a partition in the directory that has the fewest. It touches no
// disk, unless a log of the same name was there not long ago: the directory appears at the first
// append. A log of the same topic id that is there already is returned; one that was found
// without a topic id gets this one.
func (s *Store) Create(tp ids.TopicPartition, id ids.TopicID, cfg Config) (*Log, error) {
	l, err := s.existing(tp, id)
	if l != nil || err != nil {
		return l, err
	}
	if err := s.makeWay(tp); err != nil {
		return nil, fmt.Errorf("creating log %s: %w: %w", tp, kerr.KafkaStorageError, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil, errLogGone
	}
	if l := s.mu.logs[tp]; l != nil {
		return l, nil // somebody was faster
	}
	d := s.emptiestLocked()
	if d == nil {
		return nil, fmt.Errorf("creating log %s: every data directory is offline: %w", tp, kerr.KafkaStorageError)
	}
	l = newLog(d.env, d.path, tp, id, cfg)
	s.mu.logs[tp] = l
	if err := d.err(); err != nil { // it failed since, and may have missed this log
		_ = l.fail(err) // returns what it was given
	}
	return l, nil
}

// makeWay sees to it that nothing of a former log of the name meets the new one after a crash.
func (s *Store) makeWay(tp ids.TopicPartition) error {
	s.mu.Lock()
	left, ok := s.mu.left[tp]
	if ok && left.err != nil {
		s.mu.Unlock()
		return left.err
	}
	delete(s.mu.left, tp)
	s.mu.Unlock()
	if ok {
		if _, err := left.dir.setAside(tp, straySuffix); err != nil {
			return err
		}
	}
	s.mu.RLock()
	stale := slices.Clone(s.mu.stale[tp]) // forgetFormer changes it
	s.mu.RUnlock()
	for _, d := range stale {
		if err := d.forgetFormer(tp); err != nil {
			return err
		}
	}
	return nil
}

// existing returns the log of tp if it is one of topic id, and an error if it is another's.
func (s *Store) existing(tp ids.TopicPartition, id ids.TopicID) (*Log, error) {
	l := s.Log(tp)
	if l == nil || l.TopicID() == id {
		return l, nil
	}
	if !l.TopicID().IsZero() {
		return nil, fmt.Errorf("creating log %s of topic id %s: %s holds one of topic id %s; delete that first",
			tp, id, l.Dir(), l.TopicID())
	}
	if err := l.setTopicID(id); err != nil {
		return nil, err
	}
	return l, nil
}

// emptiestLocked returns the directory with the fewest logs, the first of equals; nil where all are offline.
func (s *Store) emptiestLocked() *dataDir {
	counts := make(map[string]int, len(s.dirs))
	if len(s.cfg.Dirs) > 1 {
		for _, l := range s.mu.logs {
			counts[l.root]++
		}
	}
	var best *dataDir
	for _, d := range s.dirs[:len(s.cfg.Dirs)] {
		if d.err() == nil && (best == nil || counts[d.path] < counts[best.path]) {
			best = d
		}
	}
	return best
}

// Forget closes a log and leaves its directory alone: one that no metadata knows. A log
// created under its name later moves the directory to NAME.UUID-stray first.
func (s *Store) Forget(tp ids.TopicPartition) error {
	s.mu.Lock()
	l := s.mu.logs[tp]
	if l == nil {
		s.mu.Unlock()
		return fmt.Errorf("forgetting %s: %w", tp, ErrUnknownPartition)
	}
	d := s.dirOf(l)
	delete(s.mu.logs, tp)
	s.mu.Unlock()
	err := l.closeClean()
	s.mu.Lock()
	s.mu.left[tp] = leftDir{dir: d, offsets: openOptions{recoveryPoint: l.recoveryPoint(), logStart: l.StartOffset(), highWatermark: l.HighWatermark(), cleaned: l.CleanedOffset()}}
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("forgetting %s: %w", tp, err)
	}
	return nil
}

func (s *Store) dirOf(l *Log) *dataDir {
	for _, d := range s.dirs {
		if d.path == l.root {
			return d
		}
	}
	return nil
}

// Close ends the store. Every directory that is still online is left clean: everything is
// synced, and the next OpenStore reads checkpoints only. No log is used during or after it.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return nil
	}
	s.mu.closed = true
	s.mu.Unlock()
	s.housekeeping.stop()
	for _, m := range s.allMoves() {
		m.abandon()
	}
	s.cleaner.close()
	errs := make([]error, len(s.dirs))
	var wg sync.WaitGroup
	for i, d := range s.dirs {
		wg.Go(func() { errs[i] = d.close() })
	}
	wg.Wait()
	s.background.Wait()
	return errors.Join(errs...)
}

// abandon gives up what a failed OpenStore holds, and writes nothing.
func (s *Store) abandon() {
	for l := range s.All() {
		l.closeAbrupt()
	}
	for _, d := range s.dirs {
		d.unlock()
	}
}

// SetClusterID writes the cluster's id into every directory that has none yet. One that
// belongs to another cluster is an error.
func (s *Store) SetClusterID(id string) error {
	for _, d := range s.dirs {
		if d.err() != nil {
			continue
		}
		if err := d.setClusterID(id); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.mu.clusterID = id
	s.mu.Unlock()
	return nil
}

// CheckpointHighWatermarks writes replication-offset-checkpoint of every directory where a
// high watermark has moved since the last time.
func (s *Store) CheckpointHighWatermarks() error {
	var errs []error
	for _, d := range s.dirs {
		errs = append(errs, d.highWatermarks.write())
	}
	return errors.Join(errs...)
}

// leftIn returns the directories in d that no log has open under the partition's name.
func (s *Store) leftIn(d *dataDir) map[ids.TopicPartition]leftDir {
	s.mu.RLock()
	defer s.mu.RUnlock()
	in := maps.Clone(s.mu.left)
	maps.Copy(in, s.mu.arriving)
	maps.DeleteFunc(in, func(_ ids.TopicPartition, l leftDir) bool { return l.dir != d })
	return in
}

package log

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// progressEvery is how often a recovery tells how far it is.
const progressEvery = 5 * time.Second

// OpenStore locks the data directories, checks that they belong to this node and opens the
// logs in them: from the checkpoints alone where they were closed cleanly, else by reading
// each log from its recovery point. A directory whose disk fails is offline, and so are its
// partitions; the store opens with the others. It changes nothing where it returns an error
// that is about whose directories they are.
func OpenStore(cfg StoreConfig) (*Store, error) {
	cfg.setDefaults()
	if len(cfg.Dirs) == 0 {
		return nil, errors.New("log.dirs names no directory")
	}
	s := &Store{cfg: cfg, files: newFileCache(cfg.FS, cfg.OpenFilesMax)}
	s.housekeeping.wake = make(chan struct{}, 1)
	s.cleaner = newLogCleaner(s)
	s.mu.logs = make(map[ids.TopicPartition]*Log)
	s.mu.left = make(map[ids.TopicPartition]leftDir)
	s.mu.stale = make(map[ids.TopicPartition][]*dataDir)
	s.mu.moves = make(map[ids.TopicPartition]*Move)
	s.mu.arriving = make(map[ids.TopicPartition]leftDir)
	paths := make(map[string]bool)
	for _, path := range append(append([]string(nil), cfg.Dirs...), cfg.MetadataDir) {
		path = filepath.Clean(path)
		if len(s.dirs) < len(cfg.Dirs) && paths[path] {
			return nil, fmt.Errorf("log.dirs names %s twice", path)
		}
		if !paths[path] {
			s.dirs = append(s.dirs, newDataDir(s, path))
		}
		paths[path] = true
	}
	if err := s.open(); err != nil {
		s.abandon()
		return nil, err
	}
	s.brokerEpoch.Store(s.PreviousBrokerEpoch())
	return s, nil
}

func (s *Store) open() error {
	for _, d := range s.dirs {
		if refused, err := d.acquire(); refused {
			return err
		} else if err != nil {
			d.failAtOpen(err)
		}
	}
	if err := s.checkOwners(); err != nil {
		return err
	}
	if err := s.checkDuplicates(); err != nil {
		return err
	}
	if d := s.metadataDir(); d != nil {
		if err := s.cfg.Check(d.meta.DirectoryID); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, len(s.dirs))
	for i, d := range s.dirs {
		if d.err() != nil {
			continue
		}
		wg.Go(func() {
			refused, err := d.open()
			if refused {
				errs[i] = err
			} else if err != nil {
				d.failAtOpen(err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, d := range s.dirs {
		if d.err() == nil {
			if err := d.markDirty(); err != nil {
				d.failAtOpen(err)
			}
		}
	}
	if err := s.anyOnline(); err != nil {
		return err
	}
	s.found = s.all(nil)
	return nil
}

// anyOnline returns the errors of the directories of log.dirs where all have failed.
func (s *Store) anyOnline() error {
	var errs []error
	for _, d := range s.dirs[:len(s.cfg.Dirs)] {
		if d.err() == nil {
			return nil
		}
		errs = append(errs, d.err())
	}
	return fmt.Errorf("no data directory can be used: %w", errors.Join(errs...))
}

// failAtOpen takes a directory offline before there is anybody to tell but the log.
func (d *dataDir) failAtOpen(err error) {
	d.takeOffline(err)
	for _, l := range d.store.all(d) {
		d.store.remove(l.tp)
		l.closeAbrupt()
	}
}

// checkDuplicates refuses a partition that two directories hold, unless a move was about to end.
func (s *Store) checkDuplicates() error {
	in := make(map[string]*dataDir)
	for _, d := range s.dirs {
		for _, name := range d.names {
			if _, ok := parsePartitionDir(name); !ok || name == metadataLogName {
				continue
			}
			other, twice := in[name]
			if in[name] = d; !twice {
				continue
			}
			settled, err := settle(other, d, name)
			if err != nil {
				return fmt.Errorf("partition %s is in two data directories, %s and %s, and which is the one to keep cannot be read: %w", name, other.path, d.path, err)
			}
			if !settled {
				return fmt.Errorf("partition %s is in two data directories, %s and %s: move the copy that is not wanted away", name, other.path, d.path)
			}
		}
	}
	return nil
}

// open reads the checkpoints and opens every log of the directory. refused tells that a
// file's content, not the disk, is at fault.
func (d *dataDir) open() (refused bool, err error) {
	d.kafkas = d.metaFound && d.meta.Format == 0
	if err := d.writeMeta(); err != nil {
		return false, err
	}
	var offsets [4]map[ids.TopicPartition]ids.Offset
	for i, c := range d.checkpoints() {
		if offsets[i], err = c.read(); err != nil {
			return errors.Is(err, errDamagedFile), err
		}
	}
	if d.marked, err = d.readMark(); err != nil {
		return false, err
	}
	d.clean = d.marked != nil || !d.holdsLogs()
	if err := d.dropCopies(); err != nil {
		return false, err
	}
	var tps []ids.TopicPartition
	for _, name := range d.names {
		tp, ok := parsePartitionDir(name)
		switch {
		case name == metadataLogName: // the quorum's, which opens it by itself
		case slices.Contains(d.superseded, name):
			if err := d.supersede(tp); err != nil {
				return false, err
			}
		case ok:
			tps = append(tps, tp)
		case strings.HasSuffix(name, deleteSuffix):
			tp := partitionOfDeleted(name)
			d.store.housekeeping.removeLater(d, name, tp, d.store.cfg.Config(tp.Topic).FileDeleteDelayMs)
		case !isKnownName(name):
			d.store.cfg.Logger.Warn("name in a data directory that no broker made: left alone", "dir", d.path, "name", name)
		}
	}
	for _, m := range offsets {
		for tp := range m {
			if !d.has(tp.String()) {
				d.noteStale(tp)
			}
		}
	}
	p := newProgress(d, len(tps))
	inParallel(d.store.cfg.RecoveryThreads, len(tps), func(i int) {
		tp := tps[i]
		opts := openOptions{recoveryPoint: offsets[0][tp], logStart: offsets[1][tp], highWatermark: offsets[2][tp], cleaned: offsets[3][tp], clean: d.clean, foreign: d.kafkas}
		d.openPartition(tp, opts)
		p.opened(tp)
	})
	p.end()
	return false, d.err()
}

// holdsLogs tells whether there is anything that an unclean end could have harmed.
func (d *dataDir) holdsLogs() bool {
	for _, name := range d.names {
		if _, ok := parsePartitionDir(name); ok {
			return true
		}
	}
	return false
}

// openPartition opens one log. Damage is that partition's alone; an error of the disk is the directory's.
func (d *dataDir) openPartition(tp ids.TopicPartition, opts openOptions) {
	if d.err() != nil {
		return
	}
	s := d.store
	dir := filepath.Join(d.path, tp.String())
	id, _, err := readPartitionMetadata(d.env.fs, dir)
	if errors.Is(err, errDamagedFile) && !d.clean {
		// Its first sync covers this file before anything in the log is promised, so nothing was.
		id, err = ids.ZeroUUID, nil
	}
	var l *Log
	if err == nil {
		l, err = openLog(d.env, d.path, tp, id, s.cfg.Config(tp.Topic), opts)
	}
	switch {
	case err == nil:
		s.mu.Lock()
		s.mu.logs[tp] = l
		s.mu.Unlock()
	case errors.Is(err, ErrCorrupt) || errors.Is(err, errDamagedFile):
		if !errors.Is(err, ErrCorrupt) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		s.cfg.Logger.Error("partition is offline: its log is damaged. Restore its directory from a backup or another replica, or delete the topic",
			"dir", dir, "cause", err)
		s.mu.Lock()
		s.mu.left[tp] = leftDir{dir: d, offsets: opts, err: err}
		s.mu.Unlock()
	default:
		d.takeOffline(fmt.Errorf("opening log %s: %w", tp, err))
	}
}

// progress tells how far a recovery is. A clean open says nothing.
type progress struct {
	dir   *dataDir
	logs  int
	began time.Time

	mu struct {
		sync.Mutex
		done int
		told time.Time
	}
}

func newProgress(d *dataDir, logs int) *progress {
	p := &progress{dir: d, logs: logs, began: time.Now()}
	p.mu.told = p.began
	if !d.clean {
		d.store.cfg.Logger.Info("checking logs after an unclean stop", "dir", d.path, "logs", logs)
	}
	return p
}

func (p *progress) opened(tp ids.TopicPartition) {
	p.mu.Lock()
	p.mu.done++
	done, tell := p.mu.done, !p.dir.clean && time.Since(p.mu.told) >= progressEvery
	if tell {
		p.mu.told = time.Now()
	}
	p.mu.Unlock()
	if tell {
		p.dir.store.cfg.Logger.Info("checking logs", "dir", p.dir.path, "done", done, "of", p.logs, "last", tp.String())
	}
}

func (p *progress) end() {
	if !p.dir.clean && p.dir.err() == nil {
		p.dir.store.cfg.Logger.Info("logs checked", "dir", p.dir.path, "logs", p.logs, "took", time.Since(p.began).Round(time.Millisecond))
	}
}

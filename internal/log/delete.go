package log

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/ids"
)

// nameBytesMax is the longest name that the usual file systems take.
const nameBytesMax = 255

// Delete takes a log away at once: its directory is renamed, and removed after
// file.delete.delay.ms. It waits for no reader. A partition that is not there is no error.
//
// The rename is not synced before somebody makes a log of the same name, or the directory is
// removed: one that a power cut brings back is found at the next start with a topic id that no
// metadata knows any more.
func (s *Store) Delete(tp ids.TopicPartition) error {
	s.cancelMove(tp)
	s.mu.Lock()
	l, left := s.mu.logs[tp], s.mu.left[tp]
	delete(s.mu.logs, tp)
	delete(s.mu.left, tp)
	s.mu.Unlock()
	d, delayMs := left.dir, s.cfg.Config(tp.Topic).FileDeleteDelayMs
	if l != nil {
		d, delayMs = s.dirOf(l), l.Config().FileDeleteDelayMs
		defer l.leave()()
	}
	if d == nil || d.err() != nil {
		return nil // on a disk that is offline it is a stray when that comes back
	}
	name, err := d.setAside(tp, deleteSuffix)
	if name == "" || err != nil {
		return err
	}
	s.housekeeping.removeLater(d, name, tp, delayMs)
	return nil
}

// leave ends a log whose directory is about to be renamed. Nothing changes a file of it by
// name, which may soon be that of another log's file, once it has returned: what had begun has
// ended, what begins finds the log offline. The function it returns is to be called after the rename.
func (l *Log) leave() (left func()) {
	_ = l.fail(errLogGone) // returns what it was given
	resume := l.pauseCleaning()
	l.syncing.Lock()
	l.checkpointing.Lock()
	l.dropFiles()
	return func() {
		l.checkpointing.Unlock()
		l.syncing.Unlock()
		resume()
	}
}

// setAside renames a partition's directory and returns its new name, "" where it was never made.
func (d *dataDir) setAside(tp ids.TopicPartition, suffix string) (name string, err error) {
	name = asideName(tp, suffix)
	err = d.env.fs.Rename(filepath.Join(d.path, tp.String()), filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", d.writeFailed(fmt.Errorf("renaming the directory of %s: %w", tp, err))
	}
	d.noteStale(tp)
	return name, nil
}

// noteStale remembers that a log of the name was in the directory.
func (d *dataDir) noteStale(tp ids.TopicPartition) {
	s := d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.mu.stale[tp], d) {
		s.mu.stale[tp] = append(s.mu.stale[tp], d)
	}
}

// forgetFormer makes durable that logs which have left the directory have left it, and takes
// their lines out of its checkpoints.
func (d *dataDir) forgetFormer(tps ...ids.TopicPartition) error {
	if d.err() != nil {
		return nil // nothing of it is read before the next start
	}
	if err := d.writeCheckpoints(); err != nil {
		return err
	}
	if err := d.env.fs.SyncDir(d.path); err != nil {
		return d.writeFailed(fmt.Errorf("syncing data directory %s: %w", d.path, err))
	}
	s := d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tp := range tps {
		s.mu.stale[tp] = slices.DeleteFunc(s.mu.stale[tp], func(o *dataDir) bool { return o == d })
		if len(s.mu.stale[tp]) == 0 {
			delete(s.mu.stale, tp)
		}
	}
	return nil
}

// asideName returns TOPIC-PARTITION.UNIQUE and the suffix; a topic that would make it too long is cut, as Kafka does.
func asideName(tp ids.TopicPartition, suffix string) string {
	var unique [16]byte
	rand.Read(unique[:]) // never fails: crypto/rand ends the process instead
	tail := fmt.Sprintf("-%d.%s%s", tp.Partition, hex.EncodeToString(unique[:]), suffix)
	return tp.Topic[:min(len(tp.Topic), nameBytesMax-len(tail))] + tail
}

// partitionOfDeleted returns whose a directory was that Delete or Kafka renamed, its topic perhaps cut.
func partitionOfDeleted(name string) ids.TopicPartition {
	tp, _ := parsePartitionDir(name[:max(strings.LastIndexByte(name, '.'), 0)])
	return tp
}

func (s *Store) remove(tp ids.TopicPartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.logs, tp)
}

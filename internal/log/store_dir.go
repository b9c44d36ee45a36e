package log

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// Names in a data directory beside those of the checkpoints; all but the last are Kafka's.
const (
	lockFile        = ".lock"
	cleanFile       = ".kafka_cleanshutdown"
	metadataLogName = "__cluster_metadata-0"
	reserveFile     = ".moldau_reserve"

	deleteSuffix = "-delete"
	straySuffix  = "-stray"
	futureSuffix = "-future"
)

// cleanMark is what cleanFile holds (Java: CleanShutdownFileHandler). That it is there says that the logs are as they were
// closed; BrokerEpoch says which registration of the broker that was true of without a break, -1 for none.
type cleanMark struct {
	Version     int   `json:"version"`
	BrokerEpoch int64 `json:"brokerEpoch"`
}

// cleanMarkBytesMax is more than a mark ever has.
const cleanMarkBytesMax = 1024

// dataDir is one data directory.
type dataDir struct {
	store *Store
	path  string
	env   *logEnv // of its logs
	lock  io.Closer

	// Set by OpenStore, constant after it.
	clean  bool   // closed cleanly the last time, or new
	marked *int64 // the broker epoch of cleanFile, nil where there was none
	kafkas bool   // Apache Kafka had it until now
	names  []string
	id     ids.DirectoryID
	// superseded is the partitions of which another directory has the copy to keep; interrupted
	// those that were being moved here.
	superseded  []string
	interrupted []ids.TopicPartition

	commit *groupCommit

	// meta is meta.properties. Owned by OpenStore, then by SetClusterID.
	meta      metaProperties
	metaFound bool

	recoveryPoints checkpointFile
	logStarts      checkpointFile
	highWatermarks checkpointFile
	cleanedOffsets checkpointFile

	room room

	offline atomic.Pointer[offline]
}

func newDataDir(s *Store, path string) *dataDir {
	d := &dataDir{store: s, path: path}
	d.commit = newGroupCommit(s.cfg.FS, path, d.fail)
	d.env = &logEnv{
		fs: s.cfg.FS, files: s.files, logger: s.cfg.Logger, sync: logCommit{d.commit},
		failDir:            func(_ string, err error) { d.fail(err) },
		checkpointStart:    func(*Log) error { return d.logStarts.write() },
		checkpointRecovery: func(*Log) error { return d.recoveryPoints.write() },
		noRoom:             d.noRoom,
		damaged:            d.damaged,
	}
	d.recoveryPoints.init(d, recoveryPointCheckpoint, (*Log).recoveryPoint, func(o openOptions) ids.Offset { return o.recoveryPoint })
	d.logStarts.init(d, logStartCheckpoint, (*Log).StartOffset, func(o openOptions) ids.Offset { return o.logStart })
	d.highWatermarks.init(d, highWatermarkCheckpoint, (*Log).HighWatermark, func(o openOptions) ids.Offset { return o.highWatermark })
	d.cleanedOffsets.init(d, cleanedCheckpoint, (*Log).CleanedOffset, func(o openOptions) ids.Offset { return o.cleaned })
	return d
}

// checkpoints returns the files that hold an offset for each partition.
func (d *dataDir) checkpoints() [4]*checkpointFile {
	return [...]*checkpointFile{&d.recoveryPoints, &d.logStarts, &d.highWatermarks, &d.cleanedOffsets}
}

// writeCheckpoints makes durable what the logs say now.
func (d *dataDir) writeCheckpoints() error {
	for _, c := range d.checkpoints() {
		if err := c.write(); err != nil {
			return err
		}
	}
	return nil
}

// logCommit is a groupCommit as a Log sees it.
type logCommit struct{ *groupCommit }

func (c logCommit) request(l *Log) { c.groupCommit.request(l) }

func (c logCommit) here(l *Log) bool { return c.groupCommit.here(l) }

// err returns why the directory is offline, or nil.
func (d *dataDir) err() error {
	if o := d.offline.Load(); o != nil {
		return o.err
	}
	return nil
}

// fail takes the directory and every log in it offline, once. A log may call it with its lock held.
func (d *dataDir) fail(cause error) {
	err, first := d.takeOffline(cause)
	if s := d.store; first && s.cfg.OnDirFailure != nil {
		s.background.Go(func() { s.cfg.OnDirFailure(d.path, d.id, err) })
	}
}

// damaged tells of a log of the directory that is damaged.
func (d *dataDir) damaged(l *Log, cause error) {
	if s := d.store; s.cfg.OnDamage != nil {
		s.background.Go(func() { s.cfg.OnDamage(l.tp, cause) })
	}
}

// takeOffline is fail without telling anybody but the log. It returns why the directory is
// offline and whether it was not before.
func (d *dataDir) takeOffline(cause error) (err error, first bool) {
	err = cause
	if !errors.Is(err, kerr.KafkaStorageError) {
		err = fmt.Errorf("%w: %w", kerr.KafkaStorageError, cause)
	}
	err = fmt.Errorf("data directory %s is offline: %w", d.path, err)
	if !d.offline.CompareAndSwap(nil, &offline{err}) {
		return d.err(), false
	}
	d.commit.stop()
	s := d.store
	for _, l := range s.all(d) {
		_ = l.fail(err) // returns what it was given
	}
	s.cfg.Logger.Error("data directory is offline until this broker starts again: its partitions are not served",
		"dir", d.path, "cause", cause)
	return err, true
}

// acquire makes the directory where it is missing, locks it and reads what is in it.
// refused tells that the directory is not for this process; other errors are the disk's.
func (d *dataDir) acquire() (refused bool, err error) {
	fsys := d.store.cfg.FS
	if err := makeDir(fsys, d.path); err != nil {
		return false, fmt.Errorf("creating data directory %s: %w", d.path, err)
	}
	d.lock, err = fsys.Lock(filepath.Join(d.path, lockFile))
	if errors.Is(err, vfs.ErrLocked) {
		return true, fmt.Errorf("data directory %s is in use by another broker (its %s is held): stop that one, or give this one a directory of its own", d.path, lockFile)
	}
	if err != nil {
		return false, fmt.Errorf("locking data directory %s: %w", d.path, err)
	}
	if d.names, err = fsys.List(d.path); err != nil {
		return false, fmt.Errorf("listing data directory %s: %w", d.path, err)
	}
	d.meta, d.metaFound, err = readMetaProperties(fsys, d.path)
	return errors.Is(err, errDamagedFile), err
}

// makeDir makes a directory with its missing parents and makes their names durable.
func makeDir(fsys vfs.FS, dir string) error {
	var missing []string
	for p := dir; ; p = filepath.Dir(p) {
		if _, err := fsys.Stat(p); err == nil || p == filepath.Dir(p) {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		missing = append(missing, p)
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	for _, m := range missing {
		if err := fsys.SyncDir(filepath.Dir(m)); err != nil {
			return err
		}
	}
	return nil
}

func (d *dataDir) unlock() {
	if d.lock != nil {
		_ = d.lock.Close() // the lock goes with the descriptor, whatever close says
		d.lock = nil
	}
}

func (d *dataDir) has(name string) bool {
	_, found := slices.BinarySearch(d.names, name)
	return found
}

// parsePartitionDir reads TOPIC-PARTITION.
func parsePartitionDir(name string) (tp ids.TopicPartition, ok bool) {
	dash := strings.LastIndexByte(name, '-')
	if dash < 1 || len(name)-dash-1 > 10 {
		return tp, false
	}
	var n int64
	for _, c := range name[dash+1:] {
		if c < '0' || c > '9' {
			return tp, false
		}
		n = n*10 + int64(c-'0')
	}
	tp = ids.TopicPartition{Topic: name[:dash], Partition: int32(n)}
	return tp, tp.String() == name
}

// isKnownName tells whether a broker, ours or Kafka's, may have made this name in a data directory.
func isKnownName(name string) bool {
	base := strings.TrimSuffix(name, tmpSuffix)
	switch base {
	case lockFile, cleanFile, reserveFile, metaPropertiesFile, recoveryPointCheckpoint, logStartCheckpoint, highWatermarkCheckpoint, cleanedCheckpoint,
		"bootstrap.checkpoint", "lost+found":
		return true
	}
	if _, ok := parsePartitionDir(name); ok {
		return true
	}
	for _, suffix := range []string{deleteSuffix, straySuffix, futureSuffix} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// markDirty takes the sign of a clean close away before anything is changed that a
// clean open would not check.
func (d *dataDir) markDirty() error {
	if !d.has(cleanFile) {
		return nil
	}
	if err := d.store.cfg.FS.Remove(filepath.Join(d.path, cleanFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the mark of a clean close: %w", err)
	}
	if err := d.store.cfg.FS.SyncDir(d.path); err != nil {
		return fmt.Errorf("removing the mark of a clean close: %w", err)
	}
	return nil
}

// readMark returns the broker epoch of the mark of a clean close, nil where there is no mark. One that says nothing that is
// understood is of epoch -1.
func (d *dataDir) readMark() (*int64, error) {
	if !d.has(cleanFile) {
		return nil, nil
	}
	data, err := vfs.ReadFile(d.store.cfg.FS, filepath.Join(d.path, cleanFile), cleanMarkBytesMax)
	if err != nil && !errors.Is(err, vfs.ErrTooLarge) {
		return nil, fmt.Errorf("reading the mark of a clean close: %w", err)
	}
	var mark cleanMark
	if json.Unmarshal(data, &mark) != nil || mark.Version != 0 {
		mark.BrokerEpoch = noBrokerEpoch
	}
	return &mark.BrokerEpoch, nil
}

// markClean is not synced: a mark that a power cut loses costs a check of the logs' tails.
// Everything that it vouches for has been synced before.
func (d *dataDir) markClean() error {
	content, err := json.Marshal(cleanMark{BrokerEpoch: d.store.brokerEpoch.Load()})
	if err != nil {
		return err
	}
	f, err := d.store.cfg.FS.Create(filepath.Join(d.path, cleanFile))
	if err == nil {
		_, err = f.WriteAt(content, 0)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("marking %s as closed cleanly: %w", d.path, err)
	}
	return nil
}

// close leaves the directory clean if it is online and everything could be written.
func (d *dataDir) close() error {
	defer d.unlock()
	logs := d.store.all(d)
	for _, l := range logs {
		if l.DurableEnd() < l.EndOffset() {
			l.RequestSync()
		}
	}
	d.commit.wait()
	if d.err() != nil {
		for _, l := range logs {
			l.closeAbrupt()
		}
		return nil // told when it failed
	}
	if d.room.full {
		d.room.release(d)
	}
	errs := make([]error, len(logs))
	inParallel(syncsMax, len(logs), func(i int) {
		if errs[i] = logs[i].closeClean(); errs[i] != nil {
			logs[i].closeAbrupt()
		}
	})
	err := errors.Join(errs...)
	if err == nil {
		err = d.writeCheckpoints()
	}
	if err == nil {
		err = d.markClean()
	}
	if err != nil {
		return fmt.Errorf("closing data directory %s: %w", d.path, err)
	}
	return nil
}

// inParallel calls f with 0 to n-1 on up to workers goroutines and returns when all are done.
func inParallel(workers, n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}

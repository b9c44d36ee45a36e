package log

import (
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// logEnv is what the logs of a store share.
type logEnv struct {
	fs     vfs.FS
	files  *fileCache
	logger *slog.Logger
	sync   syncRequester

	// rescanned says that each open reads every batch of the log: what can be made again
	// from them, and from the topic id that the caller gives, is then not synced.
	rescanned bool

	// failDir is told that a data directory cannot be relied on. It is called with Log.mu
	// held: it must neither block nor take the lock of a log. nil for none.
	failDir func(root string, err error)
	// checkpointStart makes l.StartOffset durable. Called without locks; nil where the first
	// segment's base offset is all there is.
	checkpointStart func(l *Log) error
	// checkpointRecovery makes l.recoveryPoint durable before a truncation makes the log
	// shorter than what the checkpoint says. Called without locks; nil where there is no checkpoint.
	checkpointRecovery func(l *Log) error
	// noRoom is told that a write found the disk full. It must not block; nil for none.
	noRoom func()
	// damaged is told of damage in a log that was whole. It is called with Log.mu held at times: it must neither block
	// nor take the lock of a log. nil for none.
	damaged func(l *Log, cause error)
	// full has produce refused: what room there is is kept for deletions and metadata.
	full atomic.Bool
}

// syncRequester is the group commit as a log sees it.
type syncRequester interface {
	// request has the log's syncFiles called soon. It does not block; Log.mu may be held.
	request(l *Log)
	// here calls the log's syncFiles, or returns false and does nothing.
	here(l *Log) bool
}

// Log is one partition's log on disk. It is safe for concurrent use. Java: UnifiedLog.
//
// Appends hold the lock across their own write and nothing else that waits for a disk; reads
// take no lock of the log. A log that was never appended to has no directory and no files.
type Log struct {
	env  *logEnv
	tp   ids.TopicPartition
	id   ids.TopicID
	root string // the data directory
	dir  string // the partition's directory in it

	config  atomic.Pointer[Config]
	offline atomic.Pointer[offline]

	// segments is replaced, never changed, under mu.
	segments atomic.Pointer[segmentList]

	// truncations counts them. Written under mu, after the end and the size have been lowered and before bytes go:
	// a read that spans one is made again, a sync that spans one promises nothing.
	truncations atomic.Uint64

	// Offsets, all but unstable exclusive ends. Written under mu, but for the high watermark.
	// Invariants: start <= end, durable <= end, start <= highWatermark <= end.
	start         atomic.Int64
	end           atomic.Int64
	durable       atomic.Int64 // everything below is synced
	highWatermark atomic.Int64
	unstable      atomic.Int64 // first offset of a transaction that is open, or not yet replicated to its end; noUnstable for none
	latestEpoch   atomic.Int32

	// cleaned is exclusive: the cleaner has been over everything below it, and what has been
	// appended since is dirty. Written by cleanings and truncations.
	cleaned atomic.Int64
	// uncleanable has the cleaner leave the log alone until the next start: it met damage.
	uncleanable atomic.Bool

	onDurable func(end ids.Offset) // set before use

	mu struct {
		sync.Mutex
		producers producerState
		epochs    epochCache

		epochsChanged bool            // epochs differs from its checkpoint
		aborted       []abortedIn     // not in a transaction index yet
		dropped       []*droppedFiles // renamed, and to be removed when nobody reads them
		// recovery is the offset from which on the log would be checked after a crash, as of
		// the last checkpoint of epochs and recoveryPoint.
		recovery ids.Offset

		stopCleaning func() // ends the cleaning that is under way; nil while there is none
		cleanPauses  int    // of those who hold cleaning, or wait for it, and are no cleaning

		asClosed       bool               // the files are as closeClean leaves them
		born           bool               // the directory exists
		metadataDirty  bool               // partition.metadata not synced
		namesDirty     bool               // names in dir not synced
		rootDirty      bool               // the name of dir not synced
		snapshots      []producerSnapshot // of rolls, to be written by the next sync
		unflushedSince int64              // wall clock ms of the first append after the last sync began; 0 for none
		syncedEnd      ids.Offset         // where the last sync began
	}

	// waiting is those who wait for the durable end to move.
	waiting struct {
		sync.Mutex               // leaf
		moved      chan struct{} // closed at each move; nil while nobody waits
	}

	// cleaning is held by whoever cleans the log, and by truncations and the deletion, which no
	// cleaning may meet. The first of the log's locks.
	cleaning sync.Mutex
	// checkpointing lets one checkpoint at a time move the recovery point. After syncing, which a
	// truncation holds while it has its recovery point checkpointed, and before mu.
	checkpointing sync.Mutex
	syncing       syncRound // has a lock of its own, before checkpointing and mu
}

// noUnstable marks that there is no unstable offset.
const noUnstable = math.MaxInt64

// newLog returns a log that was never appended to. It touches no disk.
func newLog(env *logEnv, root string, tp ids.TopicPartition, id ids.TopicID, cfg Config) *Log {
	l := &Log{env: env, tp: tp, id: id, root: root, dir: filepath.Join(root, tp.String())}
	l.config.Store(&cfg)
	l.segments.Store(new(segmentList))
	l.unstable.Store(noUnstable)
	l.latestEpoch.Store(int32(ids.NoLeaderEpoch))
	return l
}

// TopicPartition returns whose log it is.
func (l *Log) TopicPartition() ids.TopicPartition { return l.tp }

// TopicID returns the life of the topic that the log belongs to.
func (l *Log) TopicID() ids.TopicID { return l.id }

// Dir returns the partition's directory, which a log that was never appended to has not made.
func (l *Log) Dir() string { return l.dir }

// DataDir returns the data directory that Dir is in, or will be.
func (l *Log) DataDir() string { return l.root }

// Config returns what SetConfig set last.
func (l *Log) Config() Config { return *l.config.Load() }

// SetConfig takes effect with the next append or retention pass.
func (l *Log) SetConfig(cfg Config) { l.config.Store(&cfg) }

// StartOffset returns the first offset that can be read.
func (l *Log) StartOffset() ids.Offset { return ids.Offset(l.start.Load()) }

// EndOffset returns the offset that the next record gets.
func (l *Log) EndOffset() ids.Offset { return ids.Offset(l.end.Load()) }

// DurableEnd returns the offset below which everything is synced.
func (l *Log) DurableEnd() ids.Offset { return ids.Offset(l.durable.Load()) }

// HighWatermark returns what SetHighWatermark set last.
func (l *Log) HighWatermark() ids.Offset { return ids.Offset(l.highWatermark.Load()) }

// SetHighWatermark moves the high watermark, within what the log holds.
func (l *Log) SetHighWatermark(hw ids.Offset) {
	hw = max(l.StartOffset(), min(hw, l.EndOffset()))
	l.highWatermark.Store(int64(hw))
	if ids.Offset(l.unstable.Load()) < hw {
		l.mu.Lock()
		l.updateUnstableLocked()
		l.mu.Unlock()
	}
}

// LastStableOffset returns the end of what a read_committed consumer may see: the high
// watermark, or the beginning of the first transaction that has not ended below it.
func (l *Log) LastStableOffset() ids.Offset {
	return min(l.HighWatermark(), ids.Offset(l.unstable.Load()))
}

// LatestEpoch returns the leader epoch of the last batch, or the one started since;
// NoLeaderEpoch where there is none.
func (l *Log) LatestEpoch() ids.LeaderEpoch { return ids.LeaderEpoch(l.latestEpoch.Load()) }

// EndOffsetForEpoch returns the largest epoch of the log that is no larger than e, and its
// end; (-1, -1) where the log cannot tell.
func (l *Log) EndOffsetForEpoch(e ids.LeaderEpoch) (ids.LeaderEpoch, ids.Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.epochs.endOffsetFor(e, l.EndOffset())
}

// CleanedOffset returns the offset up to which the log has been compacted, 0 where it never was.
func (l *Log) CleanedOffset() ids.Offset { return ids.Offset(l.cleaned.Load()) }

// SizeBytes returns the bytes in the log's segments, without indexes.
func (l *Log) SizeBytes() int64 { return l.segments.Load().sizeBytes() }

// active returns the segment that is appended to, nil where there is none yet.
func (l *Log) active() *segment {
	segs := *l.segments.Load()
	if len(segs) == 0 {
		return nil
	}
	return segs[len(segs)-1]
}

package quorum

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/record"
)

// metadataLog is the partition that the quorum decides in, and its directory's name.
var metadataLog = ids.TopicPartition{Topic: "__cluster_metadata", Partition: 0}

// metadataTopicID is the id that Kafka has reserved for it (Uuid.METADATA_TOPIC_ID).
var metadataTopicID = ids.TopicID{15: 1}

const (
	entryBytesMax       = 8 << 20           // of what one Propose takes
	batchBytesMax       = entryBytesMax * 2 // its batch is a little larger
	defaultSegmentBytes = 32 << 20          // the prefix goes by whole segments
	readBytes           = 1 << 20
	scratchBytesMax     = 1 << 20 // a larger buffer is not kept
)

// entryLog is __cluster_metadata-0 as the library sees it: entries by index.
type entryLog struct {
	log     *log.Log
	closer  io.Closer
	scratch []byte
}

// openEntryLog opens the log, or makes it; its first entry has index 1. What is committed has been synced: a
// log that has lost some of it is refused as it is. An entry beyond may have been torn, with
// whole ones behind it: nobody was told of it, and it is cut off with them.
func openEntryLog(c *Config, snapshotIndex, commit uint64) (*entryLog, error) {
	cfg := log.DefaultConfig()
	cfg.SegmentBytes, cfg.MaxMessageBytes = c.SegmentBytes, batchBytesMax
	cfg.SegmentMs, cfg.RetentionMs, cfg.RetentionBytes, cfg.DeletePolicy = math.MaxInt64, -1, -1, false
	cfg.FileDeleteDelayMs = 0
	l, closer, err := log.OpenOne(log.OneConfig{
		FS: c.FS, Dir: c.Dir, TopicPartition: metadataLog, TopicID: metadataTopicID, Config: cfg, Logger: c.Logger,
		LogStart: ids.Offset(snapshotIndex), SyncedTo: ids.Offset(commit + 1),
	})
	if errors.Is(err, log.ErrCorrupt) {
		return nil, fmt.Errorf("%w %s: %w; restore the whole metadata directory from one backup", ErrDamaged, filepath.Join(c.Dir, metadataLog.String()), err)
	}
	if err != nil {
		return nil, err
	}
	if l.EndOffset() == 0 {
		if err := l.TruncateFullyAndStartAt(1); err != nil {
			return nil, errors.Join(err, closer.Close())
		}
	}
	return &entryLog{log: l, closer: closer}, nil
}

// first and last are the indexes of the entries that the log has; none where last is less.
func (l *entryLog) first() uint64 { return uint64(l.log.StartOffset()) }
func (l *entryLog) last() uint64  { return uint64(l.log.EndOffset() - 1) }

// append writes entries; those of the log from the first one's index on give way. They are
// durable after sync.
func (l *entryLog) append(entries []*raftpb.Entry) error {
	first := ids.Offset(entries[0].GetIndex())
	if first < l.log.EndOffset() {
		if err := l.log.TruncateTo(first); err != nil {
			return fmt.Errorf("giving up metadata entries from %d on: %w", first, err)
		}
	}
	nowMs := time.Now().UnixMilli()
	b := l.scratch[:0]
	var err error
	for _, e := range entries {
		if b, err = appendEntry(b, e, nowMs); err != nil {
			return err
		}
	}
	if l.scratch = b; cap(b) > scratchBytesMax {
		l.scratch = nil
	}
	if _, err := l.log.AppendAsFollower(b); err != nil {
		return fmt.Errorf("writing metadata entries: %w", err)
	}
	return nil
}

// sync makes every entry durable.
func (l *entryLog) sync() error {
	if err := l.log.Sync(); err != nil {
		return fmt.Errorf("syncing metadata entries: %w", err)
	}
	return nil
}

// entries reads every entry from an index on.
func (l *entryLog) entries(from uint64) ([]*raftpb.Entry, error) {
	var entries []*raftpb.Entry
	var term uint64
	end := l.log.EndOffset()
	for next := ids.Offset(from); next < end; {
		slice, err := l.log.Read(next, end, readBytes, true)
		if err != nil {
			return nil, fmt.Errorf("reading metadata entries: %w", err)
		}
		buf := make([]byte, slice.Len())
		n, err := slice.ReadInto(buf)
		slice.Release()
		if err != nil {
			return nil, fmt.Errorf("reading metadata entries: %w", err)
		}
		for rest := buf[:n]; len(rest) > 0; {
			var b record.Batch
			if b, rest, err = record.First(rest); err != nil {
				return nil, fmt.Errorf("%w: after entry %d: %w", ErrDamaged, next-1, err)
			}
			e, err := readEntry(b)
			if err != nil {
				return nil, err
			}
			if b.BaseOffset() != next || e.GetTerm() < term {
				return nil, fmt.Errorf("%w: entry %d of term %d where entry %d was due, after term %d", ErrDamaged, e.GetIndex(), e.GetTerm(), next, term)
			}
			entries, next, term = append(entries, e), b.NextOffset(), e.GetTerm()
		}
		if n == 0 {
			return nil, fmt.Errorf("%w: entry %d cannot be read, the log ends at %d", ErrDamaged, next, end)
		}
	}
	return entries, nil
}

// committed tells the log how far its entries are decided: none of these will be given up.
func (l *entryLog) committed(commit uint64) { l.log.SetHighWatermark(ids.Offset(commit + 1)) }

// cut lets go of the committed entries below an index, which stays: so the log ends where it did
// without a new, empty segment.
func (l *entryLog) cut(below uint64) error {
	if err := l.log.AdvanceStart(ids.Offset(below)); err != nil {
		return fmt.Errorf("cutting the metadata entries below %d: %w", below, err)
	}
	return nil
}

func (l *entryLog) close() error { return l.closer.Close() }

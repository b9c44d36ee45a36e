package quorum

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"
	"strings"
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
	grouped bool // entries name the group that they are written in
	scratch []byte
}

// openEntryLog opens the log, or makes it; its first entry has index 1. What is committed has been synced: a
// log that has lost some of it is refused as it is. What was written beyond and not yet synced may have been
// torn, with whole entries behind it: nobody was told of it, and it is cut off with them.
func openEntryLog(c *Config, snapshotIndex, commit uint64) (*entryLog, error) {
	cfg := log.DefaultConfig()
	cfg.SegmentBytes, cfg.MaxMessageBytes = c.SegmentBytes, batchBytesMax
	cfg.SegmentMs, cfg.RetentionMs, cfg.RetentionBytes, cfg.DeletePolicy = math.MaxInt64, -1, -1, false
	cfg.FileDeleteDelayMs = 0
	start, err := startOf(c, snapshotIndex)
	if err != nil {
		return nil, err
	}
	l, closer, err := log.OpenOne(log.OneConfig{
		FS: c.FS, Dir: c.Dir, TopicPartition: metadataLog, TopicID: metadataTopicID, Config: cfg, Logger: c.Logger,
		LogStart: ids.Offset(start), SyncedTo: ids.Offset(commit + 1),
	})
	if errors.Is(err, log.ErrCorrupt) {
		return nil, fmt.Errorf("%w %s: %w; %s", ErrDamaged, filepath.Join(c.Dir, metadataLog.String()), err, c.remedy())
	}
	if err != nil {
		return nil, err
	}
	if l.EndOffset() == 0 {
		if err := l.TruncateFullyAndStartAt(1); err != nil {
			return nil, errors.Join(err, closer.Close())
		}
	}
	return &entryLog{log: l, closer: closer, grouped: !c.alone()}, nil
}

// startOf returns where the log of a directory with a snapshot begins: with the snapshot's last entry, but
// behind it where the snapshot came from elsewhere.
func startOf(c *Config, snapshotIndex uint64) (uint64, error) {
	names, err := c.FS.List(filepath.Join(c.Dir, metadataLog.String()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("listing the metadata directory: %w", err)
	}
	for _, name := range names { // in the order of their offsets
		base, isLog := strings.CutSuffix(name, ".log")
		if n, err := strconv.ParseUint(base, 10, 64); isLog && err == nil {
			if n == snapshotIndex+1 {
				return n, nil
			}
			break
		}
	}
	return snapshotIndex, nil
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
	nowMs := time.Now().UnixMilli() // for people who read the log; nothing is decided by it
	group := uint64(0)
	if l.grouped {
		group = entries[0].GetIndex()
	}
	b := l.scratch[:0]
	var err error
	for _, e := range entries {
		if b, err = appendEntry(b, e, group, nowMs); err != nil {
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
	term := uint64(0)
	for next, end := from, l.last()+1; next < end; {
		batches, err := l.read(next, end, readBytes)
		if err != nil {
			return nil, err
		}
		some, err := readEntries(batches, Position{next - 1, term})
		if err != nil {
			return nil, err
		}
		if len(some) == 0 {
			return nil, fmt.Errorf("%w: entry %d cannot be read, the log ends at %d", ErrDamaged, next, end)
		}
		entries = append(entries, some...)
		next, term = next+uint64(len(some)), some[len(some)-1].GetTerm()
	}
	return entries, nil
}

// read returns the batches of the entries from an index on, up to an end or about so many bytes.
func (l *entryLog) read(from, end uint64, bytesMax int32) ([]byte, error) {
	slice, err := l.log.Read(ids.Offset(from), ids.Offset(end), bytesMax, true)
	if err != nil {
		return nil, fmt.Errorf("reading metadata entries: %w", err)
	}
	defer slice.Release()
	buf := make([]byte, slice.Len())
	n, err := slice.ReadInto(buf)
	if err != nil {
		return nil, fmt.Errorf("reading metadata entries: %w", err)
	}
	return buf[:n], nil
}

// readEntries decodes batches that follow an entry.
func readEntries(batches []byte, after Position) ([]*raftpb.Entry, error) {
	var entries []*raftpb.Entry
	for rest := batches; len(rest) > 0; {
		b, more, err := record.First(rest)
		if err != nil {
			return nil, fmt.Errorf("%w: after entry %d: %w", ErrDamaged, after.Index, err)
		}
		e, _, err := readEntry(b)
		if err != nil {
			return nil, err
		}
		if e.GetIndex() != after.Index+1 || e.GetTerm() < after.Term {
			return nil, fmt.Errorf("%w: entry %d of term %d where entry %d was due, after term %d", ErrDamaged, e.GetIndex(), e.GetTerm(), after.Index+1, after.Term)
		}
		entries, rest, after = append(entries, e), more, Position{e.GetIndex(), e.GetTerm()}
	}
	return entries, nil
}

// restart lets go of every entry: the next one follows a snapshot that came from elsewhere.
func (l *entryLog) restart(after uint64) error {
	if err := l.log.TruncateFullyAndStartAt(ids.Offset(after + 1)); err != nil {
		return fmt.Errorf("beginning the metadata entries anew after %d: %w", after, err)
	}
	return nil
}

// truncate lets go of the entries behind an index.
func (l *entryLog) truncate(after uint64) error {
	if err := l.log.TruncateTo(ids.Offset(after + 1)); err != nil {
		return fmt.Errorf("giving up metadata entries behind %d: %w", after, err)
	}
	return nil
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

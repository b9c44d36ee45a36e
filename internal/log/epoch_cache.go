package log

import (
	"bytes"
	"fmt"
	"sort"
	"strconv"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

const (
	epochCheckpoint         = "leader-epoch-checkpoint"
	epochCheckpointBytesMax = 16 << 20
	epochCheckpointAdvice   = "restore it from a backup, or remove it and start again"
)

// epochCache knows where each leader epoch of a log starts. It is what the batches
// say, kept in a checkpoint so that opening need not read them.
//
// Not safe for concurrent use: Log.mu guards it. Java: LeaderEpochFileCache (KIP-101, KIP-279).
type epochCache struct {
	// Invariant: epochs and start offsets both rise strictly from entry to entry.
	entries []epochEntry
}

type epochEntry struct {
	epoch ids.LeaderEpoch
	start ids.Offset
}

// assign notes that a batch of epoch e begins at start and tells whether that was news.
// Entries that contradict it, later ones left by an unclean leader say, give way.
func (c *epochCache) assign(e ids.LeaderEpoch, start ids.Offset) bool {
	if e < 0 {
		return false // a batch from before leader epochs were recorded
	}
	n := len(c.entries)
	if n > 0 && c.entries[n-1].epoch == e && c.entries[n-1].start <= start {
		return false
	}
	for n > 0 && (c.entries[n-1].epoch >= e || c.entries[n-1].start >= start) {
		n--
	}
	c.entries = append(c.entries[:n], epochEntry{e, start})
	return true
}

// latest returns the newest epoch that has a batch, NoLeaderEpoch where there is none.
func (c *epochCache) latest() ids.LeaderEpoch {
	if len(c.entries) == 0 {
		return ids.NoLeaderEpoch
	}
	return c.entries[len(c.entries)-1].epoch
}

// endOffsetFor returns the largest epoch that is no larger than e, and its end: where the
// next one starts, or logEnd for the latest. (-1, -1) says that the log cannot tell.
func (c *epochCache) endOffsetFor(e ids.LeaderEpoch, logEnd ids.Offset) (ids.LeaderEpoch, ids.Offset) {
	if e < 0 || e > c.latest() {
		return ids.NoLeaderEpoch, ids.NoOffset
	}
	if e == c.latest() {
		return e, logEnd
	}
	// e is below the latest, so there is a next one.
	next := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].epoch > e })
	if next == 0 {
		return e, c.entries[0].start // older than everything that is left
	}
	return c.entries[next-1].epoch, c.entries[next].start
}

// epochAt returns the epoch that wrote offset o, NoLeaderEpoch where no entry reaches down to it.
func (c *epochCache) epochAt(o ids.Offset) ids.LeaderEpoch {
	next := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].start > o })
	if next == 0 {
		return ids.NoLeaderEpoch
	}
	return c.entries[next-1].epoch
}

// truncateFromEnd forgets epochs that start at end or later and tells whether there were any.
func (c *epochCache) truncateFromEnd(end ids.Offset) bool {
	n := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].start >= end })
	changed := n < len(c.entries)
	c.entries = c.entries[:n]
	return changed
}

// truncateFromStart forgets epochs that lie whole below start; the one that start is in
// now begins there. It tells whether anything changed.
func (c *epochCache) truncateFromStart(start ids.Offset) bool {
	next := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].start > start })
	if next == 0 || next == 1 && c.entries[0].start == start {
		return false
	}
	kept := copy(c.entries, c.entries[next-1:])
	c.entries = c.entries[:kept]
	c.entries[0].start = start
	return true
}

// write replaces the checkpoint in the partition's directory and makes it durable.
func (c *epochCache) write(fsys vfs.FS, dir string) error {
	return writeFileAtomic(fsys, dir, epochCheckpoint, c.encode())
}

// readEpochCache reads the checkpoint of a partition; a missing one is an empty cache.
func readEpochCache(fsys vfs.FS, dir string) (epochCache, error) {
	content, err := readSmallFile(fsys, dir, epochCheckpoint, epochCheckpointBytesMax)
	if err != nil || content == nil {
		return epochCache{}, err
	}
	c, err := decodeEpochCache(content)
	if err != nil {
		return epochCache{}, damaged(dir, epochCheckpoint, epochCheckpointAdvice, err)
	}
	return c, nil
}

func (c *epochCache) encode() []byte {
	b := appendCheckpointHead(nil, len(c.entries))
	for _, e := range c.entries {
		b = strconv.AppendInt(b, int64(e.epoch), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(e.start), 10)
		b = append(b, '\n')
	}
	return b
}

func decodeEpochCache(content []byte) (epochCache, error) {
	rest, count, err := cutCheckpointHead(content)
	if err != nil {
		return epochCache{}, err
	}
	c := epochCache{entries: make([]epochEntry, 0, min(count, len(rest)/checkpointEntryBytesMin+1))}
	for n := 3; len(rest) > 0; n++ {
		var line []byte
		line, rest = cutLine(rest)
		f := bytes.Fields(line)
		if len(f) != 2 {
			return epochCache{}, fmt.Errorf("line %d is not an epoch and an offset", n)
		}
		epoch, err1 := strconv.ParseInt(string(f[0]), 10, 32)
		start, err2 := strconv.ParseInt(string(f[1]), 10, 64)
		if err1 != nil || err2 != nil || epoch < 0 || start < 0 {
			return epochCache{}, fmt.Errorf("line %d has an epoch or an offset that is no number of 0 or more", n)
		}
		e := epochEntry{ids.LeaderEpoch(epoch), ids.Offset(start)}
		if k := len(c.entries); k > 0 && (c.entries[k-1].epoch >= e.epoch || c.entries[k-1].start >= e.start) {
			return epochCache{}, fmt.Errorf("line %d does not rise above the one before it", n)
		}
		c.entries = append(c.entries, e)
	}
	if len(c.entries) != count {
		return epochCache{}, fmt.Errorf("it says %d entries and has %d", count, len(c.entries))
	}
	return c, nil
}

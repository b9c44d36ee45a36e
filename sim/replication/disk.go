package replication

import (
	"math/rand/v2"
	"sort"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
)

// disk is the log of one replica: a model of log.Log, with whole batches and leader epochs.
type disk struct {
	start   ids.Offset
	batches []record.Batch // without gaps; the first may begin below start
	last    ids.Offset     // end where there are no batches
	epochs  []epochStart

	durable       ids.Offset // below it everything is synced
	highWatermark ids.Offset // as it was last written down
	truncations   int
}

type epochStart struct {
	epoch ids.LeaderEpoch
	start ids.Offset
}

// recordID is what a record is known by.
type recordID struct {
	batch int64
	delta ids.Offset
	epoch ids.LeaderEpoch
}

// newBatch makes a batch that no other one equals.
func newBatch(number int64, records int) record.Batch {
	b := record.NewBuilder()
	for range records {
		b.Append(number, nil, nil)
	}
	return b.MustBuild()
}

func (d *disk) end() ids.Offset {
	if n := len(d.batches); n > 0 {
		return d.batches[n-1].NextOffset()
	}
	return d.last
}

// at returns the record at an offset, false where the log does not have it.
func (d *disk) at(o ids.Offset) (recordID, bool) {
	i := d.floor(o)
	if i < 0 || o < d.start || o >= d.end() {
		return recordID{}, false
	}
	b := d.batches[i]
	return recordID{b.BaseTimestamp(), o - b.BaseOffset(), b.LeaderEpoch()}, true
}

// floor returns the batch that o lies in or behind, -1 for none.
func (d *disk) floor(o ids.Offset) int {
	return sort.Search(len(d.batches), func(i int) bool { return d.batches[i].BaseOffset() > o }) - 1
}

func (d *disk) assign(e ids.LeaderEpoch, start ids.Offset) {
	n := len(d.epochs)
	if n > 0 && d.epochs[n-1].epoch == e && d.epochs[n-1].start <= start {
		return
	}
	for n > 0 && (d.epochs[n-1].epoch >= e || d.epochs[n-1].start >= start) {
		n--
	}
	d.epochs = append(d.epochs[:n:n], epochStart{e, start})
}

func (d *disk) latestEpoch() ids.LeaderEpoch {
	if n := len(d.epochs); n > 0 {
		return d.epochs[n-1].epoch
	}
	return ids.NoLeaderEpoch
}

func (d *disk) endOffsetFor(e ids.LeaderEpoch) (ids.LeaderEpoch, ids.Offset) {
	switch latest := d.latestEpoch(); {
	case e < 0 || e > latest:
		return ids.NoLeaderEpoch, ids.NoOffset
	case e == latest:
		return e, d.end()
	}
	next := sort.Search(len(d.epochs), func(i int) bool { return d.epochs[i].epoch > e })
	if next == 0 {
		return e, d.epochs[0].start
	}
	return d.epochs[next-1].epoch, d.epochs[next].start
}

// startEpoch notes that this replica leads.
func (d *disk) startEpoch(e ids.LeaderEpoch) {
	if e > d.latestEpoch() {
		d.assign(e, d.end())
	}
}

func (d *disk) appendAsLeader(b record.Batch, e ids.LeaderEpoch) {
	b.SetBaseOffset(d.end())
	b.SetLeaderEpoch(e)
	d.append(b)
}

func (d *disk) append(b record.Batch) {
	d.assign(b.LeaderEpoch(), b.BaseOffset())
	d.batches = append(d.batches, b)
}

// appendAsFollower appends what a leader sent; it must continue the log.
func (d *disk) appendAsFollower(batches []byte) bool {
	for len(batches) > 0 {
		b, rest, err := record.First(batches)
		if err != nil || b.BaseOffset() != d.end() {
			return false
		}
		d.append(b)
		batches = rest
	}
	return true
}

// read returns whole batches from the one that o lies in, the first however large it is.
func (d *disk) read(o ids.Offset, maxBytes int) []byte {
	var out []byte
	for i := max(d.floor(o), 0); o < d.end() && i < len(d.batches); i++ {
		if len(out) > 0 && len(out)+len(d.batches[i]) > maxBytes {
			break
		}
		out = append(out, d.batches[i]...)
	}
	return out
}

// truncateTo removes what is at or behind o, with the batch that it lies in, durably.
func (d *disk) truncateTo(o ids.Offset) {
	if o < d.start {
		d.restartAt(o)
		return
	}
	d.drop(o)
	if d.end() < d.start {
		d.restartAt(min(o, d.start))
		return
	}
	d.durable = d.end()
	d.truncations++
}

func (d *disk) drop(o ids.Offset) {
	for n := len(d.batches); n > 0 && d.batches[n-1].NextOffset() > o; n-- {
		d.last = d.batches[n-1].BaseOffset()
		d.batches = d.batches[: n-1 : n-1]
	}
	for n := len(d.epochs); n > 0 && d.epochs[n-1].start >= d.end(); n-- {
		d.epochs = d.epochs[: n-1 : n-1]
	}
}

func (d *disk) restartAt(o ids.Offset) {
	*d = disk{start: o, last: o, durable: o, highWatermark: o, truncations: d.truncations + 1}
}

// raiseStart deletes what is below o.
func (d *disk) raiseStart(o ids.Offset) {
	if o <= d.start {
		return
	}
	d.start = o
	n := 0
	for n < len(d.batches) && d.batches[n].NextOffset() <= o {
		d.last = d.batches[n].NextOffset()
		n++
	}
	d.batches = d.batches[n:]
	next := sort.Search(len(d.epochs), func(i int) bool { return d.epochs[i].start > o })
	if next > 0 {
		d.epochs = append([]epochStart{{d.epochs[next-1].epoch, o}}, d.epochs[next:]...)
	}
}

// powerCut loses some of what was not synced, and tells whether that was anything.
func (d *disk) powerCut(rng *rand.Rand) bool {
	before := d.end()
	keep := d.durable
	if before > keep && rng.IntN(3) > 0 {
		keep += ids.Offset(rng.Int64N(int64(before-keep) + 1))
	}
	d.reopen(keep)
	return d.end() < before
}

// reopen is what a process finds: the batches below keep, and the epochs that they say.
func (d *disk) reopen(keep ids.Offset) {
	if d.drop(max(keep, d.start)); d.end() < d.start {
		d.restartAt(d.start)
		return
	}
	d.durable = min(d.durable, d.end())
	d.highWatermark = max(d.start, min(d.highWatermark, d.end()))
	first := d.epochs
	d.epochs = nil
	if len(first) > 0 && len(d.batches) > 0 {
		d.assign(first[0].epoch, first[0].start)
	}
	for _, b := range d.batches {
		if b.BaseOffset() >= d.start {
			d.assign(b.LeaderEpoch(), b.BaseOffset())
		}
	}
}

func (d *disk) position(ready bool) partition.Position {
	return partition.Position{End: d.end(), LastEpoch: d.latestEpoch(), Start: d.start, Ready: ready}
}

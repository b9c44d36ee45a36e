package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
)

func (f *fixture) mover() *Mover { return NewMover(f.Table, f.store, slog.New(slog.DiscardHandler)) }

// otherDir is the directory that a partition is not in.
func otherDir(p *partition.Partition) string {
	return map[string]string{"/data": "/more", "/more": "/data"}[p.Log().DataDir()]
}

// TestMoveUnderLoad moves a partition to and fro while producers append and a reader reads: what the reader
// sees is what was acknowledged, in order.
func TestMoveUnderLoad(t *testing.T) {
	f := newFixture(t)
	f.apply(topicOf("t", ids.NewUUID(), self)...)
	p, m := f.partition("t", 0), f.mover()
	const records, moves = 4000, 6
	var load sync.WaitGroup
	load.Go(func() {
		for n := range records {
			b := record.NewBuilder().Append(time.Now().UnixMilli(), nil, fmt.Append(nil, n)).MustBuild()
			if got, err := p.AppendAsLeader(b, partition.AcksAll); err != nil || got.BaseOffset != ids.Offset(n) {
				t.Errorf("append %d: %+v, %v", n, got, err)
				return
			}
		}
	})
	load.Go(func() {
		for next := ids.Offset(0); next < records && !t.Failed(); {
			next = readOn(t, p, next)
		}
	})
	for range moves {
		move(t, m, p)
	}
	load.Wait()
	m.Stop()
}

// move moves a partition to the other directory and returns when it is there.
func move(t *testing.T, m *Mover, p *partition.Partition) {
	t.Helper()
	dir, watch := otherDir(p), partition.NewWatch()
	p.Watch(watch, 0)
	defer p.Unwatch(watch, 0)
	if err := m.Move(p.TopicPartition(), dir); err != nil {
		t.Fatal(err)
	}
	for p.Log().DataDir() != dir {
		<-watch.C
	}
}

func TestMoveIsRefused(t *testing.T) {
	f := newFixture(t)
	f.apply(topicOf("t", ids.NewUUID(), self, self+1)...)
	p, m := f.partition("t", 0), f.mover()
	defer m.Stop()
	put(t, p)
	elsewhere, unknown := p.TopicPartition(), p.TopicPartition()
	elsewhere.Partition, unknown.Topic = 1, "unknown"
	for _, c := range []struct {
		tp   ids.TopicPartition
		dir  string
		want error
	}{
		{p.TopicPartition(), "/nowhere", kerr.LogDirNotFound},
		{elsewhere, "/more", kerr.NotLeaderForPartition},
		{unknown, "/more", kerr.UnknownTopicOrPartition},
		{p.TopicPartition(), p.Log().DataDir(), nil},
	} {
		if err := m.Move(c.tp, c.dir); !errors.Is(err, c.want) {
			t.Errorf("%s to %s: %v, want %v", c.tp, c.dir, err, c.want)
		}
	}
	if p.Log().EndOffset() != 1 || p.Log().Err() != nil {
		t.Errorf("the log ends at %d, %v", p.Log().EndOffset(), p.Log().Err())
	}
}

// TestMoveResumes: what a stop interrupted is begun again, for each partition.
func TestMoveResumes(t *testing.T) {
	f := newFixture(t)
	id := ids.NewUUID()
	f.apply(topicOf("t", id, self, self)...)
	for n := range int32(2) {
		p := f.partition("t", n)
		put(t, p)
		if m, err := f.store.BeginMove(p.TopicPartition(), otherDir(p)); m == nil || err != nil {
			t.Fatal(m, err)
		}
	}
	from := f.partition("t", 0).Log().DataDir()
	f.restart()
	m := f.mover()
	defer m.Stop()
	p := f.partition("t", 0)
	watch := partition.NewWatch()
	p.Watch(watch, 0)
	m.Resume()
	for p.Log().DataDir() == from {
		<-watch.C
	}
	if p.Log().EndOffset() != 1 {
		t.Errorf("it ends at %d", p.Log().EndOffset())
	}
}

// TestMoveOfADeletedTopic: deleting the topic ends the move, and a new topic of the name is another one.
func TestMoveOfADeletedTopic(t *testing.T) {
	f := newFixture(t)
	for range 20 {
		id := ids.NewUUID()
		f.apply(topicOf("t", id, self)...)
		p, m := f.partition("t", 0), f.mover()
		for range 10 {
			put(t, p)
		}
		if err := m.Move(p.TopicPartition(), otherDir(p)); err != nil {
			t.Fatal(err)
		}
		f.apply(&metadata.RemoveTopicRecord{TopicID: id})
		again := ids.NewUUID()
		f.apply(topicOf("t", again, self)...)
		p = f.partition("t", 0)
		put(t, p)
		m.Stop()
		if l := p.Log(); l.EndOffset() != 1 || l.Err() != nil || l.TopicID() != again || f.store.Log(p.TopicPartition()) != l {
			t.Fatalf("the new log ends at %d, %v", l.EndOffset(), l.Err())
		}
		f.apply(&metadata.RemoveTopicRecord{TopicID: again})
	}
}

// readOn reads what there is from next on and returns where to go on.
func readOn(t *testing.T, p *partition.Partition, next ids.Offset) ids.Offset {
	res, err := p.Read(&partition.FetchRequest{From: next, CurrentEpoch: ids.NoLeaderEpoch, LastFetchedEpoch: ids.NoLeaderEpoch, MaxBytes: 1 << 16, AtLeastOne: true})
	if err != nil {
		t.Errorf("read at %d: %v", next, err)
		return next
	}
	defer res.Slice.Release()
	buf := make([]byte, res.Slice.Len())
	if _, err := res.Slice.ReadInto(buf); err != nil && len(buf) > 0 {
		t.Errorf("read at %d: %v", next, err)
	}
	for rest := buf; len(rest) > 0; {
		var b record.Batch
		if b, rest, err = record.First(rest); err != nil {
			t.Errorf("read at %d: %v", next, err)
			return next
		}
		for r := range b.Records() {
			if r.Offset != next || string(r.Value) != fmt.Sprint(next) {
				t.Errorf("offset %d holds %q, want %d", r.Offset, r.Value, next)
			}
			next = r.Offset + 1
		}
	}
	return next
}

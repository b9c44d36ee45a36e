package log

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// movedTo moves a partition and returns its new log.
func movedTo(t *testing.T, s *Store, tp ids.TopicPartition, dir string) *Log {
	t.Helper()
	m := begunMove(t, s, tp, dir)
	for caughtUp := false; !caughtUp; {
		var err error
		if caughtUp, err = m.Copy(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := m.Switch()
	if err == nil {
		err = m.Finish()
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func begunMove(t *testing.T, s *Store, tp ids.TopicPartition, dir string) *Move {
	t.Helper()
	m, err := s.BeginMove(tp, dir)
	if err != nil || m == nil {
		t.Fatalf("move to %s: %v, %v", dir, m, err)
	}
	return m
}

// whereIs returns the directories that have something of a partition: dir/name.
func whereIs(t *testing.T, s *Store, tp ids.TopicPartition) []string {
	t.Helper()
	var found []string
	for _, d := range s.dirs {
		names, err := s.cfg.FS.List(d.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if strings.HasPrefix(n, tp.String()) {
				found = append(found, filepath.Join(d.path, n))
			}
		}
	}
	return found
}

func idempotentBatch(seq int32, value string) record.Batch {
	b := record.NewBuilder()
	b.Append(1, nil, []byte(value))
	b.ProducerID, b.ProducerEpoch, b.BaseSequence = 42, 3, seq
	return b.MustBuild()
}

// TestMoveKeepsWhatTheLogKnows: records, where it starts, leader epochs, producers, across both kinds of stop.
func TestMoveKeepsWhatTheLogKnows(t *testing.T) {
	eachStoreFS(t, func(t *testing.T, fsys vfs.FS, root string) {
		a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
		cfg := storeConfig(fsys, a, b)
		cfg.Config = func(string) Config { return crashLogConfig() }
		s, tp := openedStore(t, cfg), partition("t", 0)
		l, err := s.Create(tp, testTopicID("t"), crashLogConfig())
		if err != nil {
			t.Fatal(err)
		}
		for n := range 40 {
			appendValues(t, l, fmt.Sprint(n, strings.Repeat(".", 100)))
		}
		if _, err := l.AppendAsLeader(idempotentBatch(0, "from a producer"), 5); err != nil {
			t.Fatal(err)
		}
		l.StartEpoch(9)
		l.SetHighWatermark(l.EndOffset())
		if err := l.AdvanceStart(17); err != nil {
			t.Fatal(err)
		}
		want := contentOf(l)
		l = movedTo(t, s, tp, b)
		check := func(when string, l *Log) {
			t.Helper()
			if got := contentOf(l); got != want || l.DataDir() != b || l.HighWatermark() != l.EndOffset() {
				t.Errorf("%s: in %s up to %d\n%s\nwant\n%s", when, l.DataDir(), l.HighWatermark(), got, want)
			}
			if e, o := l.EndOffsetForEpoch(5); e != 5 || o != 41 {
				t.Errorf("%s: epoch 5 is %d and ends at %d", when, e, o)
			}
			if got := l.ActiveProducers(); len(got) != 1 || got[0].ID != 42 {
				t.Errorf("%s: producers %+v", when, got)
			}
		}
		check("moved", l)
		if l.LatestEpoch() != 9 {
			t.Errorf("the latest epoch is %d", l.LatestEpoch())
		}
		dup, err := l.AppendAsLeader(idempotentBatch(0, "from a producer"), 9)
		if err != nil || !dup.Duplicate || dup.BaseOffset != 40 {
			t.Errorf("a retry is %+v, %v", dup, err)
		}
		s.removeDue(testLongAfter)
		if got := whereIs(t, s, tp); !slices.Equal(got, []string{filepath.Join(b, "t-0")}) {
			t.Errorf("it is in %v", got)
		}
		closedStore(t, s)
		s = openedStore(t, cfg)
		check("after a clean stop", s.Log(tp))
		killed(s)
		s = openedStore(t, cfg)
		check("after a kill", s.Log(tp))
		back := movedTo(t, s, tp, a)
		if got := contentOf(back); got != want || back.DataDir() != a {
			t.Errorf("moved back to %s:\n%s", back.DataDir(), got)
		}
		closedStore(t, s)
	})
}

// TestMoveFollowsAppends: what is appended while the copy is made is in it.
func TestMoveFollowsAppends(t *testing.T) {
	s, tp := openedStore(t, crashConfig(vfs.NewMem())), partition("t", 0)
	l := createdLog(t, s, tp)
	appendValues(t, l, "before")
	m := begunMove(t, s, tp, "/b")
	for n := range 5 {
		if caughtUp, err := m.Copy(); err != nil || !caughtUp {
			t.Fatalf("copy %d: %t, %v", n, caughtUp, err)
		}
		appendValues(t, l, fmt.Sprint("during ", n))
	}
	if got := s.Moves(); len(got) != 1 || got[0].Dir != "/b" || got[0].OffsetLag != 1 || got[0].SizeBytes == 0 {
		t.Errorf("moves: %+v", got)
	}
	moved, err := m.Switch()
	if err != nil {
		t.Fatal(err)
	}
	if l.Err() != nil {
		t.Errorf("the former log ended before Finish: %v", l.Err())
	}
	appendValues(t, moved, "after")
	if err := m.Finish(); err != nil {
		t.Fatal(err)
	}
	wantValues(t, moved, "before", "during 0", "during 1", "during 2", "during 3", "during 4", "after")
	if s.Log(tp) != moved || len(s.Moves()) != 0 || l.Err() == nil {
		t.Errorf("log %p, want %p; moves %v; former %v", s.Log(tp), moved, s.Moves(), l.Err())
	}
	closedStore(t, s)
}

// TestFinishHoldsNoLogUp: a checkpoint of the former directory that began before the switch may still ask the
// former log for its recovery point. Finish, which waits for it, must not keep it from that.
func TestFinishHoldsNoLogUp(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	s, tp := openedStore(t, crashConfig(fault)), partition("t", 0)
	l := createdLog(t, s, tp)
	appendValues(t, l, "here")
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := s.dirs[0].writeCheckpoints(); err != nil {
		t.Fatal(err)
	}
	written := 0
	fault.SetHook(func(e vfs.Event) {
		if e.Op != vfs.OpRename || e.Name != "/a/"+recoveryPointCheckpoint+vfs.TmpSuffix {
			return
		}
		written++
		for name, lock := range map[string]*sync.Mutex{"cleaning": &l.cleaning, "syncing": &l.syncing.Mutex, "checkpointing": &l.checkpointing, "mu": &l.mu.Mutex} {
			if !lock.TryLock() {
				t.Errorf("a checkpoint is written with %s of the former log held", name)
				continue
			}
			lock.Unlock()
		}
	})
	movedTo(t, s, tp, "/b")
	if written == 0 {
		t.Error("no checkpoint was written")
	}
	fault.SetHook(nil)
	closedStore(t, s)
}

// TestMoveOfAnEmptyLog moves logs that have no record, with and without a directory.
func TestMoveOfAnEmptyLog(t *testing.T) {
	for _, start := range []ids.Offset{0, 7} {
		cfg := crashConfig(vfs.NewMem())
		s, tp := openedStore(t, cfg), partition("t", 0)
		l := createdLog(t, s, tp)
		for range start {
			appendValues(t, l, "deleted")
		}
		if err := l.AdvanceStart(start); err != nil {
			t.Fatal(err)
		}
		l = movedTo(t, s, tp, "/b")
		if l.StartOffset() != start || l.EndOffset() != start {
			t.Errorf("from %d to %d, want both %d", l.StartOffset(), l.EndOffset(), start)
		}
		appendValues(t, l, "first")
		closedStore(t, s)
		s = openedStore(t, cfg)
		wantValues(t, s.Log(tp), "first")
		if got := s.Log(tp); got.DataDir() != "/b" || got.StartOffset() != start || got.TopicID() != testTopicID("t") {
			t.Errorf("opened again in %s at %d, topic id %s", got.DataDir(), got.StartOffset(), got.TopicID())
		}
		closedStore(t, s)
	}
}

// TestMoveIsRefused leaves the log alone.
func TestMoveIsRefused(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	s, tp := openedStore(t, crashConfig(fault)), partition("t", 0)
	l := createdLog(t, s, tp)
	appendValues(t, l, "here")
	for _, c := range []struct {
		tp   ids.TopicPartition
		dir  string
		want error
	}{
		{tp, "/c", kerr.LogDirNotFound},
		{tp, "b", kerr.LogDirNotFound},
		{partition("t", 1), "/b", ErrUnknownPartition},
	} {
		if m, err := s.BeginMove(c.tp, c.dir); m != nil || !errors.Is(err, c.want) {
			t.Errorf("%s to %s: %v, want %v", c.tp, c.dir, err, c.want)
		}
	}
	if m, err := s.BeginMove(tp, "/a"); m != nil || err != nil {
		t.Errorf("to where it is: %v, %v", m, err)
	}
	s.dirs[1].fail(errors.New("burnt"))
	if m, err := s.BeginMove(tp, "/b"); m != nil || !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("to a directory that is offline: %v", err)
	}
	wantValues(t, l, "here")
	closedStore(t, s)
}

// TestMoveEnds: called off by another, by a deletion, and by a disk that fails; nothing of the copy stays.
func TestMoveEnds(t *testing.T) {
	for name, end := range map[string]func(s *Store, tp ids.TopicPartition) error{
		"called off": func(s *Store, tp ids.TopicPartition) error { _, err := s.BeginMove(tp, "/a"); return err },
		"deleted":    func(s *Store, tp ids.TopicPartition) error { return s.Delete(tp) },
	} {
		t.Run(name, func(t *testing.T) {
			s, tp := openedStore(t, crashConfig(vfs.NewMem())), partition("t", 0)
			appendValues(t, createdLog(t, s, tp), "here")
			m := begunMove(t, s, tp, "/b")
			if _, err := m.Copy(); err != nil {
				t.Fatal(err)
			}
			if again, err := s.BeginMove(tp, "/b"); again != nil || err != nil {
				t.Errorf("asked for twice: %v, %v", again, err)
			}
			if err := end(s, tp); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Copy(); !errors.Is(err, ErrMoveEnded) {
				t.Errorf("Copy: %v", err)
			}
			if _, err := m.Switch(); !errors.Is(err, ErrMoveEnded) {
				t.Errorf("Switch: %v", err)
			}
			s.removeDue(testLongAfter)
			if got := whereIs(t, s, tp); slices.ContainsFunc(got, func(n string) bool { return n != "/a/t-0" }) || len(s.Moves()) != 0 {
				t.Errorf("left: %v, %v", got, s.Moves())
			}
			closedStore(t, s)
		})
	}
}

// TestMoveToADiskThatFails: before the copy has its name the log stays where it is and goes on. After that it is
// offline, for at the next start the copy would be the one to keep.
func TestMoveToADiskThatFails(t *testing.T) {
	for fails := 1; ; fails++ {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem)
		s, tp := openedStore(t, crashConfig(fault)), partition("t", 0)
		l := createdLog(t, s, tp)
		appendValues(t, l, "one", "two")
		m := begunMove(t, s, tp, "/b")
		n := 0
		fault.SetHook(func(e vfs.Event) {
			if strings.HasPrefix(e.Name, "/b") {
				if n++; n == fails {
					for _, path := range []string{"/b", "/b/*", "/b/*/*"} {
						fault.Inject(vfs.Rule{Path: path, Err: errors.New("burnt")})
					}
				}
			}
		})
		_, copyErr := m.Copy()
		moved, err := m.Switch()
		fault.SetHook(nil)
		if n < fails {
			killed(s)
			return
		}
		t.Logf("failing at change %d: %v, %v", fails, copyErr, err)
		at := s.Log(tp)
		if err != nil {
			if at != l || l.Err() != nil {
				t.Fatalf("fails at change %d: log %p, want %p; %v", fails, at, l, l.Err())
			}
			appendValues(t, l, "three")
		} else if at != moved {
			t.Fatalf("fails at change %d: log %p, want %p", fails, at, moved)
		}
		killed(s)
		after := openedStore(t, crashConfig(mem))
		want := []string{"one", "two"}
		if err != nil {
			want = append(want, "three")
		}
		wantValues(t, after.Log(tp), want...)
		killed(after)
	}
}

// TestMoveGoesOn: a stop throws the copy away and tells that the partition was being moved.
func TestMoveGoesOn(t *testing.T) {
	for name, stop := range map[string]func(*testing.T, *Store){
		"closed": func(t *testing.T, s *Store) { closedStore(t, s) },
		"killed": func(_ *testing.T, s *Store) { killed(s) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := crashConfig(vfs.NewMem())
			s, tp := openedStore(t, cfg), partition("t", 0)
			appendValues(t, createdLog(t, s, tp), "here")
			if _, err := begunMove(t, s, tp, "/b").Copy(); err != nil {
				t.Fatal(err)
			}
			stop(t, s)
			s = openedStore(t, cfg)
			if got := s.Interrupted(); len(got) != 1 || got[tp] != "/b" {
				t.Errorf("interrupted: %v", got)
			}
			if got := whereIs(t, s, tp); !slices.Equal(got, []string{"/a/t-0"}) {
				t.Errorf("it is in %v", got)
			}
			wantValues(t, s.Log(tp), "here")
			closedStore(t, s)
		})
	}
}

package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

const clones = 300 // seeds that a test of what a crash may leave goes through

// outcomes tells which states a crash leaves, over many seeds.
func outcomes(m *Mem, state func(*Mem) string) map[string]int {
	seen := make(map[string]int)
	for seed := range uint64(clones) {
		seen[state(m.CrashClone(SomeUnsynced, seed))]++
	}
	return seen
}

// held returns what a file holds, or "-" where it is missing.
func held(t *testing.T, m *Mem, name string) string {
	t.Helper()
	if _, err := m.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	return get(t, m, name)
}

func wantOutcomes(t *testing.T, got map[string]int, want ...string) {
	t.Helper()
	for _, w := range want {
		if got[w] == 0 {
			t.Errorf("no crash of %d left %q", clones, w)
		}
		delete(got, w)
	}
	for g, n := range got {
		t.Errorf("%d crashes left %q", n, g)
	}
}

func syncFile(t *testing.T, m *Mem, name string) {
	t.Helper()
	f, err := m.OpenReadWrite(name)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	m := NewMem()
	put(t, m, "/f", "hello")
	syncFile(t, m, "/f")
	wantOutcomes(t, outcomes(m, func(c *Mem) string { return held(t, c, "/f") }), "-", "hello")
	must(t, m.SyncDir("/"))
	wantOutcomes(t, outcomes(m, func(c *Mem) string { return held(t, c, "/f") }), "hello")
}

func TestCrashMayLoseBytesOfADurableName(t *testing.T) {
	m := NewMem()
	put(t, m, "/f", "hello")
	must(t, m.SyncDir("/"))
	wantOutcomes(t, outcomes(m, func(c *Mem) string { return held(t, c, "/f") }), "", "hello", "\x00\x00\x00\x00\x00")
}

func TestCrashOfARename(t *testing.T) {
	for _, synced := range []bool{true, false} {
		t.Run(fmt.Sprint("content synced ", synced), func(t *testing.T) {
			m := NewMem()
			put(t, m, "/f", "old")
			must(t, m.SyncFS("/"))
			put(t, m, "/f.tmp", "new")
			if synced {
				syncFile(t, m, "/f.tmp")
			}
			must(t, m.Rename("/f.tmp", "/f"))
			want := []string{"old", "new"}
			if !synced {
				want = append(want, "", "\x00\x00\x00")
			}
			wantOutcomes(t, outcomes(m, func(c *Mem) string { return held(t, c, "/f") }), want...)
			must(t, m.SyncDir("/"))
			wantOutcomes(t, outcomes(m, func(c *Mem) string { return held(t, c, "/f") }), want[1:]...)
		})
	}
}

func TestCrashOrdersChangesOfOneName(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("/d"))
	put(t, m, "/d/f", "first")
	must(t, m.SyncFS("/"))
	must(t, m.Rename("/d", "/d-delete"))
	must(t, m.MkdirAll("/d"))
	put(t, m, "/d/f", "second")
	syncFile(t, m, "/d/f")
	must(t, m.SyncDir("/d"))
	wantOutcomes(t, outcomes(m, func(c *Mem) string {
		return held(t, c, "/d/f") + " " + held(t, c, "/d-delete/f")
	}), "first -", "- first", "second first")
}

func TestCrashOfIndependentNames(t *testing.T) {
	m := NewMem()
	for _, name := range []string{"/a", "/b"} {
		put(t, m, name, "")
	}
	must(t, m.SyncFS("/"))
	must(t, m.Remove("/a"))
	must(t, m.Remove("/b"))
	wantOutcomes(t, outcomes(m, func(c *Mem) string { return held(t, c, "/a") + held(t, c, "/b") }), "", "-", "--")
	got := map[bool]bool{}
	for seed := range uint64(clones) {
		c := m.CrashClone(SomeUnsynced, seed)
		got[held(t, c, "/a") == "-" && held(t, c, "/b") == ""] = true
	}
	if !got[true] {
		t.Error("the first removal never came alone")
	}
}

// TestCrashTearsAndReorders looks at two writes of many sectors: each sector must hold one
// of its versions, and over the seeds there are cuts inside a write and later bytes without earlier.
func TestCrashTearsAndReorders(t *testing.T) {
	m := NewMem()
	put(t, m, "/f", strings.Repeat("0", 8*sectorBytes))
	must(t, m.SyncFS("/"))
	f, err := m.OpenReadWrite("/f")
	must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte("1"), 6*sectorBytes), 0)
	must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte("2"), 6*sectorBytes), 2*sectorBytes)
	must(t, err)
	seen := outcomes(m, func(c *Mem) string {
		text := get(t, c, "/f")
		var sectors []byte
		for i := 0; i < len(text); i += sectorBytes {
			if strings.Trim(text[i:i+sectorBytes], text[i:i+1]) != "" {
				t.Fatal("a sector is torn")
			}
			sectors = append(sectors, text[i])
		}
		return string(sectors)
	})
	torn, reordered := 0, 0
	for s, n := range seen {
		if strings.HasPrefix(s, "01") {
			torn += n
		}
		if s[0] == '0' && strings.Contains(s, "2") {
			reordered += n
		}
		if strings.ContainsAny(s[:2], "2") || strings.ContainsAny(s[6:], "1") {
			t.Errorf("%s holds bytes that were never written there", s)
		}
	}
	if torn == 0 || reordered == 0 || seen["11222222"] == 0 || seen["00000000"] == 0 {
		t.Errorf("torn %d, reordered %d of %v", torn, reordered, seen)
	}
}

func TestCrashMayLoseATruncation(t *testing.T) {
	m := NewMem()
	put(t, m, "/f", "hello world")
	must(t, m.SyncFS("/"))
	f, err := m.OpenReadWrite("/f")
	must(t, err)
	must(t, f.Truncate(5))
	seen := outcomes(m, func(c *Mem) string { return held(t, c, "/f") })
	if seen["hello"] == 0 || seen["hello world"] == 0 {
		t.Fatal(seen)
	}
	must(t, f.Sync())
	wantOutcomes(t, outcomes(m, func(c *Mem) string { return held(t, c, "/f") }), "hello")
}

func TestCrashCloneKeepsAllOrNone(t *testing.T) {
	m := NewMem()
	put(t, m, "/f", "hello")
	must(t, m.SyncFS("/"))
	put(t, m, "/f", "bye")
	put(t, m, "/g", "new")
	for what, want := range map[Unsynced]string{NoUnsynced: "hello -", AllUnsynced: "bye new"} {
		c := m.CrashClone(what, 1)
		if got := held(t, c, "/f") + " " + held(t, c, "/g"); got != want {
			t.Errorf("%v left %q, want %q", what, got, want)
		}
	}
}

func TestCrashCloneIsSeparate(t *testing.T) {
	m := NewMem()
	put(t, m, "/f", "hello")
	must(t, m.SyncFS("/"))
	c := m.CrashClone(NoUnsynced, 1)
	f, err := m.OpenReadWrite("/f")
	must(t, err)
	_, err = f.WriteAt([]byte("J"), 0)
	must(t, err)
	g, err := c.OpenReadWrite("/f")
	must(t, err)
	_, err = g.WriteAt([]byte("y"), 4)
	must(t, err)
	if a, b := get(t, m, "/f"), get(t, c, "/f"); a != "Jello" || b != "helly" {
		t.Fatal(a, b)
	}
	if got := get(t, c.CrashClone(NoUnsynced, 1), "/f"); got != "hello" {
		t.Fatalf("a clone of the clone holds %q", got)
	}
}

func TestCrashCloneIsReplayable(t *testing.T) {
	build := func() *Mem {
		m := NewMem()
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range 30 {
			name := fmt.Sprint("/f", i)
			put(t, m, name, strings.Repeat("x", rng.IntN(5000)))
			if rng.IntN(2) == 0 {
				syncFile(t, m, name)
			}
		}
		return m
	}
	dump := func(m *Mem) (s string) {
		names, err := m.List("/")
		must(t, err)
		for _, n := range names {
			s += n + "=" + get(t, m, n) + "\n"
		}
		return s
	}
	for seed := range uint64(20) {
		if a, b := dump(build().CrashClone(SomeUnsynced, seed)), dump(build().CrashClone(SomeUnsynced, seed)); a != b {
			t.Fatalf("seed %d gave two file systems", seed)
		}
	}
}

// TestDurableFollowsModel does random writes, cuts and syncs and compares the durable bytes with a plain slice.
func TestDurableFollowsModel(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		m := NewMem()
		put(t, m, "/f", "")
		must(t, m.SyncFS("/"))
		f, err := m.OpenReadWrite("/f")
		must(t, err)
		var now, durable []byte
		for range 200 {
			switch rng.IntN(4) {
			case 0, 1:
				off, p := rng.IntN(20000), bytes.Repeat([]byte{byte(1 + rng.IntN(255))}, 1+rng.IntN(9000))
				if end := off + len(p); end > len(now) {
					now = append(now, make([]byte, end-len(now))...)
				}
				copy(now[off:], p)
				_, err = f.WriteAt(p, int64(off))
			case 2:
				size := rng.IntN(30000)
				now = append(now, make([]byte, max(0, size-len(now)))...)[:size:size]
				err = f.Truncate(int64(size))
			case 3:
				durable = append([]byte(nil), now...)
				err = f.Sync()
			}
			must(t, err)
		}
		if get(t, m, "/f") != string(now) {
			t.Fatalf("seed %d: the file differs", seed)
		}
		if get(t, m.CrashClone(NoUnsynced, 0), "/f") != string(durable) {
			t.Fatalf("seed %d: the durable bytes differ", seed)
		}
		if get(t, m.CrashClone(AllUnsynced, 0), "/f") != string(now) {
			t.Fatalf("seed %d: the replayed bytes differ", seed)
		}
	}
}

func TestCapacity(t *testing.T) {
	m := NewMem()
	m.SetCapacity(3 * pageBytes)
	put(t, m, "/reserve", strings.Repeat("r", pageBytes))
	f, err := m.Create("/f")
	must(t, err)
	n, err := f.WriteAt(make([]byte, 3*pageBytes), 100)
	if wantErr(t, err, syscall.ENOSPC); n != 2*pageBytes-100 {
		t.Fatalf("%d bytes fitted", n)
	}
	if free, total, _ := m.Usage("/"); free != 0 || total != 3*pageBytes {
		t.Fatal(free, total)
	}
	_, err = f.WriteAt([]byte("in place"), 0)
	must(t, err)
	must(t, m.Remove("/reserve"))
	_, err = f.WriteAt([]byte("more"), 2*pageBytes)
	must(t, err)
	must(t, m.Remove("/f"))
	if free, _, _ := m.Usage("/"); free != 0 {
		t.Fatal("an open file that was removed has given its room back")
	}
	must(t, f.Close())
	if free, _, _ := m.Usage("/"); free != 3*pageBytes {
		t.Fatal(free)
	}
}

package log

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

func epochs(pairs ...int64) epochCache {
	var c epochCache
	for i := 0; i < len(pairs); i += 2 {
		c.entries = append(c.entries, epochEntry{ids.LeaderEpoch(pairs[i]), ids.Offset(pairs[i+1])})
	}
	return c
}

func TestEpochChanges(t *testing.T) {
	assign := func(e ids.LeaderEpoch, o ids.Offset) func(*epochCache) bool {
		return func(c *epochCache) bool { return c.assign(e, o) }
	}
	fromEnd := func(o ids.Offset) func(*epochCache) bool {
		return func(c *epochCache) bool { return c.truncateFromEnd(o) }
	}
	fromStart := func(o ids.Offset) func(*epochCache) bool {
		return func(c *epochCache) bool { return c.truncateFromStart(o) }
	}
	for _, c := range []struct {
		rule    string
		before  epochCache
		do      func(*epochCache) bool
		changed bool
		after   epochCache
	}{
		{"the first epoch", epochs(), assign(0, 0), true, epochs(0, 0)},
		{"no epoch is not noted", epochs(), assign(-1, 0), false, epochs()},
		{"the same epoch goes on", epochs(1, 10), assign(1, 50), false, epochs(1, 10)},
		{"a new epoch", epochs(1, 10), assign(2, 50), true, epochs(1, 10, 2, 50)},
		{"epochs may be skipped", epochs(1, 10), assign(9, 50), true, epochs(1, 10, 9, 50)},
		{"an epoch without a batch gives way to the next", epochs(1, 10, 2, 50), assign(3, 50), true, epochs(1, 10, 3, 50)},
		{"entries at later offsets give way", epochs(1, 10, 2, 50, 3, 60), assign(4, 20), true, epochs(1, 10, 4, 20)},
		{"entries of later epochs give way", epochs(1, 10, 5, 50), assign(3, 70), true, epochs(1, 10, 3, 70)},
		{"an earlier start of the latest epoch wins", epochs(1, 10, 2, 50), assign(2, 40), true, epochs(1, 10, 2, 40)},
		{"truncated at the end: later starts go", epochs(1, 10, 2, 50), fromEnd(50), true, epochs(1, 10)},
		{"truncated at the end: an earlier start stays", epochs(1, 10, 2, 50), fromEnd(51), false, epochs(1, 10, 2, 50)},
		{"truncated to nothing", epochs(1, 10, 2, 50), fromEnd(0), true, epochs()},
		{"start advanced into an epoch", epochs(1, 10, 2, 50, 3, 60), fromStart(55), true, epochs(2, 55, 3, 60)},
		{"start advanced to where an epoch starts", epochs(1, 10, 2, 50), fromStart(50), true, epochs(2, 50)},
		{"start advanced beyond all", epochs(1, 10, 2, 50), fromStart(99), true, epochs(2, 99)},
		{"start below the first epoch", epochs(1, 10), fromStart(5), false, epochs(1, 10)},
		{"start where it was", epochs(1, 10, 2, 50), fromStart(10), false, epochs(1, 10, 2, 50)},
	} {
		t.Run(c.rule, func(t *testing.T) {
			got := epochCache{slices.Clone(c.before.entries)}
			if changed := c.do(&got); changed != c.changed || !slices.Equal(got.entries, c.after.entries) {
				t.Fatalf("changed %v to %v, want %v to %v", changed, got, c.changed, c.after)
			}
		})
	}
}

func TestEndOffsetForEpoch(t *testing.T) {
	c := epochs(2, 10, 4, 50, 7, 60)
	for _, q := range []struct {
		rule  string
		asked ids.LeaderEpoch
		epoch ids.LeaderEpoch
		end   ids.Offset
	}{
		{"the latest ends with the log", 7, 7, 100},
		{"an earlier one ends where the next starts", 4, 4, 60},
		{"one between is answered with the one below it", 5, 4, 60},
		{"one between, below the second", 3, 2, 50},
		{"one smaller than all keeps its number", 1, 1, 10},
		{"a larger one is unknown", 8, -1, -1},
		{"no epoch is unknown", -1, -1, -1},
	} {
		if e, o := c.endOffsetFor(q.asked, 100); e != q.epoch || o != q.end {
			t.Errorf("%s: epoch %d gives (%d, %d), want (%d, %d)", q.rule, q.asked, e, o, q.epoch, q.end)
		}
	}
	empty := epochs()
	if e, o := empty.endOffsetFor(0, 100); e != -1 || o != -1 {
		t.Errorf("an empty cache answers (%d, %d)", e, o)
	}
	for o, want := range map[ids.Offset]ids.LeaderEpoch{9: -1, 10: 2, 49: 2, 50: 4, 60: 7, 1000: 7} {
		if got := c.epochAt(o); got != want {
			t.Errorf("offset %d is of epoch %d, want %d", o, got, want)
		}
	}
}

func TestEpochCheckpoint(t *testing.T) {
	fsys := vfs.NewMem()
	mustMkdir(t, fsys, "p")
	if c, err := readEpochCache(fsys, "p"); err != nil || c.latest() != ids.NoLeaderEpoch {
		t.Fatal("a missing file is an empty cache:", c, err)
	}
	c := epochs(0, 0, 3, 12)
	if err := c.write(fsys, "p"); err != nil {
		t.Fatal(err)
	}
	if b, _ := readSmallFile(fsys, "p", epochCheckpoint, 1000); string(b) != "0\n2\n0 0\n3 12\n" {
		t.Fatalf("wrote %q", b)
	}
	back, err := readEpochCache(fsys, "p")
	if err != nil || !slices.Equal(back.entries, c.entries) {
		t.Fatal(back, err)
	}
}

func TestDamagedEpochCheckpoints(t *testing.T) {
	for content, complaint := range map[string]string{
		"0\n1\n0\n":            "line 3 is not",
		"0\n1\n-1 0\n":         "line 3 has",
		"0\n1\n0 x\n":          "line 3 has",
		"0\n2\n0 5\n1 5\n":     "line 4 does not rise",
		"0\n2\n1 5\n1 6\n":     "line 4 does not rise",
		"0\n2\n0 0\n":          "says 2 entries and has 1",
		"0\n1000000000\n0 0\n": "says 1000000000 entries",
	} {
		fsys := vfs.NewMem()
		mustMkdir(t, fsys, "p")
		putFile(t, fsys, "p/"+epochCheckpoint, content)
		_, err := readEpochCache(fsys, "p")
		if !errors.Is(err, errDamagedFile) || !strings.Contains(err.Error(), complaint) || !strings.Contains(err.Error(), epochCheckpointAdvice) {
			t.Errorf("%q: %v, want %q and what to do", content, err, complaint)
		}
	}
}

func FuzzEpochCheckpoint(f *testing.F) {
	f.Add([]byte("0\n2\n0 0\n3 12\n"))
	f.Add([]byte("0\n1\n0 0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeEpochCache(b)
		if err != nil {
			return
		}
		back, err := decodeEpochCache(c.encode())
		if err != nil || !slices.Equal(back.entries, c.entries) {
			t.Fatalf("%q: %v, %v", b, c, err)
		}
		var again epochCache
		for _, e := range c.entries {
			if !again.assign(e.epoch, e.start) {
				t.Fatalf("%q: entry %v is no news", b, e)
			}
		}
		if !slices.Equal(again.entries, c.entries) {
			t.Fatalf("%q: assigned one by one it is %v", b, again)
		}
	})
}

//go:build synctests

package whole

import (
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// number is a setting from the environment.
func number(t *testing.T, name string, without int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return without
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s=%s is no number", name, s)
	}
	return n
}

func runSeed(t *testing.T, seed int, opts Options) (o Outcome) {
	t.Helper()
	opts.Loud = os.Getenv("VERBOSE") != ""
	synctest.Test(t, func(*testing.T) { o = Run(uint64(seed), opts) })
	return o
}

// TestSeeds runs worlds and judges them: those of even seeds are of power, the others of faults.
//
//	FIRST=1 SEEDS=2   which
//	MINUTES=5         of virtual time each
func TestSeeds(t *testing.T) {
	minutes := 5
	if testing.Short() {
		minutes = 1
	}
	minutes = number(t, "MINUTES", minutes)
	first := number(t, "FIRST", 1)
	for seed := first; seed < first+number(t, "SEEDS", 2); seed++ {
		began := time.Now()
		o := runSeed(t, seed, Options{Power: seed%2 == 0, Lasts: time.Duration(minutes) * time.Minute})
		if o.Violation != nil {
			t.Errorf("seed %d: %v\n%s", seed, o.Violation, o.Trace)
			continue
		}
		t.Logf("seed %d, %v: %v", seed, time.Since(began).Round(time.Millisecond), &o)
	}
}

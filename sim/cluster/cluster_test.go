package cluster

import (
	"log/slog"
	"os"
	"strconv"
	"testing"
	"testing/cryptotest"
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

func quiet() *slog.Logger {
	if os.Getenv("VERBOSE") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

// TestSeeds runs worlds and judges them.
//
//	FIRST=1 SEEDS=200   which
func TestSeeds(t *testing.T) {
	seeds := 6
	if testing.Short() {
		seeds = 2
	}
	first := number(t, "FIRST", 1)
	for seed := first; seed < first+number(t, "SEEDS", seeds); seed++ {
		cryptotest.SetGlobalRandom(t, uint64(seed))
		o := Run(uint64(seed), quiet())
		if o.Violation != nil {
			t.Errorf("seed %d: %v\n%s", seed, o.Violation, o.Trace)
			continue
		}
		t.Logf("seed %d: %v", seed, &o)
	}
}

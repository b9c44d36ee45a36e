package replication

import (
	"os"
	"strconv"
	"testing"
)

const steps = 20000

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

// TestSeeds runs worlds and judges them.
//
//	FIRST=1 SEEDS=200   which
//	STEPS=5000          how many steps with faults
func TestSeeds(t *testing.T) {
	seeds := 20
	if testing.Short() {
		seeds = 5
	}
	first := number(t, "FIRST", 1)
	for seed := first; seed < first+number(t, "SEEDS", seeds); seed++ {
		o := Run(uint64(seed), number(t, "STEPS", steps))
		if o.Violation != nil {
			t.Errorf("seed %d: %v\n%s", seed, o.Violation, o.Trace)
			continue
		}
		t.Logf("seed %d: %v", seed, &o)
	}
}

// TestASeedIsOneWorld: the same seed comes to the same, to the last event.
func TestASeedIsOneWorld(t *testing.T) {
	one, other := Run(3, steps), Run(3, steps)
	if one.String() != other.String() || one.Trace != other.Trace {
		t.Fatalf("%v\n%v", &one, &other)
	}
}

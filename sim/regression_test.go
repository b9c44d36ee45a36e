package sim

import "testing"

// TestPowerLossRegressions runs seeds that have found something once.
func TestPowerLossRegressions(t *testing.T) {
	for _, c := range []struct {
		found string
		seed  uint64
	}{
		{"an index made again after a crash, torn by the next, and believed below the recovery point", 34},
		{"the same in another partition", 8},
		{"two log directories, a topic made again in the other one", 13},
	} {
		if out := runSeed(t, c.seed, 4, omission{}); out.failure != "" {
			t.Errorf("seed %d, which found %s: %s", c.seed, c.found, out.failure)
		}
		if testing.Short() {
			return
		}
	}
}

package sim

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/moldau/moldau/internal/vfs"
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

func runSeed(t *testing.T, seed uint64, oneIn int, omitted omission) (out outcome) {
	synctest.Test(t, func(*testing.T) { out = powerLoss(seed, oneIn, omitted, quiet()) })
	return out
}

// TestPowerLoss: whenever the power goes, what was acknowledged stays.
//
//	FIRST=1 SEEDS=200   which seeds; every cut of theirs is judged
func TestPowerLoss(t *testing.T) {
	seeds, oneIn := 4, 4
	if testing.Short() {
		seeds, oneIn = 2, 10
	}
	if os.Getenv("SEEDS") != "" {
		oneIn = 1
	}
	first := number(t, "FIRST", 1)
	for seed := first; seed < first+number(t, "SEEDS", seeds); seed++ {
		out := runSeed(t, uint64(seed), oneIn, omission{})
		if out.failure != "" {
			t.Errorf("seed %d: %s", seed, out.failure)
			continue
		}
		t.Logf("seed %d: %d records, %d of %d cuts judged", seed, out.records, out.judged, out.cuts)
	}
}

// TestEverySyncIsNeeded leaves out one sync and has a seed notice.
//
//	OMIT=list    prints the names of the syncs that seeds FIRST to FIRST+SEEDS-1 make
//	OMIT=NAME    leaves that one out until one of these seeds notices
//
// Without OMIT it proves that the suite can notice, by leaving out one that matters.
func TestEverySyncIsNeeded(t *testing.T) {
	first, seeds := number(t, "FIRST", 1), number(t, "SEEDS", 3)
	omit := os.Getenv("OMIT")
	switch omit {
	case "":
		omit = "Sync of PARTITION/*.log"
	case "list":
		listSyncs(t, first, seeds)
		return
	}
	for seed := first; seed < first+seeds; seed++ {
		if out := runSeed(t, uint64(seed), 1, parseOmission(t, omit)); out.failure != "" {
			fmt.Printf("noticed by seed %d: %s: %s\n", seed, omit, out.failure)
			return
		}
	}
	t.Errorf("noticed by none of %d seeds: %s", seeds, omit)
}

func listSyncs(t *testing.T, first, seeds int) {
	t.Helper()
	found := make(map[string]bool)
	for seed := first; seed < first+seeds; seed++ {
		maps.Copy(found, runSeed(t, uint64(seed), math.MaxInt, omission{}).syncs)
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		fmt.Println("sync:", name)
	}
}

func parseOmission(t *testing.T, name string) omission {
	t.Helper()
	p := strings.Split(name, ":")
	if len(p) != 4 {
		return omission{kind: name}
	}
	line, err := strconv.Atoi(p[1])
	if err != nil {
		t.Fatalf("OMIT=%s: %v", name, err)
	}
	return omission{site: vfs.Site{File: p[0], Line: line, Func: p[2], Op: vfs.Op(p[3])}}
}

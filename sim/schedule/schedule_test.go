package schedule

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestAgendaKeepsItsOrder(t *testing.T) {
	var a Agenda[string]
	for _, p := range []struct {
		when int
		what string
	}{{5, "d"}, {1, "a"}, {5, "e"}, {3, "b"}, {3, "c"}} {
		a.Add(p.when, p.what)
	}
	var got []string
	for _, ok := a.Next(); ok; _, ok = a.Next() {
		_, what := a.Take()
		got = append(got, what)
	}
	if want := []string{"a", "b", "c", "d", "e"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestArrivals(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		name        string
		link        Link
		copies      int
		least, most int
	}{
		{"good", Link{Delay: 2, HeldUpTo: 1}, 1, 2, 4},
		{"cut", Link{Cut: true, Delay: 2, HeldUpTo: 1}, 0, 0, 0},
		{"lossy", Link{Lost: 1, Delay: 2, HeldUpTo: 1}, 0, 0, 0},
		{"doubling", Link{Doubled: 1, Delay: 2, HeldUpTo: 1}, 2, 2, 4},
		{"late", Link{Late: 1, Delay: 2, HeldUpTo: 100}, 1, 2, 103},
	} {
		for range 100 {
			after := tt.link.Arrivals(rng)
			if len(after) != tt.copies || len(after) > 0 && (slices.Min(after) < tt.least || slices.Max(after) > tt.most) {
				t.Errorf("%s: %v", tt.name, after)
			}
		}
	}
}

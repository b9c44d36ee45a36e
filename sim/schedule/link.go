package schedule

import "math/rand/v2"

// Link is one direction between two nodes. Times are in the ticks of its world.
type Link struct {
	Cut      bool
	Lost     float64 // share of the messages
	Doubled  float64
	Late     float64 // share that is held up for long, and so overtaken
	Delay    int     // usual
	HeldUpTo int
}

// Arrivals returns after how long a message arrives: never, once or twice.
func (l *Link) Arrivals(rng *rand.Rand) []int {
	copies := 1
	switch {
	case l.Cut || rng.Float64() < l.Lost:
		return nil
	case rng.Float64() < l.Doubled:
		copies = 2
	}
	var after []int
	for range copies {
		t := l.Delay + rng.IntN(l.Delay+1)
		if rng.Float64() < l.Late {
			t += rng.IntN(l.HeldUpTo)
		}
		after = append(after, t)
	}
	return after
}

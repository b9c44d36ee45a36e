package controller

import (
	"slices"
	"time"

	"github.com/moldau/moldau/internal/metadata"
)

// balancedAtOnce bounds the elections of one decision of Balance (Java: MAX_ELECTIONS_PER_IMBALANCE).
const balancedAtOnce = 1000

// Balance elects the preferred replicas, the first ones, where they are in sync and do
// not lead, so that the load goes back to where it was placed once a broker is back. It
// decides once in leader.imbalance.check.interval.seconds; where there is more to do
// than one decision takes, it goes on with the next call.
func (c *Core) Balance(now time.Time) Decision {
	if c.config.BalanceInterval <= 0 || now.Sub(c.balanced) < c.config.BalanceInterval {
		return Decision{}
	}
	var recs []metadata.Record
	for t := range c.pending.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.Leader == p.Replicas[0] || !slices.Contains(p.ISR, p.Replicas[0]) {
				continue
			}
			if len(recs) >= balancedAtOnce {
				return Decision{Why: balance, Records: recs}
			}
			ch := c.change(t, p)
			ch.preferred, ch.unclean = true, false
			recs = ch.appendTo(recs, t, i)
		}
	}
	c.balanced = now
	return Decision{Why: balance, Records: recs}
}

const balance = "the preferred replica is in sync"

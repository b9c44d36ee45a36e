// Package invariant states what must hold whatever happens.
//
// A broken invariant is a bug of this program, never a fault of a client, a
// peer or a disk. Test builds (-tags invariants) panic at the spot; production
// gets the error back and fails what the invariant belongs to, a partition say,
// loudly and alone.
package invariant

import "fmt"

// Violation is the error of a broken invariant.
type Violation struct{ What string }

func (v *Violation) Error() string { return "invariant broken: " + v.What }

// Check returns nil where holds is true. Otherwise it panics in test builds and
// returns a *Violation in others.
func Check(holds bool, format string, args ...any) error {
	if holds {
		return nil
	}
	v := &Violation{What: fmt.Sprintf(format, args...)}
	if Enabled {
		panic(v)
	}
	return v
}

// Package schedule is what the one-goroutine simulators share: an Agenda says what happens when, and a Link what a network does to a
// message. Both are deterministic: whoever owns them gives the random numbers.
//
// Goroutines: none. Locks: none.
package schedule

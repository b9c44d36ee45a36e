//go:build race

package record

// raceEnabled tells whether the race detector is on.
const raceEnabled = true

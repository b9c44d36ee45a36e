//go:build !race

package handler

// raceEnabled tells whether the race detector is on.
const raceEnabled = false

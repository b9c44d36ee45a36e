//go:build !race

package controller

// raceDetector tells whether the race detector slows everything down.
const raceDetector = false

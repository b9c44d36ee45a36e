// Package cli is the command moldau: one file per noun.
//
// The commands that look at topics and records are clients like any other: they speak
// the Kafka protocol through kgo and kadm, to any broker that speaks it. dev, server and
// topic adopt run a broker in this process; they get it as functions in Program, so
// that this package knows no broker.
//
// Data goes to standard output and everything else to standard error. -o json prints
// names that do not change from release to release. The exit status is 0, 1 for an
// error, 2 for a command that was not typed right.
//
// Goroutines: put reports acknowledgements from those of kgo, under records.mu; dev and
// server wait for signals on the caller's. dev --nodes has one goroutine for each process
// that it starts, and one that waits until all are there; what they write shares a mutex,
// a line at a time. Files: dev makes a temporary directory for its data and removes it at
// the end; secret new makes the secret's file.
package cli

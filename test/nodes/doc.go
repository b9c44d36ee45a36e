// Package nodes runs the nodes of a cluster as processes, for the suites that do something to them, and asks them what they
// know through the program's own commands, so that these are tried too.
package nodes

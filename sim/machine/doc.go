// Package machine is what a whole broker in a simulator runs on, in the time of a testing/synctest bubble: connections in memory, and a disk whose
// reserve takes no room.
//
// A Network has hosts, which are names. What runs on a host is a Process: it listens and dials, and ends by a kill, which others learn of at once,
// or with the power, which they learn of once the host is back. Between two hosts each direction has a delay and can be cut: what is on its way
// then, or sent meanwhile, arrives once it is mended, as TCP has it, and nobody is connected. Nothing is lost or reordered within a connection.
//
// Goroutines: none. Locks: Network.mu, a leaf, which guards the connections too: nobody waits with it held, so that time can pass.
package machine

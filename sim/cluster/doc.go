// Package cluster runs the members of a metadata quorum, the code that runs in production, in one
// goroutine over simulated disks, clocks and a simulated network, and judges them after every event.
// It holds no rule of the protocol itself.
//
// First there are faults: members are cut off at any write, sync or rename of their disk, killed and
// started again; disks refuse to sync, fill up, are emptied, swapped and brought back; messages are
// late, lost, doubled, reordered, and cut off one way or both; clocks run at different rates. Clients
// propose at whoever leads, and read. Then everything heals, and what was decided has to reach
// everybody, and something new has to be decided.
//
// The seed decides everything, but for raft's own randomness, which is crypto/rand's: a test has
// testing/cryptotest seed that too. A seed that fails fails again.
//
// Goroutines: none, but those of the logs' group commits, which run while their member waits for
// them. Locks: none.
package cluster

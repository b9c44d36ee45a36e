// Package replication runs the pure cores of replication, partition.Core and replica.Fetcher as they run in production, for a whole
// cluster in one goroutine over simulated disks and a simulated network, and judges them after every event.
//
// Brokers are killed, lose power with what their disks had not synced, and stop in order; they are started again at once or
// late. Messages are late, lost, doubled, reordered and cut off one way or both, those to and from the controller too, so that leaders and
// followers go by old metadata; the controller loses what it has not committed. Leaders delete old records. Then everything heals, and all
// replicas have to become equal and in sync, and acknowledge something new.
//
// The controller is a model of the rules of KIP-497, 841, 903 and 966, behind the interface decider.
//
// The seed decides everything. A seed that fails fails again.
//
// Goroutines: none. Locks: none.
package replication

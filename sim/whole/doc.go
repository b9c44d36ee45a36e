// Package whole runs clusters of three or five whole brokers in a testing/synctest bubble: real handlers, a real quorum, real replication and real
// clients (kgo), over connections in memory and disks that can lose what was not synced, in virtual time.
//
// A world is what one seed has happen to a cluster, for some minutes. Clients write, read, and commit as a group, all the time. In a world of
// faults processes are killed, machines lose their power one at a time (at will where every replica syncs), links are cut in one direction or both,
// disks run full and fail; in a world of power all machines lose their power at the same moment, again and again, some of them in the middle of
// a write or a sync. Between faults everything heals: then each partition has to be written to and read from again within recoveryMax. In the
// end the judge of test/history compares what is there with what was acknowledged, and all replicas have to be the same to the byte. What
// topics of ack.durability=auto and os lose with the power of all machines is counted; it must be the end of a log, and nothing acknowledged since.
//
// The seed decides what happens when, but goroutines run as they like: a seed that failed may have to be run some times before it fails again. It
// prints its last events.
//
// It needs the build tag synctests, which has kgo's locks be such that time can pass while somebody waits for one. With invariants a broken
// invariant of the code ends the run.
//
// Goroutines: one drives the world; one for each life of a broker, and for each client. Locks: world.mu (which process runs on which machine;
// taken by hooks of disks too, so nothing waits with it held) -> machine.Network.mu, the locks of vfs.Mem and vfs.Fault; records.mu and trace.mu, leaves.
package whole

// Package runtime runs the shards of a coordinator: pure state machines, each of which is
// one partition of an internal topic, such as __consumer_offsets.
//
// A request is decided by its shard, which returns records and replies. The runtime appends the
// records to the partition as one batch, replays them into the shard, and lets the replies go when
// the high watermark has passed the last record that the shard had replayed by then: what a client
// is told, reads too, never goes back. A failed append changes nothing: its replies are errors.
//
// A partition that this broker begins to lead is loaded by replaying its log; one that it leads no
// longer is discarded with its shard, and whoever still waits is told NOT_COORDINATOR.
//
// Goroutines: one for each partition while it loads. A shard runs on the goroutine of whoever
// brings the event, one at a time; between events it is a value and at most one timer. Who has nothing else to do
// syncs the log on that goroutine, too, without the lock.
// Locks: life.mu, held for the time of one event and its append, before those of the partition and of
// calls, a leaf; Runtime.mu guards the table and is held with no other. No answer is called under a lock.
// Files: none, but for those of the partitions' logs.
package runtime

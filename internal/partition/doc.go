// Package partition is one partition as this broker has it: who leads it in
// which epoch, how far it is committed, and who waits for more.
//
// Core decides and is pure: leadership, what gates the high watermark, which ISR a leader asks the
// controller for, what a follower makes of its leader's answers, fences.
// Partition is the shell around it: it appends to and reads from the log, takes
// the locks, and tells those who wait, producers through a deferred.Queue and
// fetches through Watch.
//
// A leader counts its followers by their fetches: one that asks from an offset, by a log that does not differ (Divergence), has all below it. The
// high watermark is what every replica has that is in sync or may be by now, and stays while fewer than min.insync.replicas are, so that
// whoever was in sync when an acknowledgement was given has what it promised. sim/replication tries that.
//
// Goroutines: none; callers are connections, the syncer of the log and the
// broker's metadata loop. Locks: Partition.mu (leadership, shared by appends and
// reads) before following and progress, before the queue's and the watchers' own, which
// are leaves. Kafka counterpart: kafka.cluster.Partition and the delayed
// produce and fetch purgatories.
//
// Visible and promised are one thing here. Where `ack.durability` makes an
// acknowledgement wait for a sync, the high watermark waits for it too, so a
// consumer never reads, and never commits past, what a power cut could take back.
package partition

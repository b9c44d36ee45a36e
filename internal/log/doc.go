// Package log keeps the partitions' logs on disk.
//
// A Log is one partition: a list of segments, each a file of record batches with a sparse
// offset index, a time index and, where transactions were aborted, a transaction index. Beside
// them lie the leader epochs, snapshots of the producers' state and the topic id. A Store is
// all logs of a broker in its data directories, with their checkpoints, the group commit and the
// housekeeping. Files and bytes are Apache Kafka's; docs/format has a page for each.
//
// A batch is never decoded here but for its header, and never copied: appending writes the
// caller's bytes with one write, reading answers with a Slice of the file. What an append
// promises is up to the caller: DurableEnd tells what a power cut would leave, the high
// watermark, which the caller moves, what a consumer may see.
//
// Durability. A segment is synced before what follows it, data before names, everything before
// the durable end moves. The recovery point, at most the durable end, is where a crash has the
// check begin: index entries and epochs below it are synced too. Below it damage is never cut
// off (ErrCorruptBelowRecovery); above it the log ends where the first invalid batch begins.
//
// A Move copies a log to another data directory, where it goes on as another Log.
//
// Goroutines: a Log has none. Locks of a Log, in order: syncing, checkpointing, mu, and the
// leaves in indexes, place tables and the file cache. mu is held across the write of an
// append and across what is rare (roll, truncation); no other lock is held across a wait for
// the disk but syncing, which lets a truncation wait for a sync. Reads take leaves alone.
//
// A Store has one goroutine for housekeeping, and each of its directories those of the group
// commit while somebody waits for a sync (at most 16 and one for syncfs). Store.mu guards the table
// of logs and comes after Log.mu: a log that fails its directory holds its own lock, so no lock of
// a log is taken with Store.mu held. Those of group commit, checkpoints and housekeeping are leaves.
//
// A data directory is locked (.lock) by the process that has it open. One whose disk fails goes
// offline with its logs and stays so until the next start; a log whose bytes are damaged below its
// recovery point stays closed, alone, with its lines in the checkpoints.
//
// Kafka counterpart: storage/internals/log (UnifiedLog, LocalLog, LogSegment, LogLoader,
// OffsetIndex, TimeIndex, ProducerStateManager) and LogManager. Left out: compaction, tiering
// and message formats before version 2.
package log

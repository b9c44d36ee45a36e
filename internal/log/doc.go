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
// Compaction reads the dirty part of a log for its keys, then writes the log's sealed segments anew
// without the records that a later one of their key makes worthless, and without tombstones, markers and
// aborted records as KIP-534 has it (compact_plan.go and compact_retain.go decide, compact.go reads and
// writes). The segments that it makes take the place of the old ones while these are being read; after
// a crash it is the old ones or the new one (compact_swap.go). Offsets, batches' ranges and producers'
// sequences stay, so that a log has gaps and empty batches. A Store finds the logs to clean (cleaner.go).
//
// Durability. A segment is synced before what follows it, data before names, everything before
// the durable end moves. The recovery point, at most the durable end, is where a crash has the
// check begin: index entries and epochs below it are synced too. Below it damage is never cut
// off (ErrCorruptBelowRecovery); above it the log ends where the first invalid batch begins.
//
// A Move copies a log to another data directory, where it goes on as another Log; it is not cleaned meanwhile.
//
// Goroutines: a Log has none. Locks of a Log, in order: cleaning, syncing, checkpointing, mu, and the
// leaves in indexes, place tables and the file cache. mu is held across the write of an
// append and across what is rare (roll, truncation, the renaming of segments that were cleaned); no
// other lock is held across a wait for the disk but syncing, which lets a truncation wait for a sync,
// and cleaning, which lets a truncation or a deletion wait until a cleaning has been given up: it asks
// for that first, and the cleaning looks at every batch. Reads take leaves alone.
//
// A Store has one goroutine for housekeeping, each of its directories those of the group
// commit while somebody waits for a sync (at most 16 and one for syncfs), and the cleaner up to
// log.cleaner.threads while a log is to be cleaned, with their buffers. Store.mu guards the table
// of logs and comes after Log.mu: a log that fails its directory holds its own lock, so no lock of
// a log is taken with Store.mu held. Those of group commit, checkpoints and housekeeping are leaves.
//
// A data directory is locked (.lock) by the process that has it open. One whose disk fails goes
// offline with its logs and stays so until the next start; a log whose bytes are damaged below its
// recovery point stays closed, alone, with its lines in the checkpoints.
//
// Kafka counterpart: storage/internals/log (UnifiedLog, LocalLog, LogSegment, LogLoader,
// OffsetIndex, TimeIndex, ProducerStateManager, Cleaner, LogCleanerManager) and LogManager. Left out:
// tiering and message formats before version 2.
package log

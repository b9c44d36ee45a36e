// Package quorum is the shell of the consensus library, go.etcd.io/raft: it keeps what the
// library decides on disk, and applies what is committed to a StateMachine.
//
// One raft entry is one batch with one record of __cluster_metadata-0, in our own log: offset =
// index, from 1; leader epoch = term. Beside the log's files lie quorum-state (term, vote, commit)
// and the newest snapshot of the state machine. docs/format/quorum.md draws them.
//
// Core is pure: proposals go in, Effects come out. Node owns the disk and carries the effects out,
// in this order: entries, synced; then term, vote and commit, synced; then what is committed is
// applied. So the stored commit never lies beyond the durable end of the log, and an applied entry
// never beyond the stored commit. A log that ends below the stored commit, or is damaged
// anywhere but in a tail that a power cut tore, has lost what it promised: the node refuses to
// start, and never votes. A failed sync stops the node for good.
//
// The only voter of its quorum needs no clock: it campaigns at once, and nothing it waits for
// depends on time.
//
// Goroutines: Node.run, from Start to Stop or failure. It alone calls Core, the disk and the
// StateMachine. Locks: Node.mu, a leaf, never held across a call to any of these.
//
// Kafka counterpart: KafkaRaftClient, RaftLog, QuorumStateStore and the snapshots of the raft module.
//
// Left out: peers. Raft messages, a transport, ticks and changes of membership come with the
// second voter.
package quorum

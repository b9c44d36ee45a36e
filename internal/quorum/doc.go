// Package quorum is the shell of the consensus library, go.etcd.io/raft: it keeps what the
// library decides on disk, talks to the other voters, and applies what is committed to a StateMachine.
//
// One raft entry is one batch with one record of __cluster_metadata-0, in our own log: offset =
// index, from 1; leader epoch = term. Beside the log's files lie quorum-state (term, vote, commit),
// quorum-member (what the directory may do in a quorum of several voters) and the newest snapshot of
// the state machine. docs/format/quorum.md draws them.
//
// Core is pure: proposals, messages and ticks go in, Effects come out. Member carries the effects out on
// its disk, in this order: entries, synced; then term, vote and commit, synced; then messages; then what is
// committed is applied. So nobody hears of anything that a power cut could take back, the stored commit
// never lies beyond the durable end of the log, and an applied entry never beyond the stored commit. A log that ends
// below the stored commit, or has lost an entry that had been synced, has lost what it promised: the member refuses to
// start, and never votes. A failed sync ends the member for good.
//
// Who votes is decided by entries as well (Membership). A voter is a node with its directory: form says when an empty
// directory may vote as one of the first quorum, and a directory that came later follows the committed log until the
// leader has admitted it under a new raft id and given it the place of the old one, in one joint change. Every
// message names the cluster, the sender's directory and the raft ids; what does not fit is dropped.
//
// The only voter of its quorum needs no clock: it campaigns at once, and nothing it waits for
// depends on time.
//
// Who has no vote follows the committed log as an Observer: it fetches it from the leader (Node.Fetch, Node.FetchSnapshot). What it
// asks and takes is decided by a pursuit, which is pure; it has no disk.
//
// Goroutines: Member has none, and reads the clock for nothing but the timestamps of batches, so that
// package sim/cluster runs a whole quorum in one goroutine. Node drives a Member in Node.run, from Start to Stop or
// failure: it alone calls Member, the disk (but for Fetch and FetchSnapshot) and the StateMachine. Observer.run does so for an
// Observer. Locks: Node.mu and Observer.mu, leaves, never held across a call to any of these. Network, the Transport over connections between nodes, has the goroutines of its peer.Links and
// Network.mu, a leaf.
//
// Kafka counterpart: KafkaRaftClient, RaftLog, QuorumStateStore, VoterSet and the snapshots of the raft module.
//
// Left out: growing from one voter to three.
package quorum

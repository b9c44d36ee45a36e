// Package group is the group coordinator of one partition of __consumer_offsets as a pure shard:
// classic consumer groups (join, sync, heartbeat, leave, static members: KIP-345, KIP-394, KIP-814) and committed
// offsets (KIP-211, KIP-447). A request and the time go in; records, replies and what is due next come out.
//
// The records are Apache Kafka's, key by key and version by version, so that its tools read them.
//
// Goroutines, locks, files: none.
package group

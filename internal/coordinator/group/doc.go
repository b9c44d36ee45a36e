// Package group is the group coordinator of one partition of __consumer_offsets as a pure shard:
// classic consumer groups (join, sync, heartbeat, leave, static members: KIP-345, KIP-394, KIP-814), groups of the
// consumer protocol (KIP-848, KIP-1082, KIP-1251, KIP-1263), the way from one to the other, and committed offsets (KIP-211,
// KIP-447). A request, the time and the metadata of then go in; records, replies and what is due next come out.
//
// A consumer group has three epochs. The group's grows when members or topics change (consumer_heartbeat.go,
// consumer_leave.go); a target assignment is made for it, of a groupChange, by an assignor (target_assignment.go,
// assignor_*.go); and with its heartbeats each member is taken from what it has to its target (reconcile.go), and so into that epoch.
// Members of the classic protocol are taken along (classic_member.go), and groups move from kind to kind (migrate.go).
//
// The records are Apache Kafka's, key by key and version by version, so that its tools read them.
//
// Goroutines, locks, files: none.
package group

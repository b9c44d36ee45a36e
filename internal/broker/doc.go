// Package broker puts one node together: it opens the data directories, joins the
// metadata quorum, registers, and serves clients.
//
// Every component is made here, started in order and stopped in reverse; no other
// package knows all of them. metadataLog is the one place where committed metadata
// enters: it makes the next Image, has the replica table and then the coordinators follow it, and
// tells the controller. coordinators has the shards of the internal topics' partitions that this node leads.
//
// lifecycle registers the node and sends its heartbeats.
//
// Goroutines: one for each listener, one for heartbeats, and those of the components. Locks: none of its
// own; the current Image is an atomic pointer. Kafka counterpart: KafkaRaftServer,
// BrokerServer, ControllerServer and the metadata publishers.
package broker

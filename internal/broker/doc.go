// Package broker puts one node together: it opens the data directories, joins the
// metadata quorum, registers, and serves clients.
//
// Every component is made here, started in order and stopped in reverse; no other
// package knows all of them. metadataLog is the one place where committed metadata
// enters: it makes the next Image, has the replica table and then the coordinators follow it, and
// tells the controller. coordinators has the shards of the internal topics' partitions that this node leads.
//
// A node is a broker, a controller or both. One that is both and the only voter is its whole cluster. Any other is one of several:
// nodes has its connections with the others, over the listeners of controllers, and looks whether a broker is still there whose
// connection has ended. A controller alone has no partitions, no coordinators and no listener for clients; a broker alone has
// no vote and follows the metadata as an observer. Of brokers, forwarder has the active controller decide, wherever
// that is. lifecycle registers the node, sends its heartbeats, and hands over what it leads before it stops. replication has it
// follow leaders over the inter-broker listener and tell the controller who is in sync; located knows of a partition that another broker has.
//
// Goroutines: one for each listener, one for heartbeats, one for each node that is looked for, one for each request that is forwarded,
// and those of the components. Locks: refusals.mu and nodes.reach, leaves; the current Image is an atomic pointer. Kafka counterpart: KafkaRaftServer,
// BrokerServer, ControllerServer and the metadata publishers.
package broker

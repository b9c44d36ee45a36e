// Package replica is the table of the partitions that this broker has.
//
// Table finds a partition for a request and follows the metadata: for each Delta it
// makes the partitions that this broker now leads, gives the others their new state,
// and deletes what it has no more.
//
// Fetcher is the pure part of following one leader: it builds the fetches, with their sessions, and says what the answers mean.
//
// Mover moves replicas between the data directories of this broker.
//
// Goroutines: of the Table none, Apply belongs to the broker's metadata loop; of the Mover one for each
// directory that something is moved to. Locks: Table.mu and Mover.mu, held over no disk call. Kafka counterpart: kafka.server.ReplicaManager, and
// BrokerMetadataPublisher as far as it concerns logs. Followers are left out until
// there is more than one broker.
package replica

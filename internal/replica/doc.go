// Package replica is the table of the partitions that this broker has, and what keeps them equal to those of other brokers.
//
// Table finds a partition for a request and follows the metadata: for each Delta it
// makes the partitions that this broker now leads or follows, gives the others their new state,
// and deletes what it has no more. The metadata must hold the registration of this very process before it is applied: what an
// earlier process led, it led with records that this one may not have.
//
// Fetchers have the partitions that this broker follows be fetched from their leaders, as the pure Fetcher says for each of these: which
// partitions to ask for, in a session, and what the answers mean. ISRSender carries the changes of in-sync replicas that leaders
// want to the controller.
//
// Assigner tells the controller in which directory this broker has which replica. What becomes of a damaged replica is in damage.go.
//
// Mover moves replicas between the data directories of this broker.
//
// Goroutines: of the Table none, Apply belongs to the broker's metadata loop; of Fetchers one for each leader that something is followed
// from; of the ISRSender and of the Assigner one; of the Mover one for each directory that something is moved to. Locks: Table.mu, ISRSender.mu and
// Mover.mu, held over no disk call; Fetchers.mu before leaderFetch.mu before those of a partition. Kafka counterpart:
// kafka.server.ReplicaManager, ReplicaFetcherManager and AlterPartitionManager, and BrokerMetadataPublisher as far as it concerns logs.
package replica

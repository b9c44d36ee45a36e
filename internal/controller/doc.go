// Package controller decides every change of the cluster's metadata.
//
// Core is the decider: pure, it knows the image that is committed and the one that
// will be once its own decisions in flight are ("pending"), and answers a request
// with a response and the records that make it true. Controller is the shell: it
// batches requests into entries, proposes them to the quorum, and answers once the
// entry is committed and applied on this node.
//
// Goroutines: one, Controller.loop; everything that Core holds belongs to it.
// Locks: Controller.mu guards what the quorum has told and the loop has yet to
// take; deferred.Queue has its own. Both are leaves. Files: none.
//
// Kafka counterpart: QuorumController with its ReplicationControlManager,
// ConfigurationControlManager, ClusterControlManager and ProducerIdControlManager,
// BrokerHeartbeatManager, and the checks of ControllerApis and ConfigAdminManager. Left
// out: moves to other brokers, failed directories, ACLs, quotas.
package controller

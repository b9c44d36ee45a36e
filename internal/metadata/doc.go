// Package metadata is what the cluster knows about itself: topics, partitions,
// brokers, configurations, features and producer id blocks.
//
// A Record is one change and the only thing that is stored; an envelope is the
// records of one decision, the value of one entry of __cluster_metadata-0. An
// Image is the state after an entry; it never changes. A Delta collects records on
// top of an Image and makes the next one, and says what they mean for one broker.
// Everything is pure data: no goroutine, no lock, no file. Images may be shared
// between goroutines freely; a Delta belongs to one.
//
// The bytes are described in docs/format/metadata.md. Kafka counterpart:
// org.apache.kafka.image and the records of the metadata module. Left out: ACLs,
// quotas, SCRAM credentials, delegation tokens and reassignments.
package metadata

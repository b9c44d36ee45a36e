// Package ids names the integers and identifiers that every layer shares.
//
// Every offset that ends a range is exclusive: a log end offset, a high
// watermark and a last stable offset are the *next* offset. Kafka counterpart:
// org.apache.kafka.common.Uuid and TopicPartition.
package ids

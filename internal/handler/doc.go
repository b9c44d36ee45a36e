// Package handler answers the requests of the Kafka protocol, one file an API.
//
// Each file registers its API with the range of versions that it serves;
// ApiVersions and docs/compatibility.md come from that registry. APIs that nodes of the
// cluster ask of each other are registered apart, and served to nodes alone. A handler decodes,
// asks the packages below, and maps what they say to Kafka's error codes; the rules
// themselves live below. Handlers run on the goroutine of their connection and may
// block there, for only Produce overlaps with what follows it.
//
// Goroutines: that of topicCreator, while there are topics to create on demand.
// Locks: fetchSessions.mu (the cache of fetch sessions), then session.mu;
// topicCreator.mu. Kafka counterpart: kafka.server.KafkaApis.
package handler

// Package config is the one table of settings and everything that follows from it.
//
// A setting is one row: its name (Kafka's where Kafka has it), type, unit, default,
// range, whether it can change while the broker runs, and one line that says what it
// does. Reading files, the environment and flags, validation, the answers of
// DescribeConfigs, the rules for altering configs and docs/configuration.md all come
// from these rows.
//
// Broker is the result of reading: an immutable, typed view of what one broker was
// told. With lays dynamic configs over it and returns another; Topic resolves what one
// topic's partitions are told. Precedence is Kafka's: topic, then dynamic of this
// broker, then dynamic of all brokers, then static, then default; inside static flags
// win over the environment, which wins over the file.
//
// Names of Apache Kafka 4.3 that do nothing here yet are accepted and listed in
// Broker.WithoutEffect. Where doing nothing would be a lie about safety or about where
// data is (a security protocol, an authorizer, a policy, tiered storage) the setting is
// refused instead.
//
// Goroutines, locks: none. Files: New reads cluster.secret.file; of all others callers hand over the contents.
//
// Kafka counterpart: AbstractKafkaConfig, ServerLogConfigs, LogConfig, ConfigDef,
// ServerTopicConfigSynonyms, DynamicBrokerConfig, ConfigHelper, KafkaConfigSchema.
package config

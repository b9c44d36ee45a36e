// Package record is Kafka's record batch, version 2: viewed, checked, iterated,
// built and stamped where its bytes lie.
//
// A Batch is a view over bytes that somebody else owns, the frame of a request
// or what was read of a segment; nothing here keeps one or copies one. The page
// docs/format/batch.md draws the bytes.
//
//   - batch.go, attributes.go: the 61 bytes of the header, CRC-32C, stamping.
//   - first.go: splitting a run of batches; the header alone, for scanners.
//   - validate.go: what a producer's batch must fulfil, with Kafka's answers.
//   - stream.go, record.go, lookup.go: the records behind the header, decompressed
//     piece by piece and never beyond a bound (inflate.go and one file a codec).
//   - recompress.go: the codec that a topic wants instead of the producer's.
//   - build.go, compress.go, control.go: making batches and reading control records.
//
// Goroutines: none. Locks: none but the lane for wide zstd windows (zstd.go);
// decoders and their buffers are pooled. Files: none.
//
// Kafka counterparts: DefaultRecordBatch, DefaultRecord, MemoryRecordsBuilder,
// LogValidator, ControlRecordType and EndTransactionMarker. Left out: message
// formats 0 and 1, which Kafka 4 no longer accepts; the rules that need a producer's state or a
// transaction, which are those of package log and of the transaction coordinator.
package record

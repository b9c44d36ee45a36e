// Package wire reads and writes what surrounds and what is hot in the Kafka
// protocol: frames, request and response headers, primitives, and the bodies of
// Produce and Fetch, which are handled in place and without allocating. All other
// bodies are kmsg's.
//
// Everything read is untrusted: a Reader never reads beyond its bytes, never
// allocates by a length that a peer claims, and remembers its first failure.
// Writers append to a caller's slice, so that a pooled buffer is filled once.
//
// Goroutines, locks, files: none.
//
// Kafka counterpart: NetworkReceive, RequestHeader, ResponseHeader, Readable,
// Writable, and the generated ProduceRequestData, ProduceResponseData and
// FetchResponseData.
//
// Left out: reading a frame from a connection, which package server does with its
// own buffers, and all message bodies but those named above.
package wire

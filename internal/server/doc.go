// Package server accepts connections, takes Kafka requests off them and sends the
// answers back in the order of the requests.
//
// Each connection has one goroutine, its reader. It reads frames into pooled chunks,
// serves each request itself through Handler, and sends the answers; no queue and no
// other goroutine stands between a request and its handler. A handler that has to wait
// for replicas or a disk calls Exchange.Later and gives its answer from any goroutine;
// only Produce and OffsetCommit requests overlap like that: any other request starts when
// all earlier ones are answered. Answers that follow each other closely leave in one write: the
// reader sends when no whole further request is buffered.
//
// A connection of another node begins with a hello (package peer), which Peers decides on.
// Its requests are then that node's for as long as it lasts; the handler sees whose. Listeners
// of ServeNodes take nothing else. Nodes have memory and connections of their own, which
// clients cannot use up, and are not closed for being idle; but on a clients' listener a
// connection counts as a client's and takes its hello from the clients' memory.
//
// Bounds: requests and bytes waiting per connection (limits.go), the size of a frame,
// memory of all connections together (memory.go), idle time and time without progress
// (sweep.go), log lines per cause (cause.go). A connection that waits for a request
// holds no buffer.
//
// Goroutines: one per listener in Serve, one reader per connection, one sweeper, and a
// short-lived one that sends answers which were completed by somebody else.
//
// Locks: Server.mu (connections and listeners) and Conn.mu (order of answers) are never
// held together; memory.mu is a leaf and may be taken under Conn.mu. No lock is held
// across a read, a write, or a call of a handler.
//
// Files: none of its own. Slices of log files are sent with sendfile on Linux sockets
// and copied elsewhere.
//
// Kafka counterpart: SocketServer (Acceptor, Processor), Selector, KafkaChannel,
// RequestChannel, MemoryPool.
//
// Left out: TLS and SASL, quotas and throttling.
package server

package runtime

import "time"

// Ticket names a request until its reply. A shard may keep it and reply later, in the effects of
// another event; it replies to each once.
type Ticket uint64

// Shard is the pure state machine of one partition. The runtime calls it with one event
// at a time. It has no clock, lock, goroutine or file; times are what it is given.
type Shard interface {
	// Handle decides a request. The type of req is between the shard and who calls Runtime.Request.
	Handle(t Ticket, req any, now time.Time) Effects
	// Tick does what is due at now, of its own accord.
	Tick(now time.Time) Effects
	// Due returns when Tick wants to be called next; the zero time for never.
	Due() time.Time
	// Replay takes one record of the log, in order: first those that were there when the partition was
	// loaded, then those of each event's effects, once they have been appended. value is nil for a tombstone. The
	// slices are the shard's to keep. timestamp is the record's, in ms. An error says that the record cannot be what a
	// broker wrote; the runtime logs it and goes on, as Apache Kafka does.
	Replay(key, value []byte, timestamp int64) error
	// Loaded is called once, when everything in the log has been replayed, before the first request.
	Loaded(now time.Time) Effects
}

// Effects is what an event wants to have done. The zero value wants nothing.
type Effects struct {
	// Records are appended together, in one batch, or not at all.
	Records []Record
	// Replies go out once everything that the shard has replayed is committed. Where the append
	// failed they go out as its error.
	Replies []Reply
	// Applied, if not nil, changes what is in no record. It is called after the records have been replayed,
	// and not where the append failed.
	Applied func()
}

// Record is one record of an internal topic.
type Record struct {
	Key   []byte
	Value []byte // nil for a tombstone
}

// Reply answers the request of a ticket.
type Reply struct {
	To       Ticket
	Response any
}

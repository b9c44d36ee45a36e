// Package history records what producers sent to a log, what was acknowledged and what was read at the end, and judges
// offline whether an acknowledgement was kept: nothing acknowledged lost, nothing doubled, nothing out of order, nothing
// torn, nothing that nobody sent.
//
// A history is a text file, one event a line, in the order in which the events happened to their producer:
//
//	S producer partition seq          sent (handed to the client)
//	A producer partition seq offset   acknowledged at an offset
//	R partition offset producer seq   read at the end, its content intact
//	T partition offset                read at the end, its content not what any producer writes
//	L partition offset producer seq   given to a reader of everything while things happened, its content intact
//	U partition offset                so too, its content not what any producer writes
//
//	D group partition first last      given to a member of a group
//	C group partition offset          commit acknowledged
//	B group number                    the group's offsets are asked for
//	O group number partition offset   one of the answer
//	E group number                    the answer is whole
//	W key seq / V key seq             value of a key of the compacted topic sent / acknowledged
//	X key seq offset                  read at the end
//	Z number / Y number               deletion of a topic acknowledged / topic listed at the end
//	P who partition ms                an application is told of an acknowledgement, or given records
//	F who text / N who text           an error reaches it / its client tells it something that it need not act on
//
// A producer numbers its records per partition from 0 upwards. Writer has a lock of its own; the rest is pure. There is
// no counterpart in Kafka; the idea is Redpanda's consistency tests.
package history

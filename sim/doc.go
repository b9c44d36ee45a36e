// Package sim runs whole brokers where nothing is real but their code: disks and
// connections in memory, time in a testing/synctest bubble. It injects what the world does
// to them and judges what clients saw.
//
// Power loss: a workload is what the clients of one seed do over some lives of a broker,
// each ended by a stop, a kill or a power cut. The cutter takes the disk as a power cut
// would leave it, before every rename, before and after every sync, at writes drawn at random,
// and right after acknowledgements. A broker is started on each, and the judge compares what it
// shows with the history of what was asked for before the cut and what was acknowledged.
// A sync of the code can be left out, to see that some cut shows its absence.
//
// The seed decides what clients do and where cuts are; goroutines run as they like, so that
// a seed that failed may have to be run some times before it fails again.
//
// Goroutines: one for each client connection, and those of the brokers. Locks: history.mu,
// cutter.mu and the client's, leaves but for client.writing, which is held while a request is written.
package sim

package server

import "time"

// What one connection may take. The bound over all of them is Config.MemoryBytes.
const (
	// aloneMin is how many requests in a row have to be alone for the next to be taken for it: a client
	// that keeps many in flight has one by itself now and then.
	aloneMin = 2

	// otherRequestBytesMax bounds frames of every API but Produce: decoding junk
	// can take many times the memory of the frame.
	otherRequestBytesMax = 8 << 20
	// waitingRequestsMax and unsentBytesMax stop the reader: so many requests wait
	// for their answers, so many bytes of answers wait for the peer.
	waitingRequestsMax = 64
	unsentBytesMax     = 8 << 20
	// flushBytes is how much is gathered before it is sent although further requests are buffered.
	flushBytes = 64 << 10
	// mergeBytesMax is the largest answer that is copied behind the one before it;
	// larger ones are sent from where they were encoded.
	mergeBytesMax = 16 << 10
	// sendfileBytesMin is where sendfile begins to be cheaper than reading a slice and
	// sending it together with what surrounds it.
	sendfileBytesMin = 16 << 10
	// stashBytesMax is the largest beginning of a frame that is moved out of a chunk
	// while its rest is awaited.
	stashBytesMax = 4 << 10

	// nodeMemoryBytes is what MemoryBytes is to clients: they cannot keep nodes waiting, nor nodes them.
	nodeMemoryBytes = 64 << 20
	// nodeConnectionsMax bounds the connections to listeners that are for nodes alone, those included on which no hello
	// has come yet. handshakeTimeout is what the first frame and the rest of a handshake may take.
	nodeConnectionsMax = 1000
	handshakeTimeout   = 5 * time.Second

	// stallTimeout closes a connection on which a begun frame or answer makes no
	// progress; pressedStallTimeout holds for frames while others wait for memory.
	stallTimeout        = 30 * time.Second
	pressedStallTimeout = 5 * time.Second
	sweepInterval       = time.Second
)

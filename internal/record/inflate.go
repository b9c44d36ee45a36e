package record

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
)

// How much a compressed batch may grow. Every bound is checked while decompressing,
// so that a batch beyond it costs the work and the memory of the bound at most.
const (
	// inflateRoomyBytes may come out of any batch however small: one message of
	// zeros compresses ten-thousandfold.
	inflateRoomyBytes = 16 << 20

	// inflateRoomyFactor widens that for topics of large messages: it counts
	// max.message.bytes.
	inflateRoomyFactor = 16

	// inflateRatio is what bytes that were sent earn: real data does not compress a
	// thousandfold, bombs do.
	inflateRatio = 1024

	// inflateCapFactor bounds what a large batch earns by its size, as a multiple of the
	// roomy bound: 128 MiB where max.message.bytes is the default.
	inflateCapFactor = 8

	// inflateStoredBytes bounds the records of a batch that is in the log already, maybe
	// since another configuration or since Apache Kafka, which has no bound, wrote it. Readers
	// take it in pieces, so that it bounds work, not memory.
	inflateStoredBytes = math.MaxInt32
)

// inflateLimit returns how many bytes a producer's batch of compressedBytes may become.
func inflateLimit(compressedBytes int, maxMessageBytes int32) int64 {
	roomy := max(int64(inflateRoomyBytes), inflateRoomyFactor*int64(maxMessageBytes))
	return max(roomy, min(inflateRatio*int64(compressedBytes), inflateCapFactor*roomy))
}

var (
	// errInflates says that a batch became larger than its bound.
	errInflates = errors.New("decompresses to too many bytes")

	// errCodec says that the attributes name a codec which there is not.
	errCodec = errors.New("unknown compression codec")

	// errCompressed says that the payload is not what its codec makes.
	errCompressed = errors.New("the compressed records are damaged")
)

// inflater decompresses one payload piece by piece.
type inflater interface {
	// next returns the next piece, which may be empty, or io.EOF after the last one.
	// A piece is valid until the next call.
	next() ([]byte, error)

	// release gives the inflater back to its pool. It and its pieces are not to be
	// used any more.
	release()
}

// newInflater starts to decompress payload. No more than limit bytes are of interest:
// an inflater that would need memory for more refuses with errInflates. Whoever
// calls counts the bytes of the pieces against limit.
func newInflater(c Codec, payload []byte, limit int64) (inflater, error) {
	switch c {
	case Gzip:
		return newGzipInflater(payload)
	case Snappy:
		return newSnappyInflater(payload, limit)
	case LZ4:
		return newLZ4Inflater(payload)
	case Zstd:
		return newZstdInflater(payload, limit)
	default:
		return nil, fmt.Errorf("%w %d", errCodec, int8(c))
	}
}

// piecePools hold the buffers that pieces are decompressed into, one pool for each
// power of two from 64 KiB to 4 MiB, the block sizes of lz4. Larger buffers are left
// to the collector.
var piecePools [pieceClasses]sync.Pool

const (
	pieceMinBytes = 64 << 10
	pieceClasses  = 7
	pieceMaxBytes = pieceMinBytes << (pieceClasses - 1)
)

// piece is a pooled buffer.
type piece struct {
	buf   []byte // full length: the class's size
	class int    // of piecePools; -1 where it is larger than they hold
}

// getPiece returns a buffer of at least n bytes.
func getPiece(n int) *piece {
	size := pieceMinBytes
	for class := range pieceClasses {
		if n <= size {
			if p, ok := piecePools[class].Get().(*piece); ok {
				return p
			}
			return &piece{make([]byte, size), class}
		}
		size <<= 1
	}
	return &piece{make([]byte, n), -1}
}

func putPiece(p *piece) {
	if p != nil && p.class >= 0 {
		piecePools[p.class].Put(p)
	}
}

// inflating has a place for each batch that is validated while compressed, as many as
// there are processors: more at once would be no faster and hold more buffers.
var inflating = make(chan struct{}, runtime.GOMAXPROCS(0))

// startInflating waits for a place to decompress a producer's payload in. What it returns
// is for stopInflating.
func startInflating(c Codec, payload []byte) (wide bool) {
	if wide = c == Zstd && needsWideZstd(payload); wide {
		wideZstd.Lock()
	}
	inflating <- struct{}{}
	return wide
}

func stopInflating(wide bool) {
	<-inflating
	if wide {
		wideZstd.Unlock()
	}
}

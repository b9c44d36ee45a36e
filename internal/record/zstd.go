package record

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A zstd payload takes one of three lanes, by what it needs.
//
//   - Whole: it fits one pooled piece. That is nearly every batch, and the cheapest way.
//   - Stream: it is larger, so it is taken block by block through a window.
//   - Wide: as stream, but it asks for a window above zstdWindowBytes, up to the 128 MiB
//     that Java's reader grants, and producers at the highest levels ask for that whatever they
//     send. The memory is taken before the first byte comes out, so only one such
//     batch is validated at a time (wideZstd).
const (
	zstdWindowBytes     = 8 << 20
	zstdWideWindowBytes = 128 << 20
)

// wideZstd serializes the validation of batches in the wide lane. It guards memory, not
// data, and nothing waits for anything while holding it.
var wideZstd sync.Mutex

// zstdWhole decompresses what fits the destination's capacity, at most as many payloads at
// once as there are processors. It holds a channel and so is made with the program: one made
// in a synctest bubble could not be used outside of it. That is also why the decoders of the
// other lanes are not pooled.
var zstdWhole = mustZstd(zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(zstdWideWindowBytes))

func mustZstd(options ...zstd.DOption) *zstd.Decoder {
	d, err := zstd.NewReader(nil, options...)
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}

var zstdInflaters = sync.Pool{New: func() any { return new(zstdInflater) }}

type zstdInflater struct {
	whole  []byte // decompressed in one go, not yet handed out
	out    *piece // what whole lies in, or what the stream is read into
	src    bytes.Reader
	stream *zstd.Decoder // nil in the whole lane
}

func newZstdInflater(payload []byte, limit int64) (inflater, error) {
	z := zstdInflaters.Get().(*zstdInflater)
	z.out = getPiece(min(pieceMaxBytes, int(limit), expectZstd(payload)))
	if err := z.open(payload); err != nil {
		z.release()
		return nil, fmt.Errorf("%w: zstd: %w", errCompressed, err)
	}
	return z, nil
}

// expectZstd guesses how many bytes come out of payload: what its first frame says, which
// nobody has checked, or eight times what went in.
func expectZstd(payload []byte) int {
	var h zstd.Header
	if err := h.Decode(payload); err == nil && h.HasFCS {
		return int(min(h.FrameContentSize, pieceMaxBytes))
	}
	return max(pieceMinBytes, 8*len(payload))
}

func (z *zstdInflater) open(payload []byte) (err error) {
	z.whole, err = zstdWhole.DecodeAll(payload, z.out.buf[:0])
	if err == nil {
		return nil
	}
	// Where the destination ends inside a block the decoder blames the block, so that only
	// the stream knows whether the payload is damaged or just large.
	z.whole = nil
	windowBytes := uint64(zstdWindowBytes)
	if needsWideZstd(payload) {
		windowBytes = zstdWideWindowBytes
	}
	z.src.Reset(payload)
	z.stream, err = zstd.NewReader(&z.src, zstd.WithDecoderConcurrency(1), zstd.WithDecodeBuffersBelow(0), zstd.WithDecoderMaxWindow(windowBytes))
	return err
}

// needsWideZstd tells whether the first frame asks for a window of the wide lane. That of
// a later frame is refused in the stream lane: nobody makes such batches.
func needsWideZstd(payload []byte) bool {
	var h zstd.Header
	if err := h.Decode(payload); err != nil {
		return false
	}
	return h.WindowSize > zstdWindowBytes || h.SingleSegment && h.FrameContentSize > zstdWindowBytes
}

func (z *zstdInflater) next() ([]byte, error) {
	if z.stream == nil {
		p := z.whole
		z.whole = nil
		if len(p) == 0 {
			return nil, io.EOF
		}
		return p, nil
	}
	n, err := z.stream.Read(z.out.buf)
	if n > 0 || err == nil {
		return z.out.buf[:n], nil // an error comes again
	}
	if err == io.EOF {
		return nil, io.EOF
	}
	return nil, fmt.Errorf("%w: zstd: %w", errCompressed, err)
}

func (z *zstdInflater) release() {
	putPiece(z.out)
	z.src.Reset(nil)
	if z.stream != nil {
		z.stream.Close()
	}
	*z = zstdInflater{}
	zstdInflaters.Put(z)
}

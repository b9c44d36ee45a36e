package record

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

var gzipInflaters = sync.Pool{New: func() any { return new(gzipInflater) }}

type gzipInflater struct {
	src bytes.Reader
	z   gzip.Reader
	out *piece
}

func newGzipInflater(payload []byte) (inflater, error) {
	g := gzipInflaters.Get().(*gzipInflater)
	g.src.Reset(payload)
	g.out = getPiece(pieceMinBytes)
	if err := g.member(); err != nil {
		g.release()
		return nil, fmt.Errorf("%w: gzip: %w", errCompressed, noEOF(err))
	}
	return g, nil
}

// member starts on the next of the gzip members that a payload may be made of.
func (g *gzipInflater) member() error {
	if err := g.z.Reset(&g.src); err != nil {
		return err
	}
	g.z.Multistream(false)
	return nil
}

func (g *gzipInflater) next() ([]byte, error) {
	n, err := g.z.Read(g.out.buf)
	if n > 0 || err == nil {
		return g.out.buf[:n], nil // an error comes again
	}
	if err != io.EOF {
		return nil, fmt.Errorf("%w: gzip: %w", errCompressed, err)
	}
	// What follows a member and is none is ignored, as Java ignores it.
	if g.src.Len() == 0 || g.member() != nil {
		return nil, io.EOF
	}
	return nil, nil
}

func (g *gzipInflater) release() {
	putPiece(g.out)
	g.out = nil
	g.src.Reset(nil)
	gzipInflaters.Put(g)
}

// noEOF makes the end of the input an error that no caller takes for the end of the output.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

package log

import (
	"fmt"
	"io"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// Slice is a run of whole batches in one segment's file. It keeps the file open, whatever
// retention does meanwhile, until Release. It is a value; the copies share one reference.
// The zero Slice is empty and needs no Release.
type Slice struct {
	file     *fileHandle
	position int64
	bytes    int
	next     ids.Offset
}

// Len returns the number of bytes.
func (s Slice) Len() int { return s.bytes }

// NextOffset returns the offset at which the next read goes on; only for a slice that is not empty.
func (s Slice) NextOffset() ids.Offset { return s.next }

// Release gives the file back. It must be called once for a slice that is not empty.
func (s Slice) Release() {
	if s.file != nil {
		s.file.release()
	}
}

// ReadInto reads the slice's bytes from its beginning into dst and returns how many, the smaller of Len and len(dst).
func (s Slice) ReadInto(dst []byte) (int, error) { return s.ReadAt(dst[:min(len(dst), s.bytes)], 0) }

// ReadAt implements io.ReaderAt over the slice.
func (s Slice) ReadAt(dst []byte, off int64) (int, error) {
	if off < 0 || off > int64(s.bytes) {
		return 0, fmt.Errorf("reading at %d of a slice of %d bytes: %w", off, s.bytes, io.EOF)
	}
	want := min(int64(len(dst)), int64(s.bytes)-off)
	if want == 0 && len(dst) == 0 {
		return 0, nil
	}
	n := 0
	if want > 0 {
		var err error
		n, err = s.file.ReadAt(dst[:want], s.position+off)
		if int64(n) < want {
			return n, fmt.Errorf("reading a segment: %w", shortRead(err))
		}
	}
	if n < len(dst) {
		return n, io.EOF
	}
	return n, nil
}

func shortRead(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// File returns the open file and where in it the slice begins, for sendfile. The file is the
// slice's: it stays open until Release.
func (s Slice) File() (f vfs.File, position int64) {
	if s.file == nil {
		return nil, 0
	}
	return s.file.File, s.position
}

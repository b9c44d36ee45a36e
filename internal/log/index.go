package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/moldau/moldau/internal/vfs"
)

const (
	// indexPendingBytesMax is how much of an active segment's index waits in memory: a write
	// to the index file every some hundred entries instead of one beside each batch.
	indexPendingBytesMax = 2048

	// windowBytes is what a look into an index or over batch headers reads at once.
	windowBytes = 4096
)

// windows are read buffers. They are pooled because what goes through vfs.File escapes.
var windows = sync.Pool{New: func() any { return new([windowBytes]byte) }}

// index is a file of fixed-size entries beside a segment, in the order of the log, so that
// every field of an entry that counts something rises with its number.
//
// Nothing in it is needed for safety: an index only says where to begin to look, what it points
// to is checked against the log, and recovery makes it again. So it is never synced while it
// grows, only when its segment is sealed. It has no unused room at its end, unlike an active
// index of Apache Kafka, which is preallocated.
//
// Appending and cutting need Log.mu; looking up needs no lock of the caller.
type index struct {
	file       cachedFile
	entryBytes int
	suffix     string // of the file's name

	mu struct {
		sync.Mutex        // leaf; guards the two against readers; writers hold Log.mu too
		loaded     bool   // flushed has been taken from the file's size
		flushed    int    // entries in the file
		pending    []byte // the entries after those
		stale      bool   // the file goes on behind its last entry
	}
}

// indexKey reads the field of an entry by which a lookup goes.
type indexKey func(entry []byte) int64

// count returns the number of entries. The index must be loaded.
func (x *index) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.flushed + len(x.mu.pending)/x.entryBytes
}

// open returns the file and learns the number of entries the first time; with create it is made
// where it is missing. Bytes after the last whole entry are not looked at.
func (x *index) open(files *fileCache, s *segment, create bool) (*fileHandle, error) {
	h := x.file.cached()
	if h == nil {
		open := files.fs.OpenExisting
		if create {
			open = files.fs.OpenReadWrite
		}
		f, err := s.openFile(open, x.suffix)
		if err != nil {
			return nil, fmt.Errorf("opening index: %w", err)
		}
		h = files.put(&x.file, f)
	}
	if x.isLoaded() {
		return h, nil
	}
	size, err := h.Size()
	if err != nil {
		h.release()
		return nil, fmt.Errorf("reading index %s: %w", s.path(x.suffix), err)
	}
	x.mu.Lock()
	if !x.mu.loaded {
		x.mu.flushed, x.mu.loaded = int(size)/x.entryBytes, true
	}
	x.mu.Unlock()
	return h, nil
}

// openToRead is open for a lookup: nil where there is nothing in the file, or no file.
func (x *index) openToRead(files *fileCache, s *segment) (*fileHandle, error) {
	x.mu.Lock()
	inFile := !x.mu.loaded || x.mu.flushed > 0
	x.mu.Unlock()
	if !inFile {
		return nil, nil
	}
	h, err := x.open(files, s, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return h, err
}

func (x *index) isLoaded() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.loaded
}

// reset makes the index empty. It has no file before its first flush; where there is one, none of it counts.
func (x *index) reset() {
	x.mu.Lock()
	x.mu.loaded, x.mu.flushed, x.mu.pending, x.mu.stale = true, 0, nil, true
	x.mu.Unlock()
}

// append adds an entry. The caller has made room.
func (x *index) append(entry []byte) {
	x.mu.Lock()
	x.mu.pending = append(x.mu.pending, entry...)
	x.mu.Unlock()
}

// full tells whether the pending entries must be flushed before n more.
func (x *index) full(n int) bool {
	return len(x.mu.pending)+n*x.entryBytes > indexPendingBytesMax // mu not needed: Log.mu is held
}

// flush writes the pending entries and makes the file where it is missing. After an error
// the entries are still pending.
func (x *index) flush(files *fileCache, s *segment) error {
	h, err := x.open(files, s, true)
	if err != nil {
		return err
	}
	defer h.release()
	if len(x.mu.pending) == 0 {
		return nil
	}
	if _, err := h.WriteAt(x.mu.pending, int64(x.mu.flushed*x.entryBytes)); err != nil {
		return fmt.Errorf("writing index %s: %w", s.path(x.suffix), err)
	}
	x.mu.Lock()
	x.mu.flushed += len(x.mu.pending) / x.entryBytes
	x.mu.pending = x.mu.pending[:0]
	x.mu.Unlock()
	return nil
}

// seal flushes, cuts what is no entry off the end of the file and frees the buffer.
func (x *index) seal(files *fileCache, s *segment) error {
	if err := x.flush(files, s); err != nil {
		return err
	}
	h, err := x.open(files, s, true)
	if err != nil {
		return err
	}
	defer h.release()
	x.mu.Lock()
	x.mu.pending, x.mu.stale = nil, false
	want := int64(x.mu.flushed * x.entryBytes)
	x.mu.Unlock()
	if size, err := h.Size(); err != nil || size != want {
		if err == nil {
			err = h.Truncate(want)
		}
		if err != nil {
			return fmt.Errorf("trimming index %s: %w", s.path(x.suffix), err)
		}
	}
	return nil
}

// cut keeps the first n entries. The file is cut at the next flush, by being overwritten, or when it is sealed.
func (x *index) cut(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.mu.stale = x.mu.stale || n < x.mu.flushed
	if n >= x.mu.flushed {
		x.mu.pending = x.mu.pending[:min(len(x.mu.pending), (n-x.mu.flushed)*x.entryBytes)]
		return
	}
	x.mu.flushed, x.mu.pending = n, nil
}

// entry copies entry i to dst, of entryBytes.
func (x *index) entry(f vfs.File, i int, dst []byte) error {
	x.mu.Lock()
	if at := (i - x.mu.flushed) * x.entryBytes; at >= 0 {
		defer x.mu.Unlock()
		if at >= len(x.mu.pending) {
			return io.ErrUnexpectedEOF
		}
		copy(dst, x.mu.pending[at:at+x.entryBytes])
		return nil
	}
	x.mu.Unlock()
	w := windows.Get().(*[windowBytes]byte)
	defer windows.Put(w)
	if err := readFull(f, w[:x.entryBytes], int64(i*x.entryBytes)); err != nil {
		return err
	}
	copy(dst, w[:x.entryBytes])
	return nil
}

// floor finds the last entry whose key is at most target, copies it to dst and returns its
// number, or -1 where there is none. f is what openToRead returned. guess is where the caller expects it.
//
// The entries of a damaged file need not rise: floor then returns some entry whose key is at most
// target, or -1, which is all that a caller may build on.
func (x *index) floor(f *fileHandle, target int64, key indexKey, guess int, dst []byte) (int, error) {
	x.mu.Lock()
	flushed := x.mu.flushed
	if i := floorIn(x.mu.pending, x.entryBytes, target, key); i >= 0 {
		copy(dst, x.mu.pending[i*x.entryBytes:(i+1)*x.entryBytes])
		x.mu.Unlock()
		return flushed + i, nil
	}
	x.mu.Unlock()
	if flushed == 0 || f == nil {
		return -1, nil
	}
	i, err := x.floorInFile(f, flushed, target, key, guess, dst)
	if err == io.ErrUnexpectedEOF {
		return -1, nil // the file has been cut meanwhile
	}
	return i, err
}

// floorInFile looks at one window of the file at a time: around the guess first, then by halves.
func (x *index) floorInFile(f *fileHandle, flushed int, target int64, key indexKey, guess int, dst []byte) (int, error) {
	w := windows.Get().(*[windowBytes]byte)
	defer windows.Put(w)
	perWindow := windowBytes / x.entryBytes
	lo, hi, best := 0, flushed, -1 // the floor is best or in [lo, hi)
	for lo < hi {
		from := max(lo, min(guess-perWindow/2, hi-perWindow))
		n := min(perWindow, hi-from)
		win := w[:n*x.entryBytes]
		if err := readFull(f, win, int64(from*x.entryBytes)); err != nil {
			return -1, err
		}
		i := floorIn(win, x.entryBytes, target, key)
		if i < 0 {
			hi = from
		} else {
			copy(dst, win[i*x.entryBytes:(i+1)*x.entryBytes])
			best, lo = from+i, from+n
			if i < n-1 {
				break
			}
		}
		guess = lo + (hi-lo)/2
	}
	return best, nil
}

// floorIn returns the number of the last entry in p whose key is at most target, or -1.
func floorIn(p []byte, entryBytes int, target int64, key indexKey) int {
	lo, hi := 0, len(p)/entryBytes
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if key(p[mid*entryBytes:]) <= target {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// readFull reads len(p) bytes at off; fewer are io.ErrUnexpectedEOF.
func readFull(f vfs.File, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// isStale tells whether the file has bytes behind the last entry, which a later load would believe.
func (x *index) isStale() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.stale
}

// leading returns how many entries from the first on are valid, each one beside the one before it (nil for the first).
func (x *index) leading(files *fileCache, s *segment, valid func(previous, entry []byte) bool) (int, error) {
	h, err := x.open(files, s, true)
	if err != nil {
		return 0, err
	}
	defer h.release()
	count, perRead := x.count(), (64<<10)/x.entryBytes
	buf := make([]byte, min(count, perRead)*x.entryBytes)
	var previous []byte
	for i := 0; i < count; i += perRead {
		p := buf[:min(perRead, count-i)*x.entryBytes]
		if err := readFull(h, p, int64(i*x.entryBytes)); err != nil {
			return 0, err
		}
		for j := 0; j < len(p); j += x.entryBytes {
			if !valid(previous, p[j:]) {
				return i + j/x.entryBytes, nil
			}
			previous = append(previous[:0], p[j:j+x.entryBytes]...)
		}
	}
	return count, nil
}

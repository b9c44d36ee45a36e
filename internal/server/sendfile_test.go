package server

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/vfs"
)

// fileSource is a slice of a file.
type fileSource struct {
	f        *os.File
	pos      int64
	n        int
	released *atomic.Int32
}

func (s *fileSource) Len() int { return s.n }

func (s *fileSource) ReadAt(p []byte, off int64) (int, error) { return s.f.ReadAt(p, s.pos+off) }

func (s *fileSource) File() (vfs.File, int64) { return osFile{s.f}, s.pos }

// osFile is what a vfs.FS of the operating system opens.
type osFile struct{ *os.File }

func (f osFile) OSFile() *os.File { return f.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (s *fileSource) Release() { s.released.Add(1) }

// patternFile is a file that holds pattern.
func patternFile(t testing.TB) *os.File {
	name := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(name, []byte(pattern(patternBytesMax)), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Slices stand in an answer where their parts say, wherever they come from, however
// large they are; those of files go with sendfile where there is a socket, and each is
// released once.
func TestSlicesInAnswers(t *testing.T) {
	f := patternFile(t)
	for _, kind := range []string{"TCP", "MEM"} {
		t.Run(kind, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var released atomic.Int32
			type answer struct {
				text          string
				slices, files int64 // slices, and bytes of those from files
			}
			answers := make(chan answer, 1)
			serve := func(x *Exchange) {
				body := x.Buffer()
				begin := len(body)
				var parts []Part
				var text strings.Builder
				var made answer
				for range r.IntN(6) {
					between := pattern([]int{0, 1, r.IntN(300), r.IntN(100000)}[r.IntN(4)])
					body = append(body, between...)
					text.WriteString(between)
					n := []int{0, 1, r.IntN(1000), sendfileBytesMin - 1, sendfileBytesMin, r.IntN(1 << 20)}[r.IntN(6)]
					pos := r.IntN(patternBytesMax - n)
					s := &fileSource{f, int64(pos), n, &released}
					if r.IntN(3) == 0 {
						parts = append(parts, Part{len(body), noFile{s}})
					} else {
						parts = append(parts, Part{len(body), s})
						if n >= sendfileBytesMin {
							made.files += int64(n)
						}
					}
					made.slices++
					text.WriteString(pattern(pos + n)[pos:])
				}
				end := pattern([]int{0, 3, 20000}[r.IntN(3)])
				body = append(body, end...)
				made.text = text.String() + end
				answers <- made
				if begin != 8 {
					t.Errorf("Buffer holds %d bytes", begin)
				}
				x.ReplyBody(body, parts)
			}
			h := startTCP(t, DefaultConfig(), serve)
			if kind == "MEM" {
				h.stop()
				h = startMem(t, DefaultConfig(), serve)
			}
			nc := h.dial()
			var slices, fromFiles int64
			for i := range 200 {
				mustWrite(t, nc, request(keyFetch, 1, int32(i), ""))
				id, got, err := readAnswer(nc)
				if err != nil || id != int32(i) {
					t.Fatalf("answer %d: %v", id, err)
				}
				want := <-answers
				slices += want.slices
				fromFiles += want.files
				if string(got) != want.text {
					t.Fatalf("answer %d is not what the request makes: %d bytes, want %d", i, len(got), len(want.text))
				}
			}
			nc.Close()
			h.stop()
			if int64(released.Load()) != slices {
				t.Errorf("%d slices were released, want %d", released.Load(), slices)
			}
			if kind == "MEM" || runtime.GOOS != "linux" {
				fromFiles = 0
			}
			if got := h.srv.Stats().SentFileBytes; got != fromFiles {
				t.Errorf("%d bytes were sent with sendfile, want %d", got, fromFiles)
			}
		})
	}
}

// noFile hides the file of a slice.
type noFile struct{ *fileSource }

func (noFile) File() (vfs.File, int64) { return nil, 0 }

// A slice whose bytes are not there closes the connection: half an answer is worse than none.
func TestSliceThatComesUpShort(t *testing.T) {
	f := patternFile(t)
	for name, source := range map[string]func(*atomic.Int32) Source{
		"file ends early":    func(n *atomic.Int32) Source { return &fileSource{f, patternBytesMax - 100, 1 << 20, n} },
		"read ends early":    func(n *atomic.Int32) Source { return noFile{&fileSource{f, patternBytesMax - 100, 1 << 20, n}} },
		"read error":         func(n *atomic.Int32) Source { return brokenSource{&fileSource{f, 0, 1000, n}} },
		"small, ends early":  func(n *atomic.Int32) Source { return &fileSource{f, patternBytesMax - 100, 200, n} },
		"behind other bytes": func(n *atomic.Int32) Source { return brokenSource{&fileSource{f, 0, 100000, n}} },
	} {
		t.Run(name, func(t *testing.T) {
			var released atomic.Int32
			h := startTCP(t, DefaultConfig(), func(x *Exchange) {
				body := append(x.Buffer(), pattern(70000)...)
				x.ReplyBody(body, []Part{{len(body), source(&released)}})
			})
			nc := h.dial()
			mustWrite(t, nc, request(keyFetch, 1, 1, ""))
			if _, _, err := readAnswer(nc); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("reading the answer: %v", err)
			}
			nc.Close()
			h.stop()
			if released.Load() != 1 {
				t.Errorf("released %d times", released.Load())
			}
			if lines := h.log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "level=ERROR") {
				t.Errorf("log: %q", lines)
			}
		})
	}
}

type brokenSource struct{ *fileSource }

func (brokenSource) File() (vfs.File, int64) { return nil, 0 }

func (brokenSource) ReadAt([]byte, int64) (int, error) { return 0, errors.New("the disk is gone") }

// Slices of answers that never leave are released all the same.
func TestSlicesOfLostAnswersAreReleased(t *testing.T) {
	f := patternFile(t)
	var released, made atomic.Int32
	var answering sync.WaitGroup
	h := startTCP(t, DefaultConfig(), func(x *Exchange) {
		body := x.Buffer()
		x.Later()
		made.Add(1)
		answering.Go(func() { x.ReplyBody(body, []Part{{len(body), &fileSource{f, 0, 4 << 20, &released}}}) })
	})
	for range 20 {
		nc := h.dial()
		for i := range 10 {
			mustWrite(t, nc, request(keyProduce, 1, int32(i), "x"))
		}
		nc.Close()
	}
	for h.srv.Stats().Connections > 0 {
		time.Sleep(time.Millisecond)
	}
	answering.Wait()
	h.stop()
	if made.Load() != released.Load() {
		t.Errorf("%d of %d slices were released", released.Load(), made.Load())
	}
}

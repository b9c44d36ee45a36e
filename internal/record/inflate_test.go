package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kerr"
)

// bombHead opens a record whose value is said to go on for 2 GiB, so that nothing
// but the bound ends a walk over it.
func bombHead() []byte {
	head := appendVarint(nil, 1<<31-1)
	head = append(head, 0, 0, 0, 1) // attributes, deltas, null key
	return appendVarint(head, 1<<31-20)
}

// skipUnderRace skips what one goroutine does alone and the race detector makes take long.
func skipUnderRace(t *testing.T) {
	if raceEnabled {
		t.Skip("nothing here is concurrent")
	}
}

func gzipBomb(t *testing.T, zeros int) []byte {
	t.Helper()
	pack := func(p []byte) []byte {
		var buf bytes.Buffer
		z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = z.Write(p); err == nil {
			err = z.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	const member = 16 << 20
	return append(pack(bombHead()), bytes.Repeat(pack(make([]byte, member)), zeros/member)...)
}

func lz4Bomb(t *testing.T, zeros int) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := lz4.NewWriter(&buf)
	if err := z.Apply(lz4.BlockSizeOption(lz4.Block4Mb), lz4.ChecksumOption(false)); err != nil {
		t.Fatal(err)
	}
	const block = 4 << 20
	if _, err := z.Write(make([]byte, block)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	frame := buf.Bytes()
	header, body := frame[:7], frame[7:len(frame)-4] // without the end mark
	head := bombHead()
	out := binary.LittleEndian.AppendUint32(append([]byte{}, header...), lz4RawBlock|uint32(len(head)))
	out = append(out, head...)
	out = append(out, bytes.Repeat(body, zeros/block)...)
	return append(out, 0, 0, 0, 0)
}

// zstdBomb has a window of 1<<windowLog and run-length blocks of 4 bytes for 128 KiB.
func zstdBomb(windowLog, zeros int) []byte {
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, byte(windowLog-10) << 3}
	block := func(kind, size int, last int, data ...byte) {
		h := uint32(last | kind<<1 | size<<3)
		out = append(out, byte(h), byte(h>>8), byte(h>>16))
		out = append(out, data...)
	}
	head := bombHead()
	block(0, len(head), 0, head...)
	const run = 128 << 10
	for range zeros / run {
		block(1, run, 0, 0)
	}
	block(1, 1, 1, 0)
	return out
}

// A batch of at most 1 MB that would become 10 GB, or as much as its codec can make of
// 1 MB, is refused once it has become the bound, in bounded memory.
func TestBombsAreRefused(t *testing.T) {
	skipUnderRace(t)
	for _, c := range []struct {
		name      string
		codec     Codec
		payload   []byte
		memoryMax uint64 // that one validation may allocate, all told
	}{
		{"gzip to 1 GB", Gzip, gzipBomb(t, 960<<20), 16 << 20},
		{"lz4 to 240 MB", LZ4, lz4Bomb(t, 240<<20), 16 << 20},
		{"zstd to 10 GB", Zstd, zstdBomb(20, 10<<30), 16 << 20},
		{"zstd to 10 GB through 8 MiB", Zstd, zstdBomb(23, 10<<30), 32 << 20},
		{"zstd to 10 GB through 128 MiB", Zstd, zstdBomb(27, 10<<30), 160 << 20},
		{"zstd to 16 MiB and a bit from 600 bytes", Zstd, zstdBomb(20, 17<<20), 16 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			if len(c.payload) > 1<<20-HeaderBytes {
				t.Fatalf("%d bytes are no batch of 1 MB", len(c.payload))
			}
			b := withPayload(build(t, None, 1), c.codec, c.payload)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Validate(b, openLimits())
			runtime.ReadMemStats(&after)
			if err == nil || err.Code != kerr.MessageTooLarge {
				t.Fatalf("want MESSAGE_TOO_LARGE: %v", err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > c.memoryMax {
				t.Errorf("allocated %d bytes, more than %d", got, c.memoryMax)
			}
			limit := inflateLimit(len(c.payload), openLimits().MaxMessageBytes)
			s, openErr := openStream(b, limit)
			if openErr != nil {
				t.Fatal(openErr)
			}
			defer s.close()
			for _, ok := s.next(); ok; _, ok = s.next() {
			}
			if !errors.Is(s.err, errInflates) || s.inflated > limit+pieceMaxBytes {
				t.Errorf("%d bytes inflated where %d may be: %v", s.inflated, limit, s.err)
			}
		})
	}
}

// Snappy cannot grow beyond 22 times, so that only its claims need a bound.
func TestSnappyClaimsAreRefused(t *testing.T) {
	claim := binary.AppendUvarint(nil, 1<<31)
	framed := append(append([]byte{}, xerialMagic...), 0, 0, 0, 1, 0, 0, 0, 1)
	framed = binary.BigEndian.AppendUint32(framed, uint32(len(claim)))
	framed = append(framed, claim...)
	for _, payload := range [][]byte{claim, append(claim, make([]byte, 1000)...), framed} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Validate(withPayload(build(t, None, 1), Snappy, payload), openLimits())
		runtime.ReadMemStats(&after)
		if err == nil || err.Code != kerr.InvalidRecord {
			t.Fatalf("want INVALID_RECORD: %v", err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
			t.Errorf("allocated %d bytes", got)
		}
	}
	zeros := s2.EncodeSnappy(nil, make([]byte, 8<<20))
	in, err := newInflater(Snappy, zeros, 8<<20-1)
	if err != nil {
		t.Fatal(err)
	}
	defer in.release()
	if _, err := in.next(); !errors.Is(err, errInflates) {
		t.Fatalf("8 MiB where less is allowed: %v", err)
	}
}

// Many bombs at once take the memory of one.
func TestBombsTakeTurns(t *testing.T) {
	if testing.Short() {
		t.Skip("writes through windows of 128 MiB")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // what is garbage counts for little
	b := withPayload(build(t, None, 1), Zstd, zstdBomb(27, 32<<20))
	lim := openLimits()
	lim.MaxMessageBytes = 64 << 10
	var group sync.WaitGroup
	var heap [8]uint64
	for i := range heap {
		group.Go(func() {
			if _, err := Validate(append(Batch{}, b...), lim); err == nil || err.Code != kerr.MessageTooLarge {
				t.Errorf("want MESSAGE_TOO_LARGE: %v", err)
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heap[i] = m.HeapAlloc
		})
	}
	group.Wait()
	if got := slices.Max(heap[:]); got > 600<<20 {
		t.Errorf("%d bytes of heap for 8 batches with windows of 128 MiB", got)
	}
}

// What is pooled or shared may have been made in one synctest bubble and be used in another, or in none.
func TestCodecsWorkInBubbles(t *testing.T) {
	all := func(t *testing.T) {
		for codec := None; codec <= Zstd; codec++ {
			if _, err := Validate(build(t, codec, 100), openLimits()); err != nil {
				t.Errorf("%s: %v", codec, err)
			}
		}
		large := mustBuild(t, NewBuilder().Append(1, nil, text(5<<20)), Zstd)
		if _, err := large.Sole(); err != nil {
			t.Error(err)
		}
	}
	synctest.Test(t, all)
	synctest.Test(t, all)
	all(t)
}

func TestInflateLimit(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name       string
		compressed int
		maxMessage int32
		want       int64
	}{
		{"a small batch", 100, mib, 16 * mib},
		{"a small batch, small messages", 100, 1000, 16 * mib},
		{"earned by its size", 64 << 10, mib, 64 * mib},
		{"the most at the default", mib, mib, 128 * mib},
		{"large messages", 100, 64 * mib, 1024 * mib},
		{"a large batch of large messages", 64 * mib, 64 * mib, 8192 * mib},
	} {
		if got := inflateLimit(c.compressed, c.maxMessage); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// inflateAll returns all that comes out, and the largest piece.
func inflateAll(t *testing.T, codec Codec, payload []byte) (out []byte, largest int, err error) {
	t.Helper()
	in, err := newInflater(codec, payload, 1<<30)
	if err != nil {
		return nil, 0, err
	}
	defer in.release()
	for {
		p, err := in.next()
		if err == io.EOF {
			return out, largest, nil
		}
		if err != nil {
			return out, largest, err
		}
		out, largest = append(out, p...), max(largest, len(p))
	}
}

// text is n bytes that compress, but not to nothing.
func text(n int) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		out = append(out, "line "...)
		out = binary.AppendUvarint(out, uint64(i)*2654435761)
	}
	return out[:n]
}

// Frames of other libraries and other settings than our own writer's.
func TestForeignFrames(t *testing.T) {
	skipUnderRace(t)
	lz4Frame := func(src []byte, options ...lz4.Option) []byte {
		var buf bytes.Buffer
		z := lz4.NewWriter(&buf)
		if err := z.Apply(options...); err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(src); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	zstdFrame := func(src []byte, stream bool, options ...zstd.EOption) []byte {
		var buf bytes.Buffer
		z, err := zstd.NewWriter(&buf, options...)
		if err != nil {
			t.Fatal(err)
		}
		if !stream {
			return z.EncodeAll(src, nil)
		}
		half := len(src) / 2
		for _, p := range [][]byte{src[:half], src[half:]} {
			if _, err := z.Write(p); err != nil {
				t.Fatal(err)
			}
			if err := z.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	small, large := text(1000), text(5<<20)
	dense := bytes.Repeat(text(1000), 200)
	for _, c := range []struct {
		name    string
		codec   Codec
		payload []byte
		want    []byte
		pieces  int // the largest piece may have
	}{
		{"lz4 as franz-go sends it", LZ4, lz4Frame(large), large, 4 << 20},
		{"lz4 with every checksum and the size", LZ4, lz4Frame(large, lz4.BlockChecksumOption(true), lz4.SizeOption(uint64(len(large))), lz4.BlockSizeOption(lz4.Block256Kb)), large, 256 << 10},
		{"lz4, small", LZ4, lz4Frame(small, lz4.BlockSizeOption(lz4.Block1Mb)), small, 1 << 20},
		{"lz4, nothing", LZ4, lz4Frame(nil), nil, 0},
		{"snappy in one block", Snappy, s2.EncodeSnappy(nil, large), large, 5 << 20},
		{"snappy in one small block", Snappy, s2.EncodeSnappy(nil, small), small, 1000},
		{"gzip in several members", Gzip, join(mustCompress(t, Gzip, small), mustCompress(t, Gzip, large)), join(small, large), pieceMaxBytes},
		{"zstd in one go", Zstd, zstdFrame(small, false), small, pieceMaxBytes},
		{"zstd with a size", Zstd, zstdFrame(large, false), large, pieceMaxBytes},
		{"zstd in two frames", Zstd, join(zstdFrame(small, false), zstdFrame(large, true)), join(small, large), pieceMaxBytes},
		{"zstd, window of 8 MiB", Zstd, zstdFrame(large, true, zstd.WithWindowSize(8<<20)), large, pieceMaxBytes},
		{"zstd, window of 128 MiB", Zstd, zstdFrame(large, true, zstd.WithWindowSize(128<<20)), large, pieceMaxBytes},
		{"zstd, window of 128 MiB for little", Zstd, zstdFrame(small, true, zstd.WithWindowSize(128<<20)), small, pieceMaxBytes},
		{"zstd without a size, more than guessed and not a whole number of blocks", Zstd, zstdFrame(dense, true), dense, pieceMaxBytes},
		{"zstd without checksum", Zstd, zstdFrame(large, true, zstd.WithEncoderCRC(false)), large, pieceMaxBytes},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // the second time with what the first one left in the pools
				got, largest, err := inflateAll(t, c.codec, c.payload)
				if err != nil || !bytes.Equal(got, c.want) {
					t.Fatalf("%d of %d bytes: %v", len(got), len(c.want), err)
				}
				if largest > c.pieces {
					t.Errorf("a piece of %d bytes, more than %d", largest, c.pieces)
				}
			}
		})
	}
}

func mustCompress(t testing.TB, codec Codec, src []byte) []byte {
	t.Helper()
	out, err := compress(codec, DefaultLevel(codec), nil, src)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What a reader of lz4 frames has to refuse, each as one change to a good frame.
func TestLZ4FrameRefuses(t *testing.T) {
	var buf bytes.Buffer
	z := lz4.NewWriter(&buf)
	if err := z.Apply(lz4.BlockChecksumOption(true), lz4.BlockSizeOption(lz4.Block64Kb)); err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(text(1000)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	good := buf.Bytes()
	header := func(flags, block byte) func([]byte) {
		return func(p []byte) { p[4], p[5] = flags, block; p[6] = byte(xxh32(p[4:6]) >> 8) }
	}
	for _, c := range []struct {
		name   string
		change func([]byte)
	}{
		{"magic", func(p []byte) { p[0]++ }},
		{"version", header(good[4]^0xc0, good[5])},
		{"dependent blocks", header(good[4]&^lz4Independent, good[5])},
		{"dictionary", header(good[4]|1, good[5])},
		{"reserved flag", header(good[4]|2, good[5])},
		{"reserved bits of the block descriptor", header(good[4], good[5]|1)},
		{"block size 32 KiB", header(good[4], 3<<4)},
		{"header checksum", func(p []byte) { p[6]++ }},
		{"block size beyond the frame", func(p []byte) { binary.LittleEndian.PutUint32(p[7:], 1<<20) }},
		{"raw block larger than blocks may be", func(p []byte) { binary.LittleEndian.PutUint32(p[7:], lz4RawBlock|100_000) }},
		{"block", func(p []byte) { p[11] ^= 0xff }},
		{"block checksum", func(p []byte) { p[len(p)-9]++ }},
	} {
		p := append([]byte{}, good...)
		c.change(p)
		if _, _, err := inflateAll(t, LZ4, p); !errors.Is(err, errCompressed) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for n := range len(good) - 4 { // the content checksum is not looked at
		if out, _, err := inflateAll(t, LZ4, good[:n]); !errors.Is(err, errCompressed) {
			t.Errorf("the first %d bytes make %d: %v", n, len(out), err)
		}
	}
	if out, _, err := inflateAll(t, LZ4, good); err != nil || len(out) != 1000 {
		t.Errorf("the frame itself makes %d bytes: %v", len(out), err)
	}
}

// The pools are shared: batches of every codec and lane at once do not mix.
func TestValidateAtOnce(t *testing.T) {
	var batches []Batch
	for codec := None; codec <= Zstd; codec++ {
		for _, n := range []int{1, 100, 2000} {
			batches = append(batches, build(t, codec, n))
		}
	}
	batches = append(batches, withPayload(build(t, None, 1), Zstd, zstdBomb(27, 5<<20)))
	bomb := len(batches) - 1
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range len(batches) {
				k := (i*(worker+1) + worker) % len(batches)
				_, err := Validate(append(Batch{}, batches[k]...), openLimits())
				if (err != nil) != (k == bomb) {
					t.Errorf("batch %d: %v", k, err)
				}
			}
		})
	}
	group.Wait()
}

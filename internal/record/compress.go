package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

var gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// The levels that mean the codec's own choice (KIP-390: compression.gzip.level and so on).
const (
	DefaultGzipLevel = gzip.DefaultCompression
	DefaultLZ4Level  = 9 // of 1 to 17; as in Kafka, it stands for the fast compressor
	DefaultZstdLevel = 3
)

// DefaultLevel returns the level of a codec that means its own choice.
func DefaultLevel(c Codec) int {
	switch c {
	case Gzip:
		return DefaultGzipLevel
	case LZ4:
		return DefaultLZ4Level
	case Zstd:
		return DefaultZstdLevel
	}
	return 0
}

// compress appends src to dst, compressed as Kafka's own producer would: snappy in a
// xerial frame, lz4 in independent blocks of 64 KiB without checksums.
func compress(c Codec, level int, dst, src []byte) ([]byte, error) {
	switch c {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return compressGzip(level, dst, src)
	case Snappy:
		return compressXerial(dst, src), nil
	case LZ4:
		z := lz4.NewWriter(nil)
		if err := z.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.CompressionLevelOption(lz4Level(level))); err != nil {
			return nil, err
		}
		return writeAll(dst, src, z)
	case Zstd:
		z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true), zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return z.EncodeAll(src, dst), nil
	default:
		return nil, fmt.Errorf("%w %d", errCodec, int8(c))
	}
}

func compressGzip(level int, dst, src []byte) ([]byte, error) {
	if level == DefaultGzipLevel {
		z := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(z)
		return writeAll(dst, src, z)
	}
	z, err := gzip.NewWriterLevel(nil, level)
	if err != nil {
		return nil, err
	}
	return writeAll(dst, src, z)
}

// lz4Level maps Kafka's levels, of which the library has nine.
func lz4Level(level int) lz4.CompressionLevel {
	if level == DefaultLZ4Level {
		return lz4.Fast
	}
	return lz4.Level1 << (min(max(level, 1), 9) - 1)
}

func writeAll(dst, src []byte, z interface {
	io.WriteCloser
	Reset(io.Writer)
}) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	z.Reset(out)
	if _, err := z.Write(src); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func compressXerial(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = append(dst, 0, 0, 0, 1, 0, 0, 0, 1) // the version, and the oldest one that can read it
	for len(src) > 0 {
		n := min(len(src), xerialBlockBytes)
		block := s2.EncodeSnappy(nil, src[:n])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
		dst = append(dst, block...)
		src = src[n:]
	}
	return dst
}

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

// compress appends src to dst, compressed as Kafka's own producer would: snappy in a
// xerial frame, lz4 in independent blocks of 64 KiB without checksums.
func compress(c Codec, dst, src []byte) ([]byte, error) {
	switch c {
	case None:
		return append(dst, src...), nil
	case Gzip:
		z := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(z)
		return writeAll(dst, src, z)
	case Snappy:
		return compressXerial(dst, src), nil
	case LZ4:
		z := lz4.NewWriter(nil)
		if err := z.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)); err != nil {
			return nil, err
		}
		return writeAll(dst, src, z)
	case Zstd:
		z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return z.EncodeAll(src, dst), nil
	default:
		return nil, fmt.Errorf("%w %d", errCodec, int8(c))
	}
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

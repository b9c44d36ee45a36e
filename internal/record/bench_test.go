package record

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// openLimits refuse nothing for its size or time.
func openLimits() *Limits {
	return &Limits{
		MaxMessageBytes: 1048588, SegmentBytes: 1 << 30, Now: 1_700_000_000_000,
		TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: 3_600_000, ProduceVersion: 11,
	}
}

// halfRandom returns n records of size bytes of which half compress well.
func halfRandom(t testing.TB, n, size int, codec Codec) Batch {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	b := NewBuilder()
	for i := range n {
		value := make([]byte, size)
		for k := range value[:size/2] {
			value[k] = byte(rng.Uint32())
		}
		b.Append(1_700_000_000_000+int64(i), nil, value)
	}
	batch, err := b.Build(codec)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func BenchmarkValidate(b *testing.B) {
	for _, size := range []int{100, 1024, 10240} {
		for codec := None; codec <= Zstd; codec++ {
			b.Run(fmt.Sprintf("record=%d/codec=%s", size, codec), func(b *testing.B) {
				batch := halfRandom(b, 1_000_000/(size+12), size, codec)
				lim := openLimits()
				b.SetBytes(int64(len(batch)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Validate(batch, lim); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkCRC(b *testing.B) {
	batch := halfRandom(b, 1000, 1024, None)
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		if !batch.CheckCRC() {
			b.Fatal("CRC")
		}
	}
}

func BenchmarkRecords(b *testing.B) {
	for codec := None; codec <= Zstd; codec++ {
		b.Run(codec.String(), func(b *testing.B) {
			batch := halfRandom(b, 1000, 1000, codec)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range batch.Records() {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

package server

import (
	"fmt"
	"io"
	"testing"

	"github.com/moldau/moldau/internal/wire"
)

// BenchmarkEcho sends requests of 100 bytes over loopback, so many in flight on one
// connection, and answers inline. Client and server share the process, so the time of one
// operation is that of both.
func BenchmarkEcho(b *testing.B) {
	for _, depth := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("depth=", depth), func(b *testing.B) {
			h := startTCP(b, DefaultConfig(), echo)
			nc := h.dial()
			var frames []byte
			for i := range depth {
				frames = append(frames, request(keyMetadata, 1, int32(i), pattern(76))...)
			}
			answers := make([]byte, depth*(8+76))
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += depth {
				mustWrite(b, nc, frames)
				if _, err := io.ReadFull(nc, answers); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			nc.Close()
			h.stop()
		})
	}
}

// BenchmarkProduce sends frames of one size, acknowledged by 8 bytes, four in flight.
func BenchmarkProduce(b *testing.B) {
	for _, size := range []int{64 << 10, 1000000} {
		for _, later := range []bool{false, true} {
			b.Run(fmt.Sprint("bytes=", size, "/later=", later), func(b *testing.B) {
				h := startTCP(b, DefaultConfig(), func(x *Exchange) {
					if later {
						x.Later()
					}
					x.ReplyBody(x.Buffer(), nil)
				})
				nc := h.dial()
				frame := request(keyProduce, 1, 1, pattern(size))
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				inFlight := make(chan struct{}, 4)
				go func() {
					for range b.N {
						inFlight <- struct{}{}
						if _, err := nc.Write(frame); err != nil {
							b.Error(err)
							return
						}
					}
				}()
				var ack [8]byte
				for range b.N {
					if _, err := io.ReadFull(nc, ack[:]); err != nil {
						b.Fatal(err)
					}
					<-inFlight
				}
				b.StopTimer()
				nc.Close()
				h.stop()
			})
		}
	}
}

// BenchmarkFetch sends answers of 1 MB out of a file.
func BenchmarkFetch(b *testing.B) {
	f := patternFile(b)
	for _, parts := range []int{1, 50} {
		b.Run(fmt.Sprint("parts=", parts), func(b *testing.B) {
			sources := make([]benchSource, parts)
			list := make([]Part, parts)
			for i := range sources {
				sources[i] = benchSource{fileSource{f: f, pos: int64(i) * 10000, n: 1000000 / parts}}
			}
			h := startTCP(b, DefaultConfig(), func(x *Exchange) {
				body := x.Buffer()
				for i := range sources {
					body = wire.AppendInt64(body, 0)
					list[i] = Part{len(body), &sources[i]}
				}
				x.ReplyBody(body, list)
			})
			nc := h.dial()
			frame := request(keyFetch, 1, 1, "")
			answer := make([]byte, 8+8*parts+parts*(1000000/parts))
			b.SetBytes(int64(len(answer)))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				mustWrite(b, nc, frame)
				if _, err := io.ReadFull(nc, answer); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			nc.Close()
			h.stop()
		})
	}
}

type benchSource struct{ fileSource }

func (*benchSource) Release() {}

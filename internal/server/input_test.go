package server

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Frames of any size arrive whole, however they are cut, with answers outstanding or not.
func TestFramesArriveWhole(t *testing.T) {
	for _, kind := range []string{"MEM", "TCP"} {
		for _, later := range []bool{false, true} {
			t.Run(kind, func(t *testing.T) {
				serve := func(x *Exchange) {
					if later {
						x.Later()
						go echo(x)
						return
					}
					echo(x)
				}
				h := startMem(t, DefaultConfig(), serve)
				if kind == "TCP" {
					h.stop()
					h = startTCP(t, DefaultConfig(), serve)
				}
				nc := h.dial()
				r := rand.New(rand.NewPCG(1, 2))
				all := pattern(9 << 20)
				sizes := []int{0, 1, 100, stashBytesMax, chunkBytes[0] - 30, chunkBytes[0], chunkBytes[0] + 1, chunkBytes[1], chunkBytes[1] + 1, 9 << 20, 50, 70000, 3 << 20, 1}
				for range 100 {
					sizes = append(sizes, r.IntN(200), r.IntN(100000))
				}
				go func() {
					var p []byte
					for i, n := range sizes {
						p = append(p, request(keyProduce, 1, int32(i), all[:n])...)
						for len(p) > 0 && r.IntN(3) > 0 {
							n := min(len(p), 1+r.IntN(1+len(p)))
							nc.Write(p[:n])
							p = p[n:]
						}
					}
					nc.Write(p)
				}()
				for i, n := range sizes {
					wantAnswer(t, nc, int32(i), all[:n])
				}
				nc.Close()
				h.stop()
			})
		}
	}
}

// What a connection holds grows with what has come, not with what a length claims.
func TestMemoryGrowsWithBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startMem(t, DefaultConfig(), echo)
		nc := h.dial()
		frame := request(keyProduce, 1, 1, pattern(20<<20))
		sent := 0
		upTo := func(n int) {
			mustWrite(t, nc, frame[sent:n])
			sent = n
			synctest.Wait()
		}
		for _, step := range []struct{ sent, held int }{
			{12, 0}, // stashed
			{stashBytesMax, 0},
			{stashBytesMax + 1, chunkBytes[0]},
			{chunkBytes[0] - 1, chunkBytes[0]},
			{chunkBytes[0], chunkBytes[1]},
			{chunkBytes[1] - 1, chunkBytes[1]},
			{chunkBytes[1], chunkBytes[2]},
			{chunkBytes[2], 4 * chunkBytes[2]},
		} {
			upTo(step.sent)
			if used := h.srv.Stats().MemoryBytes; used > int64(step.held) {
				t.Errorf("%d bytes of a frame have come, %d are held, want %d", step.sent, used, step.held)
			}
		}
		go nc.Write(frame[sent:])
		wantAnswer(t, nc, 1, pattern(20<<20))
		nc.Close()
		h.stop()
	})
}

// The budget holds whatever many connections send, but for the chunks of one frame, and
// everyone gets through.
func TestBudgetOverAllConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := DefaultConfig()
		config.MemoryBytes = memoryBytesMin
		var mu sync.Mutex
		most := int64(0)
		var h *harness
		h = startMem(t, config, func(x *Exchange) {
			mu.Lock()
			most = max(most, h.srv.Stats().MemoryBytes)
			mu.Unlock()
			if x.Key == keyProduce {
				x.NoReply()
				return
			}
			echo(x)
		})
		body := pattern(12 << 20)
		done := make(chan struct{})
		const conns = 6
		for range conns {
			go func() {
				nc := h.dial()
				for i := range 2 {
					nc.Write(request(keyProduce, 1, int32(i), body))
					nc.Write(request(keyMetadata, 1, int32(i), "end"))
					wantAnswer(t, nc, int32(i), "end")
				}
				nc.Close()
				done <- struct{}{}
			}()
		}
		for range conns {
			<-done
		}
		if limit := config.MemoryBytes + int64(12<<20+1<<10+chunkBytes[2]); most > limit || most < config.MemoryBytes/2 {
			t.Errorf("at most %d bytes were held, the budget is %d", most, config.MemoryBytes)
		}
		h.stop()
	})
}

// Peers that begin frames and stop are closed, and those who wait for memory go on.
func TestStalledFramesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := DefaultConfig()
		config.MemoryBytes = memoryBytesMin
		h := startMem(t, config, echo)
		var stalled []net.Conn
		for range memoryBytesMin/chunkBytes[0] + 10 {
			nc := h.dial()
			stalled = append(stalled, nc)
			go nc.Write(request(keyProduce, 1, 1, pattern(1000000))[:stashBytesMax*2])
		}
		synctest.Wait()
		begin := time.Now()
		nc := h.dial()
		go nc.Write(request(keyMetadata, 1, 7, "hello"))
		wantAnswer(t, nc, 7, "hello")
		if d := time.Since(begin); d > pressedStallTimeout+2*sweepInterval {
			t.Errorf("an answer after %v", d)
		}
		for _, nc := range append(stalled, nc) {
			nc.Close()
		}
		h.stop()
	})
}

// A connection that waits for a request holds no memory of the budget, also after large ones.
func TestIdleConnectionHoldsNothing(t *testing.T) {
	h := startTCP(t, DefaultConfig(), echo)
	nc := h.dial()
	for i, n := range []int{10, 2 << 20, 100000, 1} {
		body := pattern(n)
		go nc.Write(request(keyProduce, 1, int32(i), body))
		wantAnswer(t, nc, int32(i), body)
	}
	for h.srv.Stats().MemoryBytes != 0 {
		time.Sleep(time.Millisecond) // until the reader has found that nothing more is there
	}
	nc.Close()
	h.stop()
}

// The body of a request stays what it is until its answer, however far the reader has gone.
func TestBodiesOutliveTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var later []*Exchange
		h := startMem(t, DefaultConfig(), func(x *Exchange) {
			x.Later()
			later = append(later, x)
		})
		nc := h.dial()
		small, large := pattern(10000), pattern(500000)
		mustWrite(t, nc, request(keyProduce, 1, 1, small))
		mustWrite(t, nc, request(keyProduce, 1, 2, large))
		synctest.Wait()
		if used, want := h.srv.Stats().MemoryBytes, int64(chunkBytes[0]+chunkBytes[1]); used != want {
			t.Errorf("%d bytes are held for two requests, want the two chunks that they are in, %d", used, want)
		}
		other := h.dial()
		mustWrite(t, other, request(keyProduce, 1, 3, pattern(600000)[100000:]))
		synctest.Wait()
		if string(later[0].Body) != small || string(later[1].Body) != large {
			t.Error("a body has changed before its answer")
		}
		for _, x := range later {
			go x.NoReply()
		}
		synctest.Wait()
		if used := h.srv.Stats().MemoryBytes; used != 0 {
			t.Errorf("%d bytes are held after the answers", used)
		}
		nc.Close()
		other.Close()
		h.stop()
	})
}

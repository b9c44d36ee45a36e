package server

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Answers leave in the order of requests, whatever the order in which they are given.
func TestAnswersLeaveInRequestOrder(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			delays := make([]time.Duration, 1000)
			for i := range delays {
				delays[i] = time.Duration(r.IntN(3)) * time.Duration(r.IntN(50)) * time.Millisecond
			}
			var inProgress atomic.Int32
			h := startMem(t, DefaultConfig(), func(x *Exchange) {
				if x.Key != keyProduce {
					if n := inProgress.Load(); n != 0 {
						t.Errorf("request %d starts while %d are in progress", x.CorrelationID, n)
					}
					echo(x)
					return
				}
				d := delays[x.CorrelationID]
				switch {
				case d == 0 && x.CorrelationID%2 == 0:
					echo(x)
				case d == 0:
					x.Later()
					echo(x)
				default:
					inProgress.Add(1)
					x.Later()
					time.AfterFunc(d, func() {
						inProgress.Add(-1)
						if x.CorrelationID%7 == 3 {
							x.NoReply()
							return
						}
						echo(x)
					})
				}
			})
			nc := h.dial()
			go func() {
				for i := range delays {
					key := int16(keyProduce)
					if i%50 == 49 {
						key = keyMetadata
					}
					nc.Write(request(key, 1, int32(i), fmt.Sprint("body ", i)))
				}
			}()
			for i, d := range delays {
				if i%50 != 49 && d > 0 && i%7 == 3 {
					continue // no answer
				}
				wantAnswer(t, nc, int32(i), fmt.Sprint("body ", i))
			}
			nc.Close()
			h.stop()
		})
	}
}

// Of requests that follow each other closely some start before the answers to earlier ones are given; the
// answers leave in the order of the requests.
func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		name  string
		keys  []int16
		start int // so many of them
	}{
		{"Produce behind Produce", []int16{keyProduce, keyProduce, keyProduce}, 3},
		{"another behind Produce", []int16{keyProduce, keyProduce, keyMetadata}, 2},
		{"OffsetCommit behind its like", []int16{keyOffsetCommit, keyOffsetCommit, keyOffsetCommit}, 3},
		{"OffsetCommit and Produce", []int16{keyProduce, keyOffsetCommit, keyProduce, keyOffsetCommit}, 4},
		{"OffsetCommit behind another", []int16{keySyncGroup, keyOffsetCommit}, 1},
		{"OffsetCommit behind Produce behind another", []int16{keySyncGroup, keyProduce, keyOffsetCommit}, 2},
		{"another behind OffsetCommit", []int16{keyOffsetCommit, keySyncGroup}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var waiting []*Exchange
				h := startMem(t, DefaultConfig(), func(x *Exchange) {
					x.Later()
					waiting = append(waiting, x)
				})
				nc := h.dial()
				var sent []byte
				for i, key := range c.keys {
					sent = append(sent, request(key, 1, int32(i), "x")...)
				}
				go nc.Write(sent)
				synctest.Wait()
				if len(waiting) != c.start {
					t.Fatalf("%d requests were started before any answer, want %d", len(waiting), c.start)
				}
				answer := func() { // all that have been started, the last one first
					for len(waiting) > 0 {
						last := waiting[len(waiting)-1]
						waiting = waiting[:len(waiting)-1]
						go echo(last)
						synctest.Wait()
					}
				}
				for i := range c.keys {
					answer()
					wantAnswer(t, nc, int32(i), "x")
					synctest.Wait()
				}
				nc.Close()
				h.stop()
			})
		})
	}
}

// A client is alone once it has sent some requests one by one, and not while it keeps more than one
// in flight.
func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var later *Exchange
		alone := make(map[int32]bool)
		h := startMem(t, DefaultConfig(), func(x *Exchange) {
			alone[x.CorrelationID] = x.Alone()
			if x.CorrelationID == 6 {
				x.Later()
				later = x
				return
			}
			echo(x)
		})
		nc := h.dial()
		send := func(ids ...int32) {
			var frames []byte
			for _, id := range ids {
				frames = append(frames, request(keyProduce, 1, id, "x")...)
			}
			go nc.Write(frames)
			synctest.Wait()
		}
		want := func(ids ...int32) {
			for _, id := range ids {
				wantAnswer(t, nc, id, "x")
			}
			synctest.Wait()
		}
		for id := range int32(3) {
			send(id)
			want(id)
		}
		send(3, 4) // together
		want(3, 4)
		send(5)
		want(5)
		send(6) // is answered late
		send(7) // meanwhile
		go echo(later)
		want(6, 7)
		for id := range int32(2) {
			send(8 + id)
			want(8 + id)
		}
		for id, want := range []bool{false, true, true, false, false, true, true, false, false, true} {
			if alone[int32(id)] != want {
				t.Errorf("request %d: alone is %v", id, alone[int32(id)])
			}
		}
		nc.Close()
		h.stop()
	})
}

// At most waitingRequestsMax requests of a connection wait for their answers.
func TestRequestsWaitingAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var later []*Exchange
		h := startMem(t, DefaultConfig(), func(x *Exchange) {
			x.Later()
			later = append(later, x)
		})
		nc := h.dial()
		const n = 200
		go func() {
			for i := range n {
				nc.Write(request(keyProduce, 1, int32(i), "x"))
			}
		}()
		synctest.Wait()
		if len(later) != waitingRequestsMax {
			t.Fatalf("%d requests wait, want %d", len(later), waitingRequestsMax)
		}
		if used := h.srv.Stats().MemoryBytes; used > int64(3*chunkBytes[0]) {
			t.Errorf("%d small requests that wait hold %d bytes", len(later), used)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range n {
				wantAnswer(t, nc, int32(i), "x")
			}
		}()
		for i := range n {
			synctest.Wait()
			echo(later[i])
		}
		<-done
		nc.Close()
		h.stop()
	})
}

// A peer that does not read its answers is not read from once unsentBytesMax wait.
func TestBytesWaitingAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		served := 0
		answer := pattern(1 << 20)
		h := startMem(t, DefaultConfig(), func(x *Exchange) {
			served++
			x.Later()
			time.AfterFunc(time.Microsecond, func() { x.ReplyBody(append(x.Buffer(), answer...), nil) })
		})
		nc := h.dial()
		go func() {
			for i := range 50 {
				nc.Write(request(keyProduce, 1, int32(i), "x"))
				time.Sleep(time.Millisecond)
			}
		}()
		time.Sleep(time.Second)
		synctest.Wait()
		if served < unsentBytesMax>>20 || served > unsentBytesMax>>20+2 {
			t.Fatalf("%d requests were served, answers of %d MiB wait", served, served)
		}
		for i := range 50 {
			wantAnswer(t, nc, int32(i), answer)
		}
		time.Sleep(time.Second) // the goroutine that asks ends
		nc.Close()
		h.stop()
	})
}

// An earlier answer does not wait for a handler that is about to wait itself.
func TestAnswersLeaveBeforeAHandlerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startMem(t, DefaultConfig(), func(x *Exchange) {
			if x.Key != keyFetch {
				echo(x)
				return
			}
			body := string(x.Body)
			done := x.Park()
			if x.Body != nil {
				t.Error("Body is there after Park")
			}
			select {
			case <-done:
			case <-time.After(time.Second):
			}
			x.ReplyBody(append(x.Buffer(), body...), nil)
		})
		nc := h.dial()
		go nc.Write(append(request(keyMetadata, 1, 1, "a"), request(keyFetch, 1, 2, "b")...))
		begin := time.Now()
		wantAnswer(t, nc, 1, "a")
		if d := time.Since(begin); d != 0 {
			t.Errorf("the first answer came after %v", d)
		}
		synctest.Wait()
		if used := h.srv.Stats().MemoryBytes; used != 0 {
			t.Errorf("a parked request holds %d bytes", used)
		}
		wantAnswer(t, nc, 2, "b")
		nc.Close()
		h.stop()
	})
}

// Requests that have come already while a handler waits are served after it.
func TestRequestsBehindAParkedOne(t *testing.T) {
	for _, behind := range []int{1, 10, stashBytesMax, 2 * stashBytesMax} {
		synctest.Test(t, func(t *testing.T) {
			h := startMem(t, DefaultConfig(), func(x *Exchange) {
				body := string(x.Body)
				if x.Key == keyFetch {
					select {
					case <-x.Park():
					case <-time.After(time.Second):
					}
				}
				x.ReplyBody(append(x.Buffer(), body...), nil)
			})
			nc := h.dial()
			frames := request(keyFetch, 1, 1, "first")
			for len(frames) < behind {
				frames = append(frames, request(keyMetadata, 1, 2, "behind")...)
			}
			frames = append(frames, request(keyMetadata, 1, 3, "last")...)
			go nc.Write(frames)
			wantAnswer(t, nc, 1, "first")
			for id := int32(0); id != 3; {
				var err error
				if id, _, err = readAnswer(nc); err != nil {
					t.Fatal(err)
				}
			}
			nc.Close()
			h.stop()
		})
	}
}

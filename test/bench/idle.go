package main

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/moldau/moldau/test/bench/internal/measure"
)

// runIdle opens many connections, each of which asks for the versions once and then says nothing more.
func runIdle(args []string) error {
	c := newConfig("idle")
	conns := c.Int("conns", 10_000, "connections")
	hold := c.Duration("hold", 10*time.Second, "how long to hold them")
	ctx, cancel, err := c.parse(args)
	if err != nil {
		return err
	}
	defer cancel()
	m := c.meter()
	open, err := dialMany(c.brokers, *conns)
	for _, conn := range open {
		defer conn.Close()
	}
	if err != nil {
		return fmt.Errorf("%d connections are open: %w", len(open), err)
	}
	took := time.Since(m.Start)
	if err := sleep(ctx, *hold); err != nil {
		return err
	}
	r := m.Finish(0, 0)
	addWeight(r, c.pids)
	r.Extra["connections"], r.Extra["open_s"] = len(open), measure.Round(took.Seconds())
	// Those that were left alone still answer.
	for i := 0; i < len(open); i += max(len(open)/100, 1) {
		if err := versionsOn(open[i]); err != nil {
			return fmt.Errorf("connection %d after %s idle: %w", i, *hold, err)
		}
	}
	return r.Print()
}

// dialMany opens the connections and has each answered once. Those that were opened are returned with an error too.
func dialMany(address string, n int) ([]net.Conn, error) {
	const dialers = 16
	var mu struct {
		sync.Mutex
		open []net.Conn
		err  error
	}
	var wg sync.WaitGroup
	for d := range dialers {
		wg.Go(func() {
			for i := d; i < n; i += dialers {
				conn, err := net.DialTimeout("tcp", address, 10*time.Second)
				if err == nil {
					err = versionsOn(conn)
				}
				mu.Lock()
				if conn != nil {
					mu.open = append(mu.open, conn)
				}
				if err != nil && mu.err == nil {
					mu.err = err
				}
				failed := mu.err != nil
				mu.Unlock()
				if failed {
					return
				}
			}
		})
	}
	wg.Wait()
	return mu.open, mu.err
}

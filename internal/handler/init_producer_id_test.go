package handler

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
)

// Whoever waits for a block of ids that somebody else fetches need not wait longer than its client does; nobody gets an id twice.
func TestProducerIDsLetGoOfWhoHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan ids.ProducerID)
		p := newProducerIDs(func(context.Context) (ids.ProducerID, int32, error) { return <-answer, 2, nil })
		got := make(chan ids.ProducerID, 3)
		go func() {
			id, _ := p.next(t.Context())
			got <- id
		}()
		synctest.Wait()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if id, err := p.next(gone); !errors.Is(err, kerr.RequestTimedOut) {
			t.Errorf("id %d, %v", id, err)
		}
		answer <- 7
		if id := <-got; id != 7 {
			t.Errorf("id %d", id)
		}
		if id, err := p.next(t.Context()); id != 8 || err != nil {
			t.Errorf("id %d, %v", id, err)
		}
	})
}

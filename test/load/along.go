//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/test/history"
)

// ReadAlong reads every partition from its start on, and notes what it was given, until it has come to the ends that are sent to it.
func (l *Load) ReadAlong(ctx context.Context, ends <-chan map[int32]int64) error {
	from := make(map[int32]kgo.Offset)
	for p := range int32(l.Partitions) {
		from[p] = kgo.NewOffset().AtStart()
	}
	cl, err := l.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.Topic: from}))
	if err != nil {
		return err
	}
	defer cl.Close()
	polling, interrupt := context.WithCancel(ctx)
	defer interrupt()
	told := make(chan map[int32]int64, 1)
	go func() { // a poll waits where there is nothing more
		select {
		case e := <-ends:
			told <- e
			interrupt()
		case <-ctx.Done():
		}
	}()
	next, last := make(map[int32]int64), map[int32]int64(nil)
	for last == nil || behind(next, last) {
		fetches := cl.PollFetches(polling)
		if err := l.seen(fetches, next); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case last = <-told:
			polling = ctx
		default:
		}
	}
	return nil
}

func behind(next, ends map[int32]int64) bool {
	for p, end := range ends {
		if next[p] < end {
			return true
		}
	}
	return false
}

// seen notes what a poll gave. Errors that pass the client tries again by itself.
func (l *Load) seen(fetches kgo.Fetches, next map[int32]int64) error {
	for _, e := range fetches.Errors() {
		if lost := (*kgo.ErrDataLoss)(nil); errors.As(e.Err, &lost) {
			return fmt.Errorf("the reader of everything is told: %w", e.Err)
		}
	}
	fetches.EachRecord(func(r *kgo.Record) {
		read := history.Read{Partition: r.Partition, Offset: r.Offset}
		if id, ok := history.Open(r.Partition, r.Value); ok {
			read.ID = id
		} else {
			read.Torn = true
		}
		l.Out.Seen(read)
		next[r.Partition] = r.Offset + 1
	})
	return nil
}

//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/test/history"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	compactedTopic = "crash-compacted"
	keys           = 200
	keysRate       = 1000 // values a second
	keyValueBytes  = 2000
	doomedPrefix   = "crash-doomed-"
)

// writeKeys writes the compacted topic until writing ends: one key after the other, each with rising numbers from 1.
func writeKeys(ctx, writing context.Context, f *flags, out *history.Writer) error {
	cl, err := f.load.Client(kgo.DefaultProduceTopic(compactedTopic), kgo.ProduceRequestTimeout(5*time.Second),
		kgo.ProducerBatchCompression(kgo.NoCompression())) // segments are to fill up
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed atomic.Pointer[error]
	tick := time.NewTicker(time.Second / keysRate)
	defer tick.Stop()
	for n := int64(0); writing.Err() == nil && failed.Load() == nil; n++ {
		key, seq := n%keys, n/keys+1
		out.KeySent(key, seq)
		cl.Produce(ctx, keyRecord(key, seq), func(_ *kgo.Record, err error) {
			if err != nil {
				err = fmt.Errorf("key %d, number %d: %w", key, seq, err)
				failed.CompareAndSwap(nil, &err)
				return
			}
			out.KeyAcked(key, seq)
		})
		<-tick.C
	}
	flushing, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = cl.Flush(flushing)
	if p := failed.Load(); p != nil {
		err = errors.Join(err, *p)
	}
	return err
}

func keyRecord(key, seq int64) *kgo.Record {
	value := make([]byte, keyValueBytes)
	binary.BigEndian.PutUint64(value, uint64(seq))
	return &kgo.Record{Key: []byte(strconv.FormatInt(key, 10)), Value: value}
}

// readKeys notes what compaction has left.
func readKeys(ctx context.Context, f *flags, out *history.Writer) error {
	cl, err := f.load.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, compactedTopic)
	if err := errors.Join(err, ends.Error()); err != nil {
		return err
	}
	end, _ := ends.Lookup(compactedTopic, 0)
	reader, err := f.load.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{compactedTopic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return err
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for at := int64(0); at < end.Offset; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%s, %d of %d: %w", compactedTopic, at, end.Offset, err)
		}
		for _, r := range fetches.Records() {
			key, err := strconv.ParseInt(string(r.Key), 10, 64)
			if err != nil || len(r.Value) != keyValueBytes {
				return fmt.Errorf("%s at %d holds key %q and a value of %d bytes", compactedTopic, r.Offset, r.Key, len(r.Value))
			}
			out.KeyRead(key, int64(binary.BigEndian.Uint64(r.Value)), r.Offset)
			at = r.Offset + 1
		}
	}
	return nil
}

// doom makes topics with a record and deletes them, until writing ends.
func doom(ctx, writing context.Context, f *flags, out *history.Writer) error {
	cl, err := f.load.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for number := int64(0); writing.Err() == nil; number++ {
		name := fmt.Sprint(doomedPrefix, number)
		if err := again(ctx, kerr.TopicAlreadyExists, func(ctx context.Context) error {
			_, err := adm.CreateTopic(ctx, 2, 1, nil, name)
			return err
		}); err != nil {
			return err
		}
		// Whether the record comes through does not matter: it only makes a directory.
		try, cancel := context.WithTimeout(ctx, time.Second)
		_ = cl.ProduceSync(try, &kgo.Record{Topic: name, Value: []byte("doomed")}).FirstErr()
		cancel()
		if err := again(ctx, kerr.UnknownTopicOrPartition, func(ctx context.Context) error {
			_, err := adm.DeleteTopic(ctx, name)
			return err
		}); err != nil {
			return err
		}
		out.TopicDeleted(number)
	}
	return nil
}

// again calls the broker until it has done what is asked, which done says that an earlier call did.
func again(ctx context.Context, done error, call func(context.Context) error) error {
	for {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := call(try)
		cancel()
		if err == nil || errors.Is(err, done) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// listDoomed notes which of the doomed topics are there.
func listDoomed(ctx context.Context, f *flags, out *history.Writer) error {
	cl, err := f.load.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(ctx)
	if err != nil {
		return err
	}
	for name := range topics {
		if number, err := strconv.ParseInt(strings.TrimPrefix(name, doomedPrefix), 10, 64); err == nil {
			out.TopicThere(number)
		}
	}
	return nil
}

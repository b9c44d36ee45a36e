package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const fullTopic = "full"

// fill writes until the broker refuses, and then expects what was acknowledged to be served, and admin requests answered.
func fill(ctx context.Context, address string) (failed int) {
	check := func(what string, err error) {
		if err != nil {
			failed++
			fmt.Printf("FAILED %s: %v\n", what, err)
			return
		}
		fmt.Printf("ok     %s\n", what)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic(fullTopic), kgo.AllowAutoTopicCreation(),
		kgo.DisableIdempotentWrite(), kgo.RecordRetries(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		check("a client", err)
		return failed
	}
	defer cl.Close()
	value := bytes.Repeat([]byte("x"), 500_000)
	acked := 0
	for err == nil && acked < 2000 {
		if err = cl.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr(); err == nil {
			acked++
		}
		if acked == 0 && errors.Is(err, kerr.UnknownTopicOrPartition) {
			err = nil // the topic is being made
		}
	}
	if acked == 2000 {
		err = nil
	}
	if !errors.Is(err, kerr.KafkaStorageError) {
		check("a full disk refuses with KAFKA_STORAGE_ERROR", fmt.Errorf("after %d records: %v", acked, err))
	} else {
		check(fmt.Sprintf("a full disk refuses with KAFKA_STORAGE_ERROR, after %d records of 500 kB", acked), nil)
	}
	check("what was acknowledged is served", readBack(ctx, address, acked, value))
	adm := kadm.NewClient(cl)
	topics, err := adm.ListTopics(ctx)
	check("metadata are served", errors.Join(err, topics.Error()))
	return failed
}

// readBack reads the first n records.
func readBack(ctx context.Context, address string, n int, value []byte) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(fullTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for got := 0; got < n; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %d of %d: %w", got, n, err)
		}
		for _, r := range fetches.Records() {
			if !bytes.Equal(r.Value, value) || r.Offset != int64(got) {
				return fmt.Errorf("record %d is not what was written", got)
			}
			got++
		}
	}
	return nil
}

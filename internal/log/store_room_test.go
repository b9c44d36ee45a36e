package log

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/vfs"
)

// TestFullDisk: produce is refused, reads, other writes and deletions go on, and produce too once there is room.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		mem.SetCapacity(8 << 20)
		cfg := storeConfig(mem, "/a")
		cfg.ReservedBytes = 1 << 20
		s := openedStore(t, cfg)
		s.Start()
		time.Sleep(2 * time.Second) // the reserve is made
		big, small := createdLog(t, s, partition("big", 0)), createdLog(t, s, partition("small", 0))
		appendValues(t, small, "first")
		value := strings.Repeat("v", 300<<10)
		var err error
		var acknowledged int
		for err == nil {
			if _, err = big.AppendAsLeader(storeBatch(value), 1); err == nil {
				acknowledged++
			}
		}
		if !errors.Is(err, kerr.KafkaStorageError) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the disk is full and append says %v", err)
		}
		synctest.Wait()
		if !s.Dirs()[0].Full || s.Dirs()[0].Err != nil {
			t.Fatalf("%+v", s.Dirs()[0])
		}
		if free, _, _ := mem.Usage("/a"); free < 1<<20 {
			t.Fatalf("%d bytes are free for recovery", free)
		}
		if _, err := small.AppendAsLeader(storeBatch("x"), 1); !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatalf("produce of another partition says %v", err)
		}
		big.SetHighWatermark(big.EndOffset())
		if got := valuesOf(t, big); len(got) != acknowledged {
			t.Fatalf("%d of %d records can be read", len(got), acknowledged)
		}
		if err := errors.Join(big.Sync(), s.CheckpointHighWatermarks()); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(partition("big", 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if _, err := small.AppendAsLeader(storeBatch("x"), 1); !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatalf("the space is not free yet, and produce says %v", err)
		}
		time.Sleep(35 * time.Second)
		appendValues(t, small, "again")
		wantValues(t, small, "first", "again")
		if info, err := mem.Stat("/a/" + reserveFile); err != nil || info.Size() != cfg.ReservedBytes {
			t.Fatalf("the reserve: %v, %v", info, err)
		}
		closedStore(t, s)
	})
}

// TestFullDiskClosesCleanly: the reserve makes room for what a clean close writes.
func TestFullDiskClosesCleanly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		mem.SetCapacity(4 << 20)
		cfg := storeConfig(mem, "/a")
		cfg.ReservedBytes = 1 << 20
		s := openedStore(t, cfg)
		s.Start()
		time.Sleep(2 * time.Second)
		l := createdLog(t, s, partition("t", 0))
		n := 0
		for ; ; n++ {
			if _, err := l.AppendAsLeader(storeBatch(strings.Repeat("v", 100<<10)), 1); err != nil {
				break
			}
		}
		synctest.Wait()
		closedStore(t, s)
		s = openedStore(t, cfg)
		if !s.CleanShutdown() || len(valuesOf(t, s.Found()[0])) != n {
			t.Fatalf("clean %v, %d of %d records", s.CleanShutdown(), len(valuesOf(t, s.Found()[0])), n)
		}
		closedStore(t, s)
	})
}

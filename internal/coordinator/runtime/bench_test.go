package runtime

import (
	"testing"
	"time"

	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
)

// BenchmarkRequest is the runtime's share of a request: a shard that costs nothing, over a log in memory without syncs.
func BenchmarkRequest(b *testing.B) {
	for _, bc := range []struct {
		name  string
		write bool
	}{{"read", false}, {"write", true}} {
		b.Run(bc.name, func(b *testing.B) {
			f := newFixture(b, 1, partition.DurabilityOS)
			trivial := &trivialShard{kv: kv{loaded: make(chan struct{})}, write: bc.write}
			f.cfg.NewShard = func(int32) Shard { return trivial }
			f.Elected(0, 0)
			<-trivial.loaded
			answer := func(_ any, err error) {
				if err != nil {
					b.Error(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				f.Request(0, nil, false, answer)
			}
		})
	}
}

// BenchmarkLoad is the replay of a log of small records.
func BenchmarkLoad(b *testing.B) {
	f := newFixture(b, 1, partition.DurabilityOS)
	const records = 100_000
	for range records / 100 {
		pairs := make([]string, 200)
		for i := range pairs {
			pairs[i] = "a key or value of about 40 bytes, say it"
		}
		batch := build(record.None, 1, pairs...)
		b.SetBytes(int64(len(batch)) * records / 100)
		if _, err := f.partitions[0].AppendAsLeader(batch, 1); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		trivial := &trivialShard{}
		ld := loader{life: newLife(f.Runtime, f.partitions[0], 0, 0), shard: trivial}
		if err := ld.run(); err != nil || ld.records != records {
			b.Fatal(ld.records, err)
		}
	}
}

// trivialShard writes the same record again and again, or nothing.
type trivialShard struct {
	kv
	write   bool
	records [1]Record
	replies [1]Reply
}

var trivialKey, trivialValue = make([]byte, 30), make([]byte, 40)

func (s *trivialShard) Handle(t Ticket, _ any, _ time.Time) Effects {
	s.replies[0] = Reply{t, nil}
	e := Effects{Replies: s.replies[:]}
	if s.write {
		s.records[0] = Record{trivialKey, trivialValue}
		e.Records = s.records[:]
	}
	return e
}

func (s *trivialShard) Replay(_, _ []byte, _ int64) error { return nil }

package runtime

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
)

// TestShardEqualsAcknowledgedWrites: whatever is written, refused by the disk, discarded and loaded again, a shard
// is what was acknowledged. What was given up before it was committed may have been written or not.
func TestShardEqualsAcknowledgedWrites(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			m := &model{fixture: newFixture(t, 1, partition.DurabilityFsync), rnd: rand.New(rand.NewPCG(seed, 0)), acknowledged: map[string]string{}}
			m.elect(0, 0)
			for range 300 {
				m.step(t)
			}
			m.reload(t)
		})
	}
}

type model struct {
	*fixture
	rnd          *rand.Rand
	epoch        ids.LeaderEpoch
	acknowledged map[string]string
}

func (m *model) step(t *testing.T) {
	key, value := fmt.Sprint("key ", m.rnd.IntN(10)), fmt.Sprint(m.rnd.Uint32())
	switch n := m.rnd.IntN(100); {
	case n < 40:
		m.want(t, put{key, value}, "ok")
		m.acknowledged[key] = value
	case n < 60:
		m.want(t, del{key}, "ok")
		delete(m.acknowledged, key)
	case n < 80:
		m.want(t, get{key}, m.acknowledged[key])
	case n < 90:
		fault := m.failWrites(syscall.ENOSPC, 1)
		if got, err := m.do(put{key, value}); !errors.Is(err, kerr.NotCoordinator) {
			t.Fatalf("put on a full disk: %v, %v", got, err)
		}
		fault.Remove()
	case n < 95:
		m.giveUp(t, put{key, value})
	default:
		m.reload(t)
	}
}

// giveUp discards the shard while a write waits for its commit.
func (m *model) giveUp(t *testing.T, req put) {
	unstall := m.stall()
	write := m.send(0, req)
	m.Resigned(0)
	wantError(t, write, kerr.NotCoordinator)
	unstall()
	m.epoch++
	m.elect(0, m.epoch)
	if got, err := m.do(get{req.key}); got == req.value {
		m.acknowledged[req.key] = req.value
	} else if err != nil || got != m.acknowledged[req.key] {
		t.Fatalf("%q is %v, %v, was %q and may be %q", req.key, got, err, m.acknowledged[req.key], req.value)
	}
}

func (m *model) reload(t *testing.T) {
	if m.rnd.IntN(2) == 0 {
		m.Resigned(0)
	}
	m.epoch++
	m.elect(0, m.epoch)
	m.want(t, get{"key 0"}, m.acknowledged["key 0"]) // the shard is loaded, and nobody else's, from here on
	if got := m.shard(0).values; !maps.Equal(got, m.acknowledged) {
		t.Fatalf("loaded %v, acknowledged %v", got, m.acknowledged)
	}
}

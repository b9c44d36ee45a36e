package log

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/moldau/moldau/internal/ids"
)

// keyEntryBytes is what a key costs in an offsetMap, whatever its length, as in Apache Kafka.
const keyEntryBytes = 24

// offsetMap knows the last offset of each key of the part of a log that a cleaning looks at. It
// is filled in the order of offsets. Java: SkimpyOffsetMap.
//
// A key is known by 128 bits of a hash alone, and two keys of one hash would be one key: the
// older record of them would be lost. So the hash is a cryptographic one, with a secret of this
// map in front. By chance two of the five million keys that 128 MiB hold meet once in 10^25
// cleanings, and nobody can make two keys that do, which seeded hashes for tables do not promise.
// It takes a tenth of a microsecond, less than what it costs to read the record.
type offsetMap struct {
	slots  []keyEntry // open addressing; an entry of offset 0 is free
	keys   int
	most   int // keys that it takes
	hash   hash.Hash
	secret [16]byte
	sum    [sha256.Size]byte // scratch
}

// keyEntry has its offset plus one, so that the zero value is a free slot.
type keyEntry struct {
	high, low  uint64
	offsetPlus int64
}

// offsetMapSlots returns how many slots a map of at most bytesMax has that is to hold keys keys with a load of at most load.
func offsetMapSlots(bytesMax int64, keys int64, load float64) int {
	return int(max(2, min(bytesMax/keyEntryBytes, int64(float64(keys)/load)+2)))
}

// newOffsetMap returns an empty map of so many slots, of which at most the part load, and never all, get used.
func newOffsetMap(slots int, load float64) *offsetMap {
	m := &offsetMap{slots: make([]keyEntry, slots), hash: sha256.New()}
	m.most = max(1, min(slots-1, int(float64(slots)*load)))
	rand.Read(m.secret[:]) // never fails: crypto/rand ends the process instead
	return m
}

// put notes that key has a record at o, and returns false where there is no room for a key that is new.
func (m *offsetMap) put(key []byte, o ids.Offset) bool {
	e := m.find(key)
	if e.offsetPlus == 0 {
		if m.keys >= m.most {
			return false
		}
		m.keys++
		e.high, e.low = m.halves()
	}
	e.offsetPlus = int64(o) + 1
	return true
}

// last returns the offset of the last record of key; NoOffset where it has none.
func (m *offsetMap) last(key []byte) ids.Offset { return ids.Offset(m.find(key).offsetPlus - 1) }

// find returns the slot of key, or the free one where it belongs, and leaves its hash in m.sum.
func (m *offsetMap) find(key []byte) *keyEntry {
	m.hash.Reset()
	m.hash.Write(m.secret[:])
	m.hash.Write(key)
	m.hash.Sum(m.sum[:0])
	high, low := m.halves()
	for i := low % uint64(len(m.slots)); ; i = (i + 1) % uint64(len(m.slots)) {
		if e := &m.slots[i]; e.offsetPlus == 0 || e.high == high && e.low == low {
			return e
		}
	}
}

func (m *offsetMap) halves() (high, low uint64) {
	return binary.BigEndian.Uint64(m.sum[:]), binary.BigEndian.Uint64(m.sum[8:])
}

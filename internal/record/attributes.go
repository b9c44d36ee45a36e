package record

import "fmt"

// Attributes are the 16 flag bits of a batch; bits 7 to 15 are unused.
type Attributes int16

// The bits of Attributes; the three lowest hold the codec.
const (
	codecMask        Attributes = 0x07
	logAppendTimeBit Attributes = 1 << 3
	transactionalBit Attributes = 1 << 4
	controlBit       Attributes = 1 << 5
	deleteHorizonBit Attributes = 1 << 6
)

// Codec returns what the records are compressed with. The value may be one that
// no codec has: 5, 6 or 7.
func (a Attributes) Codec() Codec { return Codec(a & codecMask) }

// LogAppendTime tells whether every record carries the time of its append, which is the
// batch's max timestamp, instead of the time its producer gave it.
func (a Attributes) LogAppendTime() bool { return a&logAppendTimeBit != 0 }

// Transactional tells whether the batch belongs to a transaction.
func (a Attributes) Transactional() bool { return a&transactionalBit != 0 }

// Control tells whether the batch holds control records, which consumers never see.
func (a Attributes) Control() bool { return a&controlBit != 0 }

// HasDeleteHorizon tells whether the base timestamp is the time from which the log
// cleaner may drop the batch's tombstones and markers (KIP-534).
func (a Attributes) HasDeleteHorizon() bool { return a&deleteHorizonBit != 0 }

// Codec names a compression of the records of one batch.
type Codec int8

// Kafka's codecs, by their number in the attributes.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

var codecNames = [...]string{None: "none", Gzip: "gzip", Snappy: "snappy", LZ4: "lz4", Zstd: "zstd"}

// Known tells whether c is one of Kafka's codecs.
func (c Codec) Known() bool { return c >= None && c <= Zstd }

// String returns Kafka's name of the codec, as in compression.type of a producer.
func (c Codec) String() string {
	if !c.Known() {
		return fmt.Sprintf("codec %d", int8(c))
	}
	return codecNames[c]
}

// ParseCodec reads the names that String returns.
func ParseCodec(name string) (Codec, error) {
	for c, n := range codecNames {
		if n == name {
			return Codec(c), nil
		}
	}
	return None, fmt.Errorf("%q is not a compression codec: take none, gzip, snappy, lz4 or zstd", name)
}

package cli

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/record"
)

const (
	offsetEntryBytes   = 8  // int32 offset less the segment's base, int32 position
	timeEntryBytes     = 12 // int64 timestamp, int32 offset less the segment's base
	snapshotBytesMax   = 256 << 20
	segmentNameDigits  = 20
	indexEntriesAtOnce = 4096
)

// baseOffset reads the base offset out of a segment file's name.
func baseOffset(name string) (ids.Offset, error) {
	if _, err := os.Stat(name); err != nil {
		return 0, err
	}
	stem, _, _ := strings.Cut(filepath.Base(name), ".")
	n, err := strconv.ParseInt(stem, 10, 64)
	if err != nil || len(stem) != segmentNameDigits || n < 0 {
		return 0, errors.New("its name is no offset of 20 digits, so its entries have no base")
	}
	return ids.Offset(n), nil
}

// entries passes the entries of a file to each, until they are all zeros: Kafka makes
// an index in its whole size and cuts it when it is full.
func entries(name string, size int, each func(n int, e []byte) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buf, zeros := make([]byte, size*indexEntriesAtOnce), string(make([]byte, size))
	for n := 0; ; {
		read, err := f.ReadAt(buf, int64(n)*int64(size))
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for e := buf[:read]; len(e) > 0; e = e[size:] {
			if len(e) < size {
				return fmt.Errorf("it ends within entry %d", n)
			}
			if string(e[:size]) == zeros && (n > 0 || read == len(buf)) {
				return nil
			}
			if err := each(n, e[:size]); err != nil {
				return fmt.Errorf("entry %d: %w", n, err)
			}
			n++
		}
		if read < len(buf) {
			return nil
		}
	}
}

// offsetIndex prints an .index file and looks up every entry in the segment beside it.
func (d *dumper) offsetIndex(name string) error {
	base, err := baseOffset(name)
	if err != nil {
		return err
	}
	segment, err := os.Open(strings.TrimSuffix(name, ".index") + ".log")
	if err == nil {
		defer segment.Close()
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	lastOffset, lastPosition := ids.NoOffset, int64(-1)
	return entries(name, offsetEntryBytes, func(_ int, e []byte) error {
		offset := base + ids.Offset(int32(binary.BigEndian.Uint32(e)))
		position := int64(int32(binary.BigEndian.Uint32(e[4:])))
		v := struct {
			Offset   ids.Offset `json:"offset"`
			Position int64      `json:"position"`
		}{offset, position}
		if err := d.print(v, "offset %d at byte %d", offset, position); err != nil {
			return err
		}
		if offset <= lastOffset || position <= lastPosition {
			return fmt.Errorf("offset %d at byte %d follows offset %d at byte %d", offset, position, lastOffset, lastPosition)
		}
		lastOffset, lastPosition = offset, position
		return checkIndexed(segment, offset, position)
	})
}

// checkIndexed looks whether the batch at position holds offset; segment may be nil.
func checkIndexed(segment *os.File, offset ids.Offset, position int64) error {
	if segment == nil {
		return nil
	}
	var head [record.HeaderBytes]byte
	if err := readFullAt(segment, head[:], position); err != nil {
		return fmt.Errorf("the segment has no batch at byte %d: %w", position, err)
	}
	h, err := record.ReadHeader(head[:])
	if err != nil {
		return fmt.Errorf("the segment has no batch at byte %d: %w", position, err)
	}
	if offset < h.BaseOffset || offset > h.LastOffset() {
		return fmt.Errorf("the batch at byte %d has offsets %d to %d, not %d", position, h.BaseOffset, h.LastOffset(), offset)
	}
	return nil
}

// timeIndex prints a .timeindex file.
func (d *dumper) timeIndex(name string) error {
	base, err := baseOffset(name)
	if err != nil {
		return err
	}
	lastTime, lastOffset := int64(-1), ids.NoOffset
	return entries(name, timeEntryBytes, func(_ int, e []byte) error {
		timestamp := int64(binary.BigEndian.Uint64(e))
		offset := base + ids.Offset(int32(binary.BigEndian.Uint32(e[8:])))
		v := struct {
			TimestampMs int64      `json:"timestamp_ms"`
			Offset      ids.Offset `json:"offset"`
		}{timestamp, offset}
		if err := d.print(v, "%s offset %d", timeText(timestamp), offset); err != nil {
			return err
		}
		if timestamp <= lastTime || offset < lastOffset {
			return fmt.Errorf("timestamp %d of offset %d follows timestamp %d of offset %d", timestamp, offset, lastTime, lastOffset)
		}
		lastTime, lastOffset = timestamp, offset
		return nil
	})
}

// txnIndex prints a .txnindex file.
func (d *dumper) txnIndex(name string) error {
	return entries(name, log.AbortedEntryBytes, func(_ int, e []byte) error {
		a, err := log.InspectAborted(e)
		if err != nil {
			return err
		}
		v := struct {
			ProducerID       ids.ProducerID `json:"producer_id"`
			FirstOffset      ids.Offset     `json:"first_offset"`
			LastOffset       ids.Offset     `json:"last_offset"`
			LastStableOffset ids.Offset     `json:"last_stable_offset"`
		}{a.ProducerID, a.FirstOffset, a.LastOffset, a.LastStable}
		return d.print(v, "producer %d aborted offsets %d..%d, last stable offset %d", a.ProducerID, a.FirstOffset, a.LastOffset, a.LastStable)
	})
}

// dumpedProducer is a producer of a snapshot as dump-log -o json prints it.
type dumpedProducer struct {
	ProducerID       ids.ProducerID    `json:"producer_id"`
	ProducerEpoch    ids.ProducerEpoch `json:"producer_epoch"`
	LastSequence     int32             `json:"last_sequence"`
	LastOffset       ids.Offset        `json:"last_offset"`
	OffsetDelta      int32             `json:"offset_delta"`
	TimestampMs      int64             `json:"timestamp_ms"`
	CoordinatorEpoch int32             `json:"coordinator_epoch"`
	TxnFirstOffset   ids.Offset        `json:"txn_first_offset"`
}

// snapshot prints a .snapshot file.
func (d *dumper) snapshot(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.Size() > snapshotBytesMax {
		return fmt.Errorf("it has %d bytes, more than any producer snapshot", info.Size())
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	producers, err := log.InspectProducerSnapshot(content)
	if err != nil {
		return err
	}
	for _, p := range producers {
		txn := ""
		if p.TxnFirstOffset >= 0 {
			txn = fmt.Sprintf(", transaction from offset %d", p.TxnFirstOffset)
		}
		if err := d.print(dumpedProducer{p.ProducerID, p.Epoch, p.LastSequence, p.LastOffset, p.OffsetDelta, p.TimestampMs, p.CoordinatorEpoch, p.TxnFirstOffset},
			"producer %d epoch %d, last sequence %d at offset %d, %s%s", p.ProducerID, p.Epoch,
			p.LastSequence, p.LastOffset, timeText(p.TimestampMs), txn); err != nil {
			return err
		}
	}
	return nil
}

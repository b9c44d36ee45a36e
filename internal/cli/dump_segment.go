package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// dumpedBatch is a batch of a segment as dump-log -o json prints it.
type dumpedBatch struct {
	Position        int64          `json:"position"`
	SizeBytes       int            `json:"size_bytes"`
	BaseOffset      ids.Offset     `json:"base_offset"`
	LastOffset      ids.Offset     `json:"last_offset"`
	Count           int32          `json:"count"`
	LeaderEpoch     int32          `json:"leader_epoch"`
	Codec           string         `json:"codec"`
	TimestampType   string         `json:"timestamp_type"`
	BaseTimestampMs int64          `json:"base_timestamp_ms"`
	MaxTimestampMs  int64          `json:"max_timestamp_ms"`
	ProducerID      int64          `json:"producer_id"`
	ProducerEpoch   int16          `json:"producer_epoch"`
	BaseSequence    int32          `json:"base_sequence"`
	Transactional   bool           `json:"transactional"`
	Control         bool           `json:"control"`
	CRC             uint32         `json:"crc"`
	CRCValid        bool           `json:"crc_valid"`
	Records         []dumpedRecord `json:"records,omitempty"`
}

type dumpedRecord struct {
	Offset ids.Offset `json:"offset"`
	jsonRecord
}

// segment prints the batches of a .log file.
func (d *dumper) segment(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	next := ids.Offset(0)
	for pos := int64(0); ; {
		b, err := readBatch(f, pos)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("at byte %d: %w", pos, err)
		}
		if b.BaseOffset() < next {
			return fmt.Errorf("at byte %d: the batch at offset %d follows one that ends at %d", pos, b.BaseOffset(), next-1)
		}
		if err := d.batch(pos, b); err != nil {
			return fmt.Errorf("at byte %d: %w", pos, err)
		}
		next, pos = b.NextOffset(), pos+int64(b.SizeBytes())
	}
}

// readBatch reads the batch at pos; io.EOF where the file ends there, or where only
// zeros follow, as in a segment that was made in its whole size.
func readBatch(f *os.File, pos int64) (record.Batch, error) {
	var head [record.HeaderBytes]byte
	n, err := f.ReadAt(head[:], pos)
	if n == 0 || head == [record.HeaderBytes]byte{} {
		if err == nil {
			err = io.EOF
		}
		return nil, err
	}
	h, err := record.ReadHeader(head[:n])
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if left := info.Size() - pos; int64(h.SizeBytes) > left {
		return nil, fmt.Errorf("%w: the file has %d bytes of %d", record.ErrTruncated, left, h.SizeBytes)
	}
	b := make([]byte, h.SizeBytes)
	if err := readFullAt(f, b, pos); err != nil {
		return nil, err
	}
	batch, _, err := record.First(b)
	return batch, err
}

func (d *dumper) batch(pos int64, b record.Batch) error {
	h := b.Header()
	stamps := "CreateTime"
	if h.Attributes.LogAppendTime() {
		stamps = "LogAppendTime"
	}
	v := dumpedBatch{pos, h.SizeBytes, h.BaseOffset, h.LastOffset(), h.Count, int32(h.LeaderEpoch), h.Attributes.Codec().String(), stamps,
		h.BaseTimestamp, h.MaxTimestamp, int64(h.ProducerID), int16(h.ProducerEpoch), h.BaseSequence, h.Attributes.Transactional(),
		h.Attributes.Control(), h.CRC, b.CheckCRC(), nil}
	var recordsErr error
	if d.records && v.CRCValid {
		v.Records, recordsErr = dumpRecords(b)
	}
	if err := d.print(v, "%s", batchText(&v)); err != nil {
		return err
	}
	if d.json == nil {
		for i := range v.Records {
			fmt.Fprintf(d.out, "  %s\n", recordText(&v.Records[i], v.Control))
		}
	}
	if !v.CRCValid {
		return fmt.Errorf("the CRC of the batch at offset %d is wrong", h.BaseOffset)
	}
	return recordsErr
}

func batchText(v *dumpedBatch) string {
	text := fmt.Sprintf("offsets %d..%d, %d records, byte %d, %d bytes, %s, epoch %d, %s %s", v.BaseOffset, v.LastOffset, v.Count, v.Position,
		v.SizeBytes, v.Codec, v.LeaderEpoch, v.TimestampType, timeText(v.MaxTimestampMs))
	if v.ProducerID >= 0 {
		text += fmt.Sprintf(", producer %d epoch %d", v.ProducerID, v.ProducerEpoch)
		if v.BaseSequence >= 0 {
			text += fmt.Sprintf(" sequence %d", v.BaseSequence)
		}
	}
	if v.Transactional {
		text += ", transactional"
	}
	if v.Control {
		text += ", control"
	}
	if !v.CRCValid {
		text += ", WRONG CRC"
	}
	return text
}

func timeText(ms int64) string {
	if ms < 0 {
		return "none"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

func dumpRecords(b record.Batch) ([]dumpedRecord, error) {
	var all []dumpedRecord
	for r, err := range b.Records() {
		if err != nil {
			return all, err
		}
		v := dumpedRecord{Offset: r.Offset}
		v.TimestampMs = &r.Timestamp
		v.Key, v.KeyBase64 = jsonBytes(r.Key)
		v.Value, v.ValueBase64 = jsonBytes(r.Value)
		for h := range r.Headers() {
			header := jsonHeader{Name: h.Key}
			header.Value, header.ValueBase64 = jsonBytes(h.Value)
			v.Headers = append(v.Headers, header)
		}
		all = append(all, v)
	}
	return all, nil
}

func recordText(r *dumpedRecord, control bool) string {
	if control {
		if kind, err := controlKind(r); err == nil {
			return fmt.Sprintf("%d %s %s", r.Offset, timeText(*r.TimestampMs), kind)
		}
	}
	text := fmt.Sprintf("%d %s key=%s value=%s", r.Offset, timeText(*r.TimestampMs), quoted(r.Key, r.KeyBase64), quoted(r.Value, r.ValueBase64))
	for _, h := range r.Headers {
		text += fmt.Sprintf(" %q=%s", h.Name, quoted(h.Value, h.ValueBase64))
	}
	return text
}

// controlKind names the type of a control record.
func controlKind(r *dumpedRecord) (string, error) {
	key, err := bytesOf("key", r.Key, r.KeyBase64)
	if err != nil {
		return "", err
	}
	kind, err := record.ReadControlKey(key)
	return fmt.Sprint(kind), err
}

func quoted(text, base *string) string {
	switch {
	case base != nil:
		return "base64:" + *base
	case text == nil:
		return "null"
	case !utf8.ValidString(*text):
		return "base64:" + *text
	}
	return fmt.Sprintf("%q", *text)
}

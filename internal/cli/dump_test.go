package cli

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

const stamp = 1700000000000 // 2023-11-14T22:13:20Z

// sampleSegment has a plain batch, one of an idempotent producer and a marker.
func sampleSegment(t *testing.T) []byte {
	plain := record.NewBuilder().Append(stamp, []byte("k"), []byte("v"), record.RecordHeader{Key: "h", Value: []byte("x")}).
		Append(stamp+1, nil, []byte{0xff})
	idempotent := record.NewBuilder()
	idempotent.ProducerID, idempotent.ProducerEpoch, idempotent.BaseSequence = 7, 1, 3
	idempotent.Append(stamp+2, nil, bytes.Repeat([]byte("z"), 500))
	var file []byte
	next := ids.Offset(5)
	for _, b := range []record.Batch{build(t, plain, record.None), build(t, idempotent, record.Gzip),
		record.EndTxnMarker{ProducerID: 7, ProducerEpoch: 1, Commit: true}.Build(stamp + 3)} {
		b.SetBaseOffset(next)
		b.SetLeaderEpoch(2)
		next = b.NextOffset()
		file = append(file, b...)
	}
	return file
}

func build(t *testing.T, b *record.Builder, codec record.Codec) record.Batch {
	t.Helper()
	batch, err := b.Build(codec)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// dump writes files in one directory and dumps the first.
func dump(t *testing.T, args []string, name string, files map[string][]byte) (stdout, stderr string, status int) {
	t.Helper()
	dir := t.TempDir()
	for n, content := range files {
		if err := os.WriteFile(filepath.Join(dir, n), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out, errOut bytes.Buffer
	p := &Program{Stdout: &out, Stderr: &errOut}
	status = p.Main(t.Context(), append([]string{"debug", "dump-log", filepath.Join(dir, name)}, args...))
	return out.String(), strings.ReplaceAll(errOut.String(), dir+string(filepath.Separator), ""), status
}

const (
	segmentName = "00000000000000000005.log"
	indexName   = "00000000000000000005.index"
	timeName    = "00000000000000000005.timeindex"
)

func TestDumpSegment(t *testing.T) {
	files := map[string][]byte{segmentName: append(sampleSegment(t), make([]byte, 4096)...)} // preallocated
	out, errOut, status := dump(t, []string{"-r"}, segmentName, files)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, want := range []string{
		"offsets 5..6, 2 records, byte 0, 82 bytes, none, epoch 2, CreateTime 2023-11-14T22:13:20.001Z",
		`  5 2023-11-14T22:13:20.000Z key="k" value="v" "h"="x"`,
		"  6 2023-11-14T22:13:20.001Z key=null value=base64:/w==",
		"offsets 7..7, 1 records, byte 82, *, gzip, epoch 2, CreateTime 2023-11-14T22:13:20.002Z, producer 7 epoch 1 sequence 3",
		`  7 2023-11-14T22:13:20.002Z key=null value="zzz`,
		"offsets 8..8, 1 records, *, none, epoch 2, CreateTime 2023-11-14T22:13:20.003Z, producer 7 epoch 1, transactional, control",
		"  8 2023-11-14T22:13:20.003Z COMMIT",
	} {
		before, after, _ := strings.Cut(want, "*")
		if i >= len(lines) || !strings.HasPrefix(lines[i], before) || !strings.Contains(lines[i], after) {
			t.Errorf("line %d of\n%s\nwant %s", i, out, want)
		}
	}
	if len(lines) != 7 || errOut != "" || status != 0 {
		t.Errorf("%d lines, %s, status %d", len(lines), errOut, status)
	}
	out, _, _ = dump(t, []string{"-o", "json", "-r"}, segmentName, files)
	if want := `"records":[{"offset":5,"timestamp_ms":1700000000000,"key":"k","value":"v","headers":[{"name":"h","value":"x"}]},` +
		`{"offset":6,"timestamp_ms":1700000000001,"key":null,"value":null,"value_base64":"/w=="}]}`; !strings.Contains(out, want) {
		t.Errorf("%s\nwant %s", out, want)
	}
}

// TestDumpDamaged: damage ends the dump with its place and status 1.
func TestDumpDamaged(t *testing.T) {
	segment := sampleSegment(t)
	flipped := bytes.Clone(segment)
	flipped[81]++
	backward := append(bytes.Clone(segment), segment...)
	for _, c := range []struct {
		rule    string
		content []byte
		want    string
	}{
		{"a wrong CRC", flipped, "at byte 0: the CRC of the batch at offset 5 is wrong"},
		{"cut short", segment[:len(segment)-1], "at byte "},
		{"a torn head", segment[:90], "at byte 82: the batch is cut short"},
		{"no batch", []byte(strings.Repeat("hello", 20)), "at byte 0: not a record batch"},
		{"offsets that go back", backward, "the batch at offset 5 follows one that ends at 8"},
	} {
		_, errOut, status := dump(t, nil, segmentName, map[string][]byte{segmentName: c.content})
		if status != 1 || !strings.HasPrefix(errOut, "moldau: "+segmentName+": at byte ") || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: status %d, %s", c.rule, status, errOut)
		}
	}
}

func offsetEntry(delta, position uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, delta), position)
}

func timeEntry(timestamp uint64, delta uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, timestamp), delta)
}

func TestDumpIndexes(t *testing.T) {
	segment, empty := sampleSegment(t), make([]byte, 40000)
	for _, c := range []struct {
		rule, name string
		content    []byte
		out, err   string
	}{
		{"offsets", indexName, offsetEntry(2, 82), "offset 7 at byte 82\n", ""},
		{"offsets, and room for more", indexName, append(offsetEntry(2, 82), empty...), "offset 7 at byte 82\n", ""},
		{"only room", indexName, empty, "", ""},
		{"an offset elsewhere", indexName, offsetEntry(3, 82), "offset 8 at byte 82\n", "entry 0: the batch at byte 82 has offsets 7 to 7, not 8"},
		{"no batch there", indexName, offsetEntry(3, 83), "offset 8 at byte 83\n", "entry 0: the segment has no batch at byte 83"},
		{"beyond the segment", indexName, offsetEntry(3, 99999), "offset 8 at byte 99999\n", "entry 0: the segment has no batch at byte 99999"},
		{"falling", indexName, append(offsetEntry(2, 82), offsetEntry(1, 90)...), "offset 7 at byte 82\noffset 6 at byte 90\n", "entry 1: offset 6 at byte 90 follows offset 7 at byte 82"},
		{"torn", indexName, offsetEntry(2, 82)[:5], "", "it ends within entry 0"},
		{"times", timeName, append(timeEntry(stamp, 0), timeEntry(stamp+2, 2)...), "2023-11-14T22:13:20.000Z offset 5\n2023-11-14T22:13:20.002Z offset 7\n", ""},
		{"falling times", timeName, append(timeEntry(stamp, 0), timeEntry(stamp, 2)...), "2023-11-14T22:13:20.000Z offset 5\n2023-11-14T22:13:20.000Z offset 7\n", "entry 1: timestamp 1700000000000 of offset 7 follows"},
	} {
		out, errOut, status := dump(t, nil, c.name, map[string][]byte{segmentName: segment, c.name: c.content})
		if out != c.out || (c.err == "") != (status == 0) || !strings.Contains(errOut, c.err) {
			t.Errorf("%s: status %d\n%s%s\nwant\n%s%s", c.rule, status, out, errOut, c.out, c.err)
		}
	}
	if _, errOut, status := dump(t, nil, "x.index", map[string][]byte{"x.index": nil}); status != 1 || !strings.Contains(errOut, "its name is no offset of 20 digits") {
		t.Errorf("status %d, %s", status, errOut)
	}
	if _, errOut, status := dump(t, nil, "x.txt", map[string][]byte{"x.txt": nil}); status != 1 || !strings.Contains(errOut, "its name does not end in .log") {
		t.Errorf("status %d, %s", status, errOut)
	}
	if out, _, status := dump(t, nil, "partition.metadata", map[string][]byte{"partition.metadata": []byte("version: 0\ntopic_id: x\n")}); status != 0 || out != "version: 0\ntopic_id: x\n" {
		t.Errorf("status %d, %s", status, out)
	}
	if _, errOut, status := dump(t, nil, indexName, nil); status != 1 || !strings.Contains(errOut, "no such file") {
		t.Errorf("status %d, %s", status, errOut)
	}
}

func TestDumpTxnIndexAndSnapshot(t *testing.T) {
	aborted := binary.BigEndian.AppendUint16(nil, 0)
	for _, n := range []uint64{7, 10, 20, 21} {
		aborted = binary.BigEndian.AppendUint64(aborted, n)
	}
	out, errOut, status := dump(t, nil, "00000000000000000005.txnindex", map[string][]byte{"00000000000000000005.txnindex": aborted})
	if out != "producer 7 aborted offsets 10..20, last stable offset 21\n" || status != 0 {
		t.Errorf("%s%s", out, errOut)
	}
	body := binary.BigEndian.AppendUint32(nil, 1)
	body = binary.BigEndian.AppendUint64(body, 7)
	body = binary.BigEndian.AppendUint16(body, 1)
	body = binary.BigEndian.AppendUint32(body, 3)
	body = binary.BigEndian.AppendUint64(body, 12)
	body = binary.BigEndian.AppendUint32(body, 2)
	body = binary.BigEndian.AppendUint64(body, stamp)
	body = binary.BigEndian.AppendUint32(body, 0)
	body = binary.BigEndian.AppendUint64(body, 11)
	snapshot := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, 1), crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	snapshot = append(snapshot, body...)
	name := "00000000000000000013.snapshot"
	out, errOut, status = dump(t, nil, name, map[string][]byte{name: snapshot})
	if out != "producer 7 epoch 1, last sequence 3 at offset 12, 2023-11-14T22:13:20.000Z, transaction from offset 11\n" || status != 0 {
		t.Errorf("%s%s", out, errOut)
	}
	snapshot[len(snapshot)-1]++
	if _, errOut, status = dump(t, nil, name, map[string][]byte{name: snapshot}); status != 1 || !strings.Contains(errOut, "its CRC is") {
		t.Errorf("status %d, %s", status, errOut)
	}
}

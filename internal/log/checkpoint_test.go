package log

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

func putFile(t testing.TB, fsys vfs.FS, name, content string) {
	t.Helper()
	f, err := fsys.Create(name)
	if err == nil {
		_, err = f.WriteAt([]byte(content), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// As Apache Kafka 4.3.1 wrote it.
const kafkaCheckpoint = "0\n2\nt 0 7\nt 1 0\n"

func TestOffsetCheckpoint(t *testing.T) {
	fsys := vfs.NewMem()
	mustMkdir(t, fsys, "d")
	m := map[ids.TopicPartition]ids.Offset{{Topic: "t", Partition: 1}: 0, {Topic: "t", Partition: 0}: 7}
	if err := writeOffsetCheckpoint(fsys, "d", recoveryPointCheckpoint, m); err != nil {
		t.Fatal(err)
	}
	if b, _ := readSmallFile(fsys, "d", recoveryPointCheckpoint, 1000); string(b) != kafkaCheckpoint {
		t.Fatalf("wrote %q, want %q", b, kafkaCheckpoint)
	}
	got, err := readOffsetCheckpoint(fsys, "d", recoveryPointCheckpoint)
	if err != nil || !maps.Equal(got, m) {
		t.Fatal(got, err)
	}
	got, err = readOffsetCheckpoint(fsys, "d", logStartCheckpoint)
	if err != nil || len(got) != 0 {
		t.Fatal("a missing file is an empty map:", got, err)
	}
	if err := writeOffsetCheckpoint(fsys, "d", logStartCheckpoint, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := readOffsetCheckpoint(fsys, "d", logStartCheckpoint); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
}

func TestDamagedOffsetCheckpoints(t *testing.T) {
	for content, complaint := range map[string]string{
		"":                         "no version number",
		"x\n0\n":                   "no version number",
		"1\n0\n":                   "version is 1",
		"0\n":                      "no number of entries",
		"0\n-1\n":                  "no number of entries",
		"0\n2147483647\nt 0 7\n":   "says 2147483647 entries",
		"0\n2\nt 0 7\n":            "says 2 entries and has 1",
		"0\n1\nt 0 7\nt 1 0\n":     "says 1 entries and has 2",
		"0\n1\nt 0\n":              "line 3 is not",
		"0\n1\nt 0 7 8\n":          "line 3 is not",
		"0\n1\nt x 7\n":            "line 3 has",
		"0\n1\nt 0 -1\n":           "line 3 has",
		"0\n1\nt 4294967296 1\n":   "line 3 has",
		"0\n2\nt 0 1\nt 0 2\n":     "line 4 names t-0 a second time",
		"0\n1\nt 0 1\n\n":          "line 4 is not",
		"0\n1\n\x00\x00\x00\x00\n": "line 3 is not",
	} {
		fsys := vfs.NewMem()
		mustMkdir(t, fsys, "d")
		putFile(t, fsys, "d/"+recoveryPointCheckpoint, content)
		_, err := readOffsetCheckpoint(fsys, "d", recoveryPointCheckpoint)
		if !errors.Is(err, errDamagedFile) || !strings.Contains(err.Error(), complaint) || !strings.Contains(err.Error(), "remove it and start again: every log") {
			t.Errorf("%q: %v, want %q and what to do", content, err, complaint)
		}
	}
}

func TestTooLargeAFileIsNotRead(t *testing.T) {
	fsys := vfs.NewMem()
	mustMkdir(t, fsys, "d")
	putFile(t, fsys, "d/"+metaPropertiesFile, strings.Repeat("#", metaPropertiesBytesMax+1))
	if _, _, err := readMetaProperties(fsys, "d"); !errors.Is(err, errDamagedFile) {
		t.Fatal(err)
	}
}

func FuzzOffsetCheckpoint(f *testing.F) {
	f.Add([]byte(kafkaCheckpoint))
	f.Add([]byte("0\n0\n"))
	f.Add([]byte("0\n9999999\nt 0 7"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeOffsetCheckpoint(b)
		if err != nil {
			return
		}
		back, err := decodeOffsetCheckpoint(encodeOffsetCheckpoint(m))
		if err != nil || !maps.Equal(back, m) {
			t.Fatalf("%q: %v, %v", b, m, err)
		}
	})
}

package log

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// As Apache Kafka 4.3.1 wrote it.
const kafkaMetaProperties = `#
#Sat Nov 21 05:21:54 UTC 2026
cluster.id=4L6g3nShT-eMCtK--X86sw
directory.id=o9XUztIFi9fAggnU3z6Uwg
node.id=1
version=1
`

func mustUUID(t testing.TB, s string) ids.UUID {
	t.Helper()
	u, err := ids.ParseUUID(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestMetaProperties(t *testing.T) {
	fsys := vfs.NewMem()
	mustMkdir(t, fsys, "d")
	if _, found, err := readMetaProperties(fsys, "d"); found || err != nil {
		t.Fatal("missing:", found, err)
	}
	putFile(t, fsys, "d/"+metaPropertiesFile, kafkaMetaProperties)
	m, found, err := readMetaProperties(fsys, "d")
	want := metaProperties{ClusterID: "4L6g3nShT-eMCtK--X86sw", NodeID: 1, DirectoryID: mustUUID(t, "o9XUztIFi9fAggnU3z6Uwg")}
	if err != nil || !found || !reflect.DeepEqual(m, want) {
		t.Fatalf("Kafka's file: %+v, %v", m, err)
	}
	m.Format = moldauFormat
	if err := writeMetaProperties(fsys, "d", m); err != nil {
		t.Fatal(err)
	}
	if b, _ := readSmallFile(fsys, "d", metaPropertiesFile, 1000); string(b) != "cluster.id=4L6g3nShT-eMCtK--X86sw\ndirectory.id=o9XUztIFi9fAggnU3z6Uwg\nmoldau.format=1\nnode.id=1\nversion=1\n" {
		t.Fatalf("wrote %q", b)
	}
	if back, _, err := readMetaProperties(fsys, "d"); err != nil || !reflect.DeepEqual(back, m) {
		t.Fatalf("read back %+v, %v", back, err)
	}
}

func TestMetaPropertiesText(t *testing.T) {
	for _, c := range []struct {
		rule, text string
		want       metaProperties
	}{
		{"only what must be there", "version=1\nnode.id=0", metaProperties{}},
		{"colon and blank part key and value, too", "version:1\nnode.id   3\ncluster.id = c", metaProperties{NodeID: 3, ClusterID: "c"}},
		{"comments, empty lines, carriage returns", "# x\r\n ! y\r\n\r\nversion=1\r\nnode.id=1\r\n", metaProperties{NodeID: 1}},
		{"a line goes on after a backslash", "version=1\nnode.id=1\ncluster.id=ab\\\n   cd", metaProperties{NodeID: 1, ClusterID: "abcd"}},
		{"escapes", `version=1` + "\n" + `node\.id=1` + "\n" + `cluster.id=\u0041\=\\b`, metaProperties{NodeID: 1, ClusterID: `A=\b`}},
		{"the last of equal keys wins", "version=0\nnode.id=1\nnode.id=2\nversion=1", metaProperties{NodeID: 2}},
		{"keys of others are kept", "version=1\nnode.id=1\nx y=z", metaProperties{NodeID: 1, unknown: []property{{"x", "y=z"}}}},
	} {
		got, err := decodeMetaProperties([]byte(c.text))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.rule, got, err, c.want)
		}
	}
}

func TestDamagedMetaProperties(t *testing.T) {
	for text, complaint := range map[string]string{
		"":                                       `version is ""`,
		"node.id=1":                              `version is ""`,
		"version=0\nbroker.id=1":                 `version is "0"`,
		"version=1":                              "no node.id",
		"version=1\nnode.id=-2":                  "node.id",
		"version=1\nnode.id=x":                   "node.id",
		"version=1\nnode.id=1\ndirectory.id=abc": "directory.id",
		"version=1\nnode.id=1\nmoldau.format=2":  "a later release",
		"version=1\nnode.id=1\nmoldau.format=x":  "moldau.format",
		"version=1\xff":                          "not text",
	} {
		fsys := vfs.NewMem()
		mustMkdir(t, fsys, "d")
		putFile(t, fsys, "d/"+metaPropertiesFile, text)
		_, _, err := readMetaProperties(fsys, "d")
		if !errors.Is(err, errDamagedFile) || !strings.Contains(err.Error(), complaint) || !strings.Contains(err.Error(), metaPropertiesAdvice) {
			t.Errorf("%q: %v, want %q and what to do", text, err, complaint)
		}
	}
}

func FuzzMetaProperties(f *testing.F) {
	f.Add([]byte(kafkaMetaProperties))
	f.Add([]byte("version=1\nnode.id=1\nmoldau.format=1\nq\\u00e9\\\n \\t=\\uD83D\\uDE00 x"))
	f.Add([]byte("a\\"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMetaProperties(b)
		if err != nil {
			return
		}
		again := m.encode()
		back, err := decodeMetaProperties(again)
		if err != nil || back.ClusterID != m.ClusterID || back.NodeID != m.NodeID || back.DirectoryID != m.DirectoryID || len(back.unknown) != len(m.unknown) {
			t.Fatalf("%q written again as %q: %+v, %v", b, again, back, err)
		}
	})
}

func TestPartitionMetadata(t *testing.T) {
	const kafkas = "version: 0\ntopic_id: F-M5UEbbQN2YXSsi6u-URg"
	id := mustUUID(t, "F-M5UEbbQN2YXSsi6u-URg")
	fsys := vfs.NewMem()
	mustMkdir(t, fsys, "p")
	if _, found, err := readPartitionMetadata(fsys, "p"); found || err != nil {
		t.Fatal("missing:", found, err)
	}
	if err := writePartitionMetadata(fsys, "p", id); err != nil {
		t.Fatal(err)
	}
	if b, _ := readSmallFile(fsys, "p", partitionMetadataFile, 100); string(b) != kafkas {
		t.Fatalf("wrote %q, Kafka writes %q", b, kafkas)
	}
	if got, found, err := readPartitionMetadata(fsys, "p"); got != id || !found || err != nil {
		t.Fatal(got, found, err)
	}
	if got, err := decodePartitionMetadata([]byte(kafkas + "\n")); got != id || err != nil {
		t.Fatal("a newline at the end:", got, err)
	}
	for text, complaint := range map[string]string{
		"":                                    "version",
		"version: 1\n" + kafkas[11:]:          `version is "1"`,
		"version: 0\n":                        "two lines",
		"version: 0\ntopic_id: x":             "topic id",
		kafkas + "\nmore":                     "two lines",
		"version: 0\ntopic_id: " + zeroIDText: "zero",
	} {
		putFile(t, fsys, "p/"+partitionMetadataFile, text)
		if _, _, err := readPartitionMetadata(fsys, "p"); !errors.Is(err, errDamagedFile) || !strings.Contains(err.Error(), complaint) {
			t.Errorf("%q: %v, want %q", text, err, complaint)
		}
	}
}

const zeroIDText = "AAAAAAAAAAAAAAAAAAAAAA"

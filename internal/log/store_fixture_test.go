package log

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

const (
	testNode    = ids.NodeID(7)
	testCluster = "wzfeT1BvQ5C-sWlyGfvXRg"
)

// testLongAfter is later than anything that is due.
var testLongAfter = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// eachStoreFS runs a test over the operating system's files and over those in memory. root exists.
func eachStoreFS(t *testing.T, test func(t *testing.T, fsys vfs.FS, root string)) {
	t.Run("os", func(t *testing.T) { test(t, vfs.OS, t.TempDir()) })
	t.Run("mem", func(t *testing.T) { test(t, vfs.NewMem(), "/") })
}

// storeConfig has no reserve and logs to nobody.
func storeConfig(fsys vfs.FS, dirs ...string) StoreConfig {
	return StoreConfig{FS: fsys, Dirs: dirs, NodeID: testNode, ClusterID: testCluster, Logger: slog.New(slog.DiscardHandler)}
}

// loggedTo has what the store logs written to b.
func loggedTo(cfg StoreConfig, b *bytes.Buffer) StoreConfig {
	cfg.Logger = slog.New(slog.NewTextHandler(b, nil))
	return cfg
}

func openedStore(t testing.TB, cfg StoreConfig) *Store {
	t.Helper()
	s, err := OpenStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closedStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// testTopicID is the id of a topic in tests: the same for the same name.
func testTopicID(topic string) ids.TopicID {
	id := ids.TopicID{6: 0x40, 8: 0x80}
	copy(id[9:], topic)
	return id
}

func partition(topic string, n int32) ids.TopicPartition {
	return ids.TopicPartition{Topic: topic, Partition: n}
}

func createdLog(t testing.TB, s *Store, tp ids.TopicPartition) *Log {
	t.Helper()
	l, err := s.Create(tp, testTopicID(tp.Topic), DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// storeBatch is one batch of one record per value.
func storeBatch(values ...string) record.Batch {
	b := record.NewBuilder()
	for _, v := range values {
		b.Append(time.Now().UnixMilli(), nil, []byte(v))
	}
	return b.MustBuild()
}

// appendValues appends each value as a batch of its own and raises the high watermark over it.
func appendValues(t testing.TB, l *Log, values ...string) {
	t.Helper()
	for _, v := range values {
		if _, err := l.AppendAsLeader(storeBatch(v), 3); err != nil {
			t.Fatal(err)
		}
	}
	l.SetHighWatermark(l.EndOffset())
}

// valuesOf reads a whole log.
func valuesOf(t testing.TB, l *Log) []string {
	t.Helper()
	values, err := readValues(l)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func readValues(l *Log) ([]string, error) {
	values := []string{}
	err := eachRecord(l, func(_ ids.Offset, value string) { values = append(values, value) })
	return values, err
}

// eachRecord reads a whole log and checks its batches.
func eachRecord(l *Log, f func(o ids.Offset, value string)) error {
	for from := l.StartOffset(); from < l.EndOffset(); {
		s, err := l.Read(from, l.EndOffset(), 1<<20, true)
		if err != nil {
			return err
		}
		p := make([]byte, s.Len())
		_, err = s.ReadInto(p)
		s.Release()
		if err != nil && err != io.EOF {
			return err
		}
		next := from
		for len(p) > 0 {
			var b record.Batch
			if b, p, err = record.First(p); err != nil {
				return err
			}
			if !b.CheckCRC() {
				return fmt.Errorf("the batch at offset %d fails its checksum", b.BaseOffset())
			}
			for r, err := range b.Records() {
				if err != nil {
					return err
				}
				if r.Offset >= from {
					f(r.Offset, string(r.Value))
				}
			}
			next = b.NextOffset()
		}
		if next <= from {
			return fmt.Errorf("reading at offset %d gave nothing", from)
		}
		from = next
	}
	return nil
}

func wantValues(t testing.TB, l *Log, want ...string) {
	t.Helper()
	if got := valuesOf(t, l); !slices.Equal(got, want) {
		t.Fatalf("%s holds %q, want %q", l.TopicPartition(), got, want)
	}
}

func writeTestFile(t testing.TB, fsys vfs.FS, name, content string) {
	t.Helper()
	if err := fsys.MkdirAll(filepath.Dir(name)); err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Create(name)
	if err == nil {
		_, err = f.WriteAt([]byte(content), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func readTestFile(t testing.TB, fsys vfs.FS, name string) string {
	t.Helper()
	b, err := readSmallFile(fsys, filepath.Dir(name), filepath.Base(name), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tree returns every name under dir with the content of its files, without lock files.
func tree(t testing.TB, fsys vfs.FS, dir string) string {
	t.Helper()
	names, err := fsys.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fsys.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case name == lockFile:
		case info.IsDir():
			fmt.Fprintf(&b, "%s/\n%s", path, tree(t, fsys, path))
		default:
			fmt.Fprintf(&b, "%s %q\n", path, readTestFile(t, fsys, path))
		}
	}
	return b.String()
}

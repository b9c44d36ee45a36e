package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/vfs"
)

// newTestBroker is a broker on any port of the loopback, with its data under /data.
func newTestBroker(t *testing.T, fsys vfs.FS, settings ...[2]string) *Broker {
	t.Helper()
	var entries []config.Entry
	settings = append(settings, [2]string{"node.id", "1"}, [2]string{"listeners", "PLAINTEXT://127.0.0.1:0"}, [2]string{"log.dirs", "/data"})
	for _, kv := range settings {
		entries = append(entries, config.Entry{Name: kv[0], Value: kv[1], Where: "test"})
	}
	cfg, err := config.New(entries, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(cfg, Deps{FS: fsys, Listen: net.Listen, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func started(t *testing.T, fsys vfs.FS, settings ...[2]string) *Broker {
	t.Helper()
	b := newTestBroker(t, fsys, settings...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return b
}

func stopped(t *testing.T, b *Broker) {
	t.Helper()
	if err := b.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// produce creates a topic and writes some records to it.
func produce(t *testing.T, b *Broker, topic string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, 3, 1
	req.Topics = append(req.Topics, rt)
	if _, err := req.RequestWith(t.Context(), cl); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord("hello")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// contents are the files under dir, but for locks.
func contents(t *testing.T, fsys vfs.FS, dir string) map[string]string {
	t.Helper()
	names, err := fsys.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fsys.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case name == ".lock":
		case info.IsDir():
			for k, v := range contents(t, fsys, path) {
				all[k] = v
			}
		default:
			b, err := vfs.ReadFile(fsys, path, 64<<20)
			if err != nil {
				t.Fatal(err)
			}
			all[path] = string(b)
		}
	}
	return all
}

// A start that is refused for the sake of the metadata log leaves every other file as it was, though the
// logs would have to be checked after a crash, or would be marked as in use.
func TestDamagedMetadataTouchesNothing(t *testing.T) {
	for _, end := range []string{"clean", "killed"} {
		t.Run(end, func(t *testing.T) {
			disk := vfs.NewMem()
			b := started(t, disk)
			produce(t, b, "t")
			killed := disk.CrashClone(vfs.SomeUnsynced, 3)
			stopped(t, b)
			if end == "killed" {
				disk = killed
			}
			damageMetadata(t, disk)
			before := contents(t, disk, "/data")
			again := newTestBroker(t, disk)
			if err := again.Start(t.Context()); !errors.Is(err, quorum.ErrDamaged) {
				t.Fatalf("started with %v", err)
			}
			after := contents(t, disk, "/data")
			for path, was := range before {
				if is, found := after[path]; !derived(path) && (!found || is != was) {
					t.Errorf("%s has changed", path)
				}
			}
			for path := range after {
				if _, found := before[path]; !derived(path) && !found {
					t.Errorf("%s is new", path)
				}
			}
		})
	}
}

// derived tells whether a file is made again from the metadata log each time that is opened.
func derived(path string) bool {
	return filepath.Dir(path) == metadataDir && (strings.HasSuffix(path, "index") || filepath.Base(path) == "partition.metadata")
}

const metadataDir = "/data/__cluster_metadata-0"

// damageMetadata changes a byte in the middle of the metadata log.
func damageMetadata(t *testing.T, fsys vfs.FS) {
	t.Helper()
	for path, content := range contents(t, fsys, metadataDir) {
		if filepath.Ext(path) != ".log" || len(content) == 0 {
			continue
		}
		damaged := []byte(content)
		damaged[len(damaged)/3] ^= 0x40
		if err := vfs.ReplaceFile(fsys, metadataDir, filepath.Base(path), damaged); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("there is no metadata to be damaged")
}

//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// replicas writes what three nodes have of a partition, each a list of segments, and as much of the other partitions.
func replicas(t *testing.T, nodes ...[][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for i, segments := range nodes {
		for p := range partitions {
			log := filepath.Join(dir, "node"+string(rune('1'+i)), topic+"-"+string(rune('0'+p)))
			if err := os.MkdirAll(log, 0o755); err != nil {
				t.Fatal(err)
			}
			for n, b := range segments {
				if err := os.WriteFile(filepath.Join(log, strings.Repeat("0", 19)+string(rune('0'+n))+".log"), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return dir
}

func batchAt(offset ids.Offset, epoch ids.LeaderEpoch, value string) []byte {
	b := record.NewBuilder().Append(1000, nil, []byte(value)).MustBuild()
	b.SetBaseOffset(offset)
	b.SetLeaderEpoch(epoch)
	return b
}

func TestReplicasAreCompared(t *testing.T) {
	one, two := batchAt(0, 1, "one"), batchAt(1, 1, "two")
	whole := [][]byte{bytes.Join([][]byte{one, two}, nil)}
	for _, c := range []struct {
		name  string
		third [][]byte
		want  string // in the error, "" for none
	}{
		{"the same", whole, ""},
		{"the same in two segments", [][]byte{one, two}, ""},
		{"the last batch is missing", [][]byte{one}, "batch of 1 to 1 of epoch 1"},
		{"one more", [][]byte{one, two, batchAt(2, 1, "three")}, "batch of 2 to 2 of epoch 1"},
		{"another value", [][]byte{one, batchAt(1, 1, "owt")}, "batch of 1 to 1 of epoch 1"},
		{"another epoch", [][]byte{one, batchAt(1, 2, "two")}, "batch of 1 to 1 of epoch 2"},
		{"torn", [][]byte{one, two[:len(two)-1]}, "nothing more"},
		{"no segment", nil, "has no segment"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := compareReplicas(replicas(t, whole, whole, c.third))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v does not say %q", err, c.want)
			}
		})
	}
}

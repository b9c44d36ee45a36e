//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/test/nodes"
)

// compareReplicas wants the batches of each partition to be the same, byte for byte, in the data directories of the nodes, which do not run.
// Where one segment ends and the next begins may differ.
func compareReplicas(dir string) (string, error) {
	logs, err := filepath.Glob(filepath.Join(dir, "node1", "*-*"))
	if err != nil {
		return "", err
	}
	compared, size := 0, 0
	var differ []error
	for _, path := range logs {
		partition := filepath.Base(path)
		if !strings.HasPrefix(partition, topic+"-") && !strings.HasPrefix(partition, "__consumer_offsets-") {
			continue
		}
		first, err := batches(path)
		if err != nil {
			return "", err
		}
		for id := 2; id <= nodes.Count; id++ {
			other, err := batches(filepath.Join(dir, fmt.Sprintf("node%d", id), partition))
			if err != nil {
				return "", err
			}
			if err := same(first, other); err != nil {
				differ = append(differ, fmt.Errorf("%s on node 1 and node %d: %w", partition, id, err))
			}
		}
		compared++
		size += len(first)
	}
	if err := errors.Join(differ...); err != nil {
		return "", err
	}
	if compared < partitions {
		return "", fmt.Errorf("%d partitions are in %s, fewer than %d", compared, dir, partitions)
	}
	return fmt.Sprintf("%d partitions of %.1f MB equal on all nodes", compared, float64(size)/1e6), nil
}

// batches returns what the segments of a log hold, one after the other.
func batches(dir string) ([]byte, error) {
	segments, err := filepath.Glob(filepath.Join(dir, "*.log")) // in the order of their names, which are their base offsets
	if err != nil {
		return nil, err
	}
	if len(segments) == 0 {
		return nil, fmt.Errorf("%s has no segment", dir)
	}
	var all []byte
	for _, name := range segments {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return all, nil
}

// same tells where two logs first differ.
func same(a, b []byte) error {
	for !bytes.Equal(a, b) {
		one, restA, errA := record.First(a)
		two, restB, errB := record.First(b)
		if errA != nil || errB != nil {
			return fmt.Errorf("%s, %s", batch(one, errA), batch(two, errB))
		}
		if !bytes.Equal(one, two) {
			return fmt.Errorf("%s, %s", batch(one, nil), batch(two, nil))
		}
		a, b = restA, restB
	}
	return nil
}

func batch(b record.Batch, err error) string {
	if err != nil {
		return "nothing more (" + err.Error() + ")"
	}
	return fmt.Sprintf("batch of %d to %d of epoch %d, producer %d at sequence %d, CRC %08x", b.BaseOffset(), b.LastOffset(), b.LeaderEpoch(), b.ProducerID(), b.BaseSequence(), b.CRC())
}

package whole

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/vfs"
	"github.com/moldau/moldau/test/history"
)

// verdict judges the history. What the power of all machines may have taken is counted first, and not judged as acknowledged then.
func (w *world) verdict() (v *history.Verdict, lost map[string]int) {
	r := w.records
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.mu.history
	var holes []history.Violation
	lost = make(map[string]int)
	h.Acked, holes = w.forgive(&h, r.mu.ackedAfter, r.mu.cuts, lost)
	v = h.Judge()
	v.Violations = append(v.Violations, holes...)
	return v, lost
}

// forgive returns the acknowledgements without those that were lost, of topics that may, in a cut of the power of all machines that came after them. A cut takes
// the end of a log: of what was acknowledged before, nothing that lies behind it may be left.
func (w *world) forgive(h *history.History, ackedAfter []int, cuts int, lost map[string]int) (kept []history.Ack, holes []history.Violation) {
	there := make(map[history.ID]int64, len(h.Reads))
	for _, r := range h.Reads {
		if !r.Torn {
			there[r.ID] = r.Offset
		}
	}
	first := make(map[place]int64) // of the lost
	for i, a := range h.Acked {
		t := w.topics[a.ID.Partition/100]
		if _, ok := there[a.ID]; ok || !t.lossy || ackedAfter[i] == cuts {
			kept = append(kept, a)
			continue
		}
		lost[t.name]++
		at := place{a.ID.Partition, ackedAfter[i]}
		if known, ok := first[at]; !ok || a.Offset < known {
			first[at] = a.Offset
		}
	}
	for i, a := range h.Acked {
		if _, ok := there[a.ID]; !ok {
			continue
		}
		for cut := ackedAfter[i]; cut < cuts; cut++ {
			if hole, ok := first[place{a.ID.Partition, cut}]; ok && hole < a.Offset {
				holes = append(holes, history.Violation{Kind: "hole", Text: fmt.Sprintf("%v at %d is there, and %d, acknowledged before the same cut, is not", a.ID, a.Offset, hole)})
				break
			}
		}
	}
	return kept, holes
}

// place is a partition, and how many cuts of the power of all machines there had been.
type place struct {
	partition int32
	cuts      int
}

// sameReplicas waits until all replicas of each partition are the same to the byte.
func (w *world) sameReplicas() error {
	for began := time.Now(); ; time.Sleep(recoveryPause) {
		err := w.compareReplicas()
		if err == nil || time.Since(began) > recoveryMax {
			return err
		}
	}
}

func (w *world) compareReplicas() error {
	replicas := make(map[string]map[string][]byte) // by directory and host
	for _, n := range w.nodes {
		logs, err := partitionLogs(w.disk(n))
		if err != nil {
			return fmt.Errorf("%s: %w", n.host, err)
		}
		for dir, log := range logs {
			if replicas[dir] == nil {
				replicas[dir] = make(map[string][]byte)
			}
			replicas[dir][n.host] = log
		}
	}
	for dir, logs := range replicas {
		var host string
		for other, log := range logs {
			if host == "" {
				host = other
			}
			if !bytes.Equal(log, logs[host]) {
				return fmt.Errorf("%v after the last record the replicas of %s differ: %s has %d bytes, %s has %d, the first %d are the same",
					recoveryMax, dir, host, len(logs[host]), other, len(log), common(log, logs[host]))
			}
		}
	}
	return nil
}

func common(a, b []byte) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// isPartition tells whether a name in a data directory is that of a partition that clients have: NAME-NUMBER.
func isPartition(name string) bool {
	i := strings.LastIndexByte(name, '-')
	_, err := strconv.Atoi(name[i+1:])
	return i > 0 && err == nil && !strings.HasPrefix(name, "__cluster_metadata")
}

// logBytesMax is far more than a segment has.
const logBytesMax = 1 << 30

// partitionLogs returns the batches of each partition that a disk has, by directory. Where segments begin does not matter.
func partitionLogs(mem *vfs.Mem) (map[string][]byte, error) {
	dirs, err := mem.List(dataDir)
	if err != nil {
		return nil, err
	}
	logs := make(map[string][]byte)
	for _, dir := range dirs {
		if !isPartition(dir) {
			continue
		}
		log := []byte{}
		files, err := mem.List(filepath.Join(dataDir, dir))
		if err != nil {
			return nil, err
		}
		for _, name := range slices.DeleteFunc(files, func(f string) bool { return !strings.HasSuffix(f, ".log") }) {
			b, err := vfs.ReadFile(mem, filepath.Join(dataDir, dir, name), logBytesMax)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			log = append(log, b...)
		}
		logs[dir] = log
	}
	return logs, nil
}

package log

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// Names of the offset checkpoints of a data directory, Kafka's.
const (
	recoveryPointCheckpoint = "recovery-point-offset-checkpoint" // everything below is synced
	highWatermarkCheckpoint = "replication-offset-checkpoint"
	logStartCheckpoint      = "log-start-offset-checkpoint" // what DeleteRecords has cut off
	cleanedCheckpoint       = "cleaner-offset-checkpoint"   // everything below has been compacted
)

const (
	tmpSuffix               = vfs.TmpSuffix // what a crash leaves under it means nothing
	checkpointVersion       = 0
	checkpointEntryBytesMin = 4 // two numbers of one digit, a blank and a newline
	// A line names a topic of at most 249 bytes, so this is room for 200,000 partitions.
	checkpointBytesMax = 64 << 20
)

// errDamagedFile marks a small file whose content cannot be what was written.
var errDamagedFile = errors.New("damaged file")

// damaged returns an error that names the file, what is wrong with it and what to do.
func damaged(dir, name, advice string, why error) error {
	return fmt.Errorf("%w %s: %w; %s", errDamagedFile, filepath.Join(dir, name), why, advice)
}

// writeFileAtomic replaces a file so that a crash leaves the old or the new content whole,
// and the new one is durable when it returns.
func writeFileAtomic(fsys vfs.FS, dir, name string, content []byte) error {
	return vfs.ReplaceFile(fsys, dir, name, content)
}

// readSmallFile reads a whole file, nil where there is none. It refuses one of more than bytesMax.
func readSmallFile(fsys vfs.FS, dir, name string, bytesMax int64) ([]byte, error) {
	content, err := vfs.ReadFile(fsys, filepath.Join(dir, name), bytesMax)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, vfs.ErrTooLarge):
		return nil, damaged(dir, name, "restore it from a backup", err)
	}
	return content, err
}

// writeOffsetCheckpoint writes one offset for each partition of a data directory.
func writeOffsetCheckpoint(fsys vfs.FS, dir, name string, m map[ids.TopicPartition]ids.Offset) error {
	return writeFileAtomic(fsys, dir, name, encodeOffsetCheckpoint(m))
}

// readOffsetCheckpoint reads what writeOffsetCheckpoint or Kafka wrote. A missing file is an empty map.
func readOffsetCheckpoint(fsys vfs.FS, dir, name string) (map[ids.TopicPartition]ids.Offset, error) {
	content, err := readSmallFile(fsys, dir, name, checkpointBytesMax)
	if err != nil || content == nil {
		return nil, err
	}
	m, err := decodeOffsetCheckpoint(content)
	if err != nil {
		return nil, damaged(dir, name, checkpointAdvice(name), err)
	}
	return m, nil
}

// checkpointAdvice says what an operator can do about a damaged checkpoint, and at what price.
func checkpointAdvice(name string) string {
	const remove = "restore it from a backup, or remove it and start again: "
	switch name {
	case recoveryPointCheckpoint:
		return remove + "every log of this directory is then checked from its beginning"
	case logStartCheckpoint:
		return remove + "records deleted by DeleteRecords that are still in a segment can be read again"
	case cleanedCheckpoint:
		return remove + "compacted logs are then read once more from their beginning"
	default:
		return remove + "it is then rebuilt"
	}
}

// encodeOffsetCheckpoint sorts by partition, so that equal maps give equal bytes.
func encodeOffsetCheckpoint(m map[ids.TopicPartition]ids.Offset) []byte {
	tps := make([]ids.TopicPartition, 0, len(m))
	for tp := range m {
		tps = append(tps, tp)
	}
	slices.SortFunc(tps, func(a, b ids.TopicPartition) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	b := appendCheckpointHead(nil, len(m))
	for _, tp := range tps {
		b = append(b, tp.Topic...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(tp.Partition), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(m[tp]), 10)
		b = append(b, '\n')
	}
	return b
}

func decodeOffsetCheckpoint(content []byte) (map[ids.TopicPartition]ids.Offset, error) {
	rest, count, err := cutCheckpointHead(content)
	if err != nil {
		return nil, err
	}
	m := make(map[ids.TopicPartition]ids.Offset, min(count, len(rest)/checkpointEntryBytesMin+1))
	for n := 3; len(rest) > 0; n++ {
		var line []byte
		line, rest = cutLine(rest)
		f := bytes.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("line %d is not a topic, a partition and an offset", n)
		}
		partition, err1 := strconv.ParseInt(string(f[1]), 10, 32)
		offset, err2 := strconv.ParseInt(string(f[2]), 10, 64)
		if err1 != nil || err2 != nil || partition < 0 || offset < 0 {
			return nil, fmt.Errorf("line %d has a partition or an offset that is no number of 0 or more", n)
		}
		tp := ids.TopicPartition{Topic: string(f[0]), Partition: int32(partition)}
		if _, twice := m[tp]; twice {
			return nil, fmt.Errorf("line %d names %s a second time", n, tp)
		}
		m[tp] = ids.Offset(offset)
	}
	if len(m) != count {
		return nil, fmt.Errorf("it says %d entries and has %d", count, len(m))
	}
	return m, nil
}

// appendCheckpointHead writes the two lines that open every checkpoint of Kafka: version and number of entries.
func appendCheckpointHead(b []byte, count int) []byte {
	b = strconv.AppendInt(b, checkpointVersion, 10)
	b = append(b, '\n')
	b = strconv.AppendInt(b, int64(count), 10)
	return append(b, '\n')
}

// cutCheckpointHead reads those two lines. The count is what the file says; how many entries rest has is another matter.
func cutCheckpointHead(content []byte) (rest []byte, count int, err error) {
	line, rest := cutLine(content)
	version, err := strconv.Atoi(string(bytes.TrimSpace(line)))
	if err != nil {
		return nil, 0, errors.New("its first line is no version number")
	}
	if version != checkpointVersion {
		return nil, 0, fmt.Errorf("its version is %d and this release knows version %d alone", version, checkpointVersion)
	}
	line, rest = cutLine(rest)
	count, err = strconv.Atoi(string(bytes.TrimSpace(line)))
	if err != nil || count < 0 {
		return nil, 0, errors.New("its second line is no number of entries")
	}
	return rest, count, nil
}

func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte{'\n'})
	return line, rest
}

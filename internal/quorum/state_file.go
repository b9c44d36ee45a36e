package quorum

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/vfs"
)

const (
	stateFile         = "quorum-state" // Kafka's name; Kafka's content is JSON
	stateFileBytesMax = 4096
	stateVersion      = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writeState replaces quorum-state and makes it durable.
func writeState(fsys vfs.FS, dir string, s State) error {
	return vfs.ReplaceFile(fsys, dir, stateFile, s.encode())
}

// readState reads quorum-state; found is false where there is none.
func readState(fsys vfs.FS, dir string) (s State, found bool, err error) {
	path := filepath.Join(dir, stateFile)
	content, err := vfs.ReadFile(fsys, path, stateFileBytesMax)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return State{}, false, nil
	case errors.Is(err, vfs.ErrTooLarge):
		return State{}, true, fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return State{}, false, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")) {
		return State{}, true, fmt.Errorf("%w: %s was written by Apache Kafka, whose metadata log Moldau cannot continue; "+
			"start with an empty data directory and bring the partitions over with \"moldau topic adopt\"", ErrForeign, path)
	}
	s, err = decodeState(content)
	if err != nil {
		return State{}, true, fmt.Errorf("%w: %s: %w; restore the whole metadata directory from one backup", ErrDamaged, path, err)
	}
	return s, true, nil
}

// encode writes lines of a name and a number; the last is the CRC-32C of those before it.
func (s State) encode() []byte {
	b := fmt.Appendf(nil, "version %d\nterm %d\nvote %d\ncommit %d\n", stateVersion, s.Term, s.Vote, s.Commit)
	return fmt.Appendf(b, "crc %08x\n", crc32.Checksum(b, castagnoli))
}

func decodeState(content []byte) (State, error) {
	text := string(content)
	version, rest, _ := strings.Cut(text, "\n")
	if version != "version "+strconv.Itoa(stateVersion) {
		return State{}, fmt.Errorf("its first line is %q and this release knows version %d alone", version, stateVersion)
	}
	var s State
	for _, f := range []struct {
		name  string
		value *uint64
	}{{"term", &s.Term}, {"vote", &s.Vote}, {"commit", &s.Commit}} {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		digits, ok := strings.CutPrefix(line, f.name+" ")
		n, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil {
			return State{}, fmt.Errorf("%q is not the line of its %s", line, f.name)
		}
		*f.value = n
	}
	// What was read is written again: that covers the CRC, and every byte besides.
	if text != string(s.encode()) {
		return State{}, errors.New("its checksum does not fit its lines")
	}
	return s, nil
}

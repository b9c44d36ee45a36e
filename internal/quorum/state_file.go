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
	stateVersionCut   = 2 // with a line more
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// storedState is what quorum-state holds.
type storedState struct {
	State
	cut uint64 // the entries from here on are being given up, 0 for none
}

// writeState replaces quorum-state and makes it durable.
func writeState(fsys vfs.FS, dir string, s storedState) error {
	return vfs.ReplaceFile(fsys, dir, stateFile, s.encode())
}

// readState reads quorum-state; found is false where there is none.
func readState(fsys vfs.FS, dir string) (s storedState, found bool, err error) {
	path := filepath.Join(dir, stateFile)
	content, err := vfs.ReadFile(fsys, path, stateFileBytesMax)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return storedState{}, false, nil
	case errors.Is(err, vfs.ErrTooLarge):
		return storedState{}, true, fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return storedState{}, false, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")) {
		return storedState{}, true, fmt.Errorf("%w: %s was written by Apache Kafka, whose metadata log Moldau cannot continue; "+
			"start with an empty data directory and bring the partitions over with \"moldau topic adopt\"", ErrForeign, path)
	}
	s, err = decodeState(content)
	if err != nil {
		return storedState{}, true, fmt.Errorf("%w: %s: %w; restore the whole metadata directory from one backup", ErrDamaged, path, err)
	}
	return s, true, nil
}

// encode writes lines of a name and a number; the last is the CRC-32C of those before it.
func (s storedState) encode() []byte {
	version := stateVersion
	if s.cut > 0 {
		version = stateVersionCut
	}
	b := fmt.Appendf(nil, "version %d\nterm %d\nvote %d\ncommit %d\n", version, s.Term, s.Vote, s.Commit)
	if s.cut > 0 {
		b = fmt.Appendf(b, "cut %d\n", s.cut)
	}
	return fmt.Appendf(b, "crc %08x\n", crc32.Checksum(b, castagnoli))
}

func decodeState(content []byte) (storedState, error) {
	text := string(content)
	version, rest, _ := strings.Cut(text, "\n")
	var s storedState
	type field struct {
		name  string
		value *uint64
	}
	fields := []field{{"term", &s.Term}, {"vote", &s.Vote}, {"commit", &s.Commit}}
	switch version {
	case "version " + strconv.Itoa(stateVersion):
	case "version " + strconv.Itoa(stateVersionCut):
		fields = append(fields, field{"cut", &s.cut})
	default:
		return s, fmt.Errorf("its first line is %q and this release knows versions %d and %d", version, stateVersion, stateVersionCut)
	}
	for _, f := range fields {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		digits, ok := strings.CutPrefix(line, f.name+" ")
		n, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil {
			return storedState{}, fmt.Errorf("%q is not the line of its %s", line, f.name)
		}
		*f.value = n
	}
	// What was read is written again: that covers the CRC, and every byte besides.
	if text != string(s.encode()) {
		return storedState{}, errors.New("its checksum does not fit its lines")
	}
	return s, nil
}

package quorum

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

const (
	memberFile         = "quorum-member"
	memberFileBytesMax = 64 << 10
	memberVersion      = 1
)

// standing is what a directory is in a quorum of several voters. It is durable before the directory says
// anything, before it first votes, and before it gives up what it has promised.
type standing struct {
	Identity
	role role
	id   uint64 // the raft id that it votes under, or has voted under last; 0: it never has
	with []Peer // the first directory seen of each configured voter, sorted by node
}

// role says what a directory may do.
type role string

const (
	forming   role = "forming"   // it is empty, and whether it may vote under its initial raft id is not decided
	voter     role = "voter"     // it votes, under its initial raft id or as it was admitted
	follower  role = "follower"  // it has never voted, and follows until it is admitted
	succeeded role = "succeeded" // it has voted, and another member has its place: it follows
)

// writeStanding replaces quorum-member and makes it durable.
func writeStanding(fsys vfs.FS, dir string, s standing) error {
	return vfs.ReplaceFile(fsys, dir, memberFile, s.encode())
}

// readStanding reads quorum-member; found is false where there is none.
func readStanding(fsys vfs.FS, dir string) (s standing, found bool, err error) {
	path := filepath.Join(dir, memberFile)
	content, err := vfs.ReadFile(fsys, path, memberFileBytesMax)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return standing{}, false, nil
	case errors.Is(err, vfs.ErrTooLarge):
		return standing{}, true, fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return standing{}, false, err
	}
	if s, err = decodeStanding(string(content)); err != nil {
		return standing{}, true, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	return s, true, nil
}

// encode writes lines of a name and a value; the last is the CRC-32C of those before it.
func (s standing) encode() []byte {
	b := fmt.Appendf(nil, "version %d\nnode %d\ndirectory %s\nrole %s\nid %d\n", memberVersion, s.Node, s.Directory, s.role, s.id)
	for _, w := range s.with {
		b = fmt.Appendf(b, "with %d %s %q\n", w.Node, w.Directory, w.Endpoint)
	}
	return fmt.Appendf(b, "crc %08x\n", crc32.Checksum(b, castagnoli))
}

func decodeStanding(text string) (standing, error) {
	var s standing
	var version int
	var directory string
	lines := strings.SplitAfter(text, "\n")
	if len(lines) < 6 {
		return s, fmt.Errorf("it has %d lines", len(lines))
	}
	if _, err := fmt.Sscanf(strings.Join(lines[:5], ""), "version %d\nnode %d\ndirectory %s\nrole %s\nid %d\n", &version, &s.Node, &directory, &s.role, &s.id); err != nil {
		return s, fmt.Errorf("its first lines: %w", err)
	}
	if version != memberVersion {
		return s, fmt.Errorf("its version is %d and this release knows version %d alone", version, memberVersion)
	}
	if s.role != forming && s.role != voter && s.role != follower && s.role != succeeded || (s.role == voter || s.role == succeeded) != (s.id > 0) {
		return s, fmt.Errorf("a %q of raft id %d cannot be", s.role, s.id)
	}
	var err error
	if s.Directory, err = ids.ParseUUID(directory); err != nil {
		return s, fmt.Errorf("its directory: %w", err)
	}
	for _, line := range lines[5:] {
		var w Peer
		if !strings.HasPrefix(line, "with ") {
			break
		}
		if _, err := fmt.Sscanf(line, "with %d %s %q\n", &w.Node, &directory, &w.Endpoint); err != nil {
			return s, fmt.Errorf("%q: %w", line, err)
		}
		if w.Directory, err = ids.ParseUUID(directory); err != nil {
			return s, fmt.Errorf("%q: %w", line, err)
		}
		s.with = append(s.with, w)
	}
	// What was read is written again: that covers the CRC, and every byte besides.
	if text != string(s.encode()) {
		return s, errors.New("its checksum does not fit its lines")
	}
	return s, nil
}

package quorum

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strings"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/moldau/moldau/internal/vfs"
)

const (
	snapshotPrefix       = "image-" // not a number: those are the log's
	snapshotSuffix       = ".image"
	snapshotMagic        = "moldauQS"
	snapshotVersion      = 1
	snapshotHeadBytes    = 8 + 2 + 8 + 8 + 4 // magic, version, index, term, bytes of the voters
	snapshotFileBytesMax = 1 << 30
	crcBytes             = 4
)

// snapshot is the state machine as it was when everything up to Position was applied.
type snapshot struct {
	Position
	voters *raftpb.ConfState
	data   []byte
}

func snapshotName(p Position) string {
	return fmt.Sprintf("%s%020d-%010d%s", snapshotPrefix, p.Index, p.Term, snapshotSuffix)
}

// writeSnapshot makes a snapshot durable under its own name, beside older ones.
func writeSnapshot(fsys vfs.FS, dir string, s snapshot) error {
	content, err := s.encode()
	if err != nil {
		return err
	}
	return vfs.ReplaceFile(fsys, dir, snapshotName(s.Position), content)
}

// readNewestSnapshot reads the newest snapshot in dir and removes what is older or half
// written. Its position is zero where there is none.
func readNewestSnapshot(fsys vfs.FS, dir string) (snapshot, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return snapshot{}, fmt.Errorf("listing the metadata directory: %w", err)
	}
	newest := "" // names sort as their positions do
	for _, name := range names {
		if strings.HasSuffix(name, snapshotSuffix) {
			newest = name
		}
	}
	if newest == "" {
		return snapshot{}, removeSnapshotsBut(fsys, dir, "")
	}
	path := filepath.Join(dir, newest)
	content, err := vfs.ReadFile(fsys, path, snapshotFileBytesMax)
	if err != nil && !errors.Is(err, vfs.ErrTooLarge) {
		return snapshot{}, err
	}
	var s snapshot
	if err == nil {
		s, err = decodeSnapshot(content)
	}
	if err == nil && snapshotName(s.Position) != newest {
		err = fmt.Errorf("it is of index %d and term %d", s.Index, s.Term)
	}
	if err != nil {
		return snapshot{}, fmt.Errorf("%w: snapshot %s: %w; restore the whole metadata directory from one backup", ErrDamaged, path, err)
	}
	return s, removeSnapshotsBut(fsys, dir, newest)
}

// removeSnapshotsBut removes the snapshots that have been replaced and what crashes left of
// unfinished ones. Nothing syncs that: one that comes back is removed again.
func removeSnapshotsBut(fsys vfs.FS, dir, kept string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return fmt.Errorf("listing the metadata directory: %w", err)
	}
	for _, name := range names {
		if name == kept || !strings.HasSuffix(name, snapshotSuffix) && !strings.HasSuffix(name, snapshotSuffix+vfs.TmpSuffix) {
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing an old metadata snapshot: %w", err)
		}
	}
	return nil
}

func (s snapshot) encode() ([]byte, error) {
	voters, err := proto.MarshalOptions{Deterministic: true}.Marshal(s.voters)
	if err != nil {
		return nil, fmt.Errorf("encoding the voters of a snapshot: %w", err)
	}
	b := make([]byte, 0, snapshotHeadBytes+len(voters)+len(s.data)+crcBytes)
	b = append(b, snapshotMagic...)
	b = binary.BigEndian.AppendUint16(b, snapshotVersion)
	b = binary.BigEndian.AppendUint64(b, s.Index)
	b = binary.BigEndian.AppendUint64(b, s.Term)
	b = binary.BigEndian.AppendUint32(b, uint32(len(voters)))
	b = append(b, voters...)
	b = append(b, s.data...)
	return appendCRC(b), nil
}

func appendCRC(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeSnapshot(content []byte) (snapshot, error) {
	if len(content) < snapshotHeadBytes+crcBytes {
		return snapshot{}, fmt.Errorf("it has %d bytes, fewer than any can have", len(content))
	}
	b, crc := content[:len(content)-crcBytes], binary.BigEndian.Uint32(content[len(content)-crcBytes:])
	if !bytes.HasPrefix(b, []byte(snapshotMagic)) {
		return snapshot{}, errors.New("it does not begin as a metadata snapshot does")
	}
	b = b[len(snapshotMagic):]
	if v := binary.BigEndian.Uint16(b); v != snapshotVersion {
		return snapshot{}, fmt.Errorf("its version is %d and this release knows version %d alone", v, snapshotVersion)
	}
	if computed := crc32.Checksum(content[:len(content)-crcBytes], castagnoli); computed != crc {
		return snapshot{}, fmt.Errorf("its checksum is %08x and its content's is %08x", crc, computed)
	}
	s := snapshot{Position: Position{binary.BigEndian.Uint64(b[2:]), binary.BigEndian.Uint64(b[10:])}, voters: new(raftpb.ConfState)}
	votersBytes := binary.BigEndian.Uint32(b[18:])
	b = b[22:]
	if uint64(votersBytes) > uint64(len(b)) {
		return snapshot{}, fmt.Errorf("its voters would take %d of %d bytes", votersBytes, len(b))
	}
	if err := proto.Unmarshal(b[:votersBytes], s.voters); err != nil {
		return snapshot{}, fmt.Errorf("its voters: %w", err)
	}
	if s.Index == 0 || s.Term == 0 || len(s.voters.GetVoters()) == 0 {
		return snapshot{}, fmt.Errorf("index %d, term %d and %d voters cannot be", s.Index, s.Term, len(s.voters.GetVoters()))
	}
	s.data = b[votersBytes:]
	return s, nil
}

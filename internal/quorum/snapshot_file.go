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
	receivedPrefix       = "received-" // a snapshot from elsewhere that is not in force yet
	snapshotVersion      = 2
	snapshotVersionAlone = 1                 // of a quorum that has no members to tell of
	snapshotHeadBytes    = 8 + 2 + 8 + 8 + 4 // magic, version, index, term, bytes of the voters
	snapshotFileBytesMax = 1 << 30
	crcBytes             = 4
)

// snapshot is the state machine as it was when everything up to Position was applied.
type snapshot struct {
	Position
	members Membership
	data    []byte
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

// writeReceived makes a snapshot from elsewhere durable. It is in force once quorum-state counts
// its entries as committed: from then on finishReceived is all that is left to do.
func writeReceived(fsys vfs.FS, dir string, p Position, content []byte) error {
	return vfs.ReplaceFile(fsys, dir, receivedPrefix+snapshotName(p), content)
}

// finishReceived gives a received snapshot its own name, after the log has begun anew behind it.
func finishReceived(fsys vfs.FS, dir string, p Position) error {
	name := snapshotName(p)
	if err := fsys.Rename(filepath.Join(dir, receivedPrefix+name), filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("naming a received metadata snapshot: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("syncing the name of a received metadata snapshot: %w", err)
	}
	return removeSnapshotsBut(fsys, dir, name)
}

// newestReceived returns the newest snapshot that was received and not finished; its position is
// zero where there is none.
func newestReceived(fsys vfs.FS, dir string) (snapshot, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return snapshot{}, fmt.Errorf("listing the metadata directory: %w", err)
	}
	newest := ""
	for _, name := range names {
		if strings.HasPrefix(name, receivedPrefix) && strings.HasSuffix(name, snapshotSuffix) {
			newest = name
		}
	}
	if newest == "" {
		return snapshot{}, nil
	}
	content, err := vfs.ReadFile(fsys, filepath.Join(dir, newest), snapshotFileBytesMax)
	if err != nil {
		return snapshot{}, err
	}
	s, err := decodeSnapshot(content)
	if err != nil {
		return snapshot{}, fmt.Errorf("%w: received snapshot %s: %w", ErrDamaged, filepath.Join(dir, newest), err)
	}
	return s, nil
}

// readSnapshot returns the bytes of a snapshot that is there.
func readSnapshot(fsys vfs.FS, dir string, p Position) ([]byte, error) {
	return vfs.ReadFile(fsys, filepath.Join(dir, snapshotName(p)), snapshotFileBytesMax)
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
		if strings.HasPrefix(name, snapshotPrefix) && strings.HasSuffix(name, snapshotSuffix) {
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
	voters, err := proto.MarshalOptions{Deterministic: true}.Marshal(s.members.Conf)
	if err != nil {
		return nil, fmt.Errorf("encoding the voters of a snapshot: %w", err)
	}
	version, peers := uint16(snapshotVersionAlone), []byte(nil)
	if s.members.founded() {
		version, peers = snapshotVersion, appendPeers(nil, s.members.ClusterID, s.members.Peers)
	}
	b := make([]byte, 0, snapshotHeadBytes+len(voters)+len(peers)+len(s.data)+crcBytes)
	b = append(b, snapshotMagic...)
	b = binary.BigEndian.AppendUint16(b, version)
	b = binary.BigEndian.AppendUint64(b, s.Index)
	b = binary.BigEndian.AppendUint64(b, s.Term)
	b = binary.BigEndian.AppendUint32(b, uint32(len(voters)))
	b = append(append(b, voters...), peers...)
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
	version := binary.BigEndian.Uint16(b)
	if version != snapshotVersion && version != snapshotVersionAlone {
		return snapshot{}, fmt.Errorf("its version is %d and this release knows versions %d and %d", version, snapshotVersionAlone, snapshotVersion)
	}
	if computed := crc32.Checksum(content[:len(content)-crcBytes], castagnoli); computed != crc {
		return snapshot{}, fmt.Errorf("its checksum is %08x and its content's is %08x", crc, computed)
	}
	s := snapshot{Position: Position{binary.BigEndian.Uint64(b[2:]), binary.BigEndian.Uint64(b[10:])}, members: Membership{Conf: new(raftpb.ConfState), Peers: make(map[uint64]Peer)}}
	votersBytes := binary.BigEndian.Uint32(b[18:])
	b = b[22:]
	if uint64(votersBytes) > uint64(len(b)) {
		return snapshot{}, fmt.Errorf("its voters would take %d of %d bytes", votersBytes, len(b))
	}
	m := &s.members
	if err := proto.Unmarshal(b[:votersBytes], m.Conf); err != nil {
		return snapshot{}, fmt.Errorf("its voters: %w", err)
	}
	if s.Index == 0 || s.Term == 0 || len(m.Conf.GetVoters()) == 0 {
		return snapshot{}, fmt.Errorf("index %d, term %d and %d voters cannot be", s.Index, s.Term, len(m.Conf.GetVoters()))
	}
	s.data = b[votersBytes:]
	if version == snapshotVersionAlone {
		return s, nil
	}
	var err error
	if m.ClusterID, m.Peers, s.data, err = readPeers(s.data); err == nil && !m.founded() {
		err = errors.New("they name no cluster")
	}
	if err != nil {
		return snapshot{}, fmt.Errorf("its members: %w", err)
	}
	return s, nil
}

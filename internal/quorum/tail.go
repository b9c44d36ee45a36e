package quorum

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// checkTail tells whether the end of the log has lost an entry that had been synced. Entries are
// written in groups, the next one after the last is synced, and each says where its group begins: a
// whole entry of a later group proves that a damaged one before it was synced, and may have
// been acknowledged. What a power cut tears is of the last group alone.
//
// Damage at or below the commit is found without this. Damage in the last group cannot be told from a
// torn write: see docs/adr/0017. Entries from cut on, where it is not 0, were being given up for those of a
// leader of a later term: of these anything may be left.
func checkTail(fsys vfs.FS, dir string, commit, cut uint64) error {
	names, err := fsys.List(dir)
	if err != nil {
		return fmt.Errorf("listing the metadata directory: %w", err)
	}
	var segments []string // that have entries behind the commit, in their order
	for _, name := range names {
		base, isLog := strings.CutSuffix(name, ".log")
		n, err := strconv.ParseUint(base, 10, 64)
		if !isLog || err != nil {
			continue
		}
		if n <= commit+1 {
			segments = segments[:0]
		}
		segments = append(segments, name)
	}
	t := tail{commit: commit, cut: cut}
	for _, name := range segments {
		content, err := vfs.ReadFile(fsys, filepath.Join(dir, name), defaultSegmentBytes+batchBytesMax)
		if err != nil {
			return err
		}
		if err := t.check(content); err != nil {
			return fmt.Errorf("%w %s: %w", ErrDamaged, filepath.Join(dir, name), err)
		}
	}
	return nil
}

// tail is the end of a log, segment by segment.
type tail struct {
	commit  uint64
	cut     uint64
	next    uint64 // the entry that is due, 0 before the first
	damaged bool   // next is not whole
}

func (t *tail) check(content []byte) error {
	for !t.damaged && len(content) > 0 {
		index, _, rest := wholeEntry(content)
		if index == 0 || t.next > 0 && index != t.next {
			t.damaged = true
			t.next = max(t.next, t.commit+1)
			break
		}
		t.next, content = index+1, rest
	}
	if !t.damaged || t.cut > 0 && t.next >= t.cut {
		return nil
	}
	for ; len(content) >= record.HeaderBytes; content = content[1:] {
		if offset := binary.BigEndian.Uint64(content); offset <= t.next || offset > t.next+groupMax {
			continue
		}
		if index, group, _ := wholeEntry(content); group > t.next {
			return fmt.Errorf("entry %d is damaged and had been synced before entry %d was written", t.next, index)
		}
	}
	return nil
}

// groupMax is more entries than the log can have behind its commit.
const groupMax = 1 << 24

// wholeEntry decodes the entry that p begins with; its index is 0 where that is none.
func wholeEntry(p []byte) (index, group uint64, rest []byte) {
	b, rest, err := record.First(p)
	if err != nil {
		return 0, 0, nil
	}
	e, group, err := readEntry(b)
	if err != nil {
		return 0, 0, nil
	}
	return e.GetIndex(), group, rest
}

package machine

import (
	"path/filepath"
	"strings"

	"github.com/moldau/moldau/internal/vfs"
)

// reserve is the file of a data directory that keeps room for a full disk, and its size.
const (
	reserveSuffix = "_reserve"
	reserveBytes  = 16 << 20
)

// Disk is an FS in which a file that only reserves room takes none: every clone would carry that along.
type Disk struct{ vfs.FS }

// OpenReadWrite implements vfs.FS.
func (d Disk) OpenReadWrite(name string) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name)
	if err == nil && strings.HasSuffix(filepath.Base(name), reserveSuffix) {
		return reserve{f}, nil
	}
	return f, err
}

// reserve says that it has its size.
type reserve struct{ vfs.File }

func (reserve) Size() (int64, error) { return reserveBytes, nil }

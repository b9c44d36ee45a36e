package vfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncData is F_FULLFSYNC, which os.File.Sync uses here: plain fsync stops at the drive's cache.
func syncData(f *os.File) error { return f.Sync() }

func syncFS(*os.File) error { return fmt.Errorf("syncfs: %w", errors.ErrUnsupported) }

func usage(dir string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

package vfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

func openFile(name string, flag int) (*os.File, error) { return os.OpenFile(name, flag, filePerm) }

func syncData(f *os.File) error { return f.Sync() }

// syncDir does nothing: Windows has no call for it, NTFS journals names by itself.
func syncDir(string) error { return nil }

func syncFS(*os.File) error { return fmt.Errorf("syncfs: %w", errors.ErrUnsupported) }

func lockFile(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return err
}

func usage(dir string) (free, total uint64, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, nil); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return free, total, nil
}

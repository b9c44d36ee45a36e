package vfs

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// fuseMagic is what statfs says of a FUSE mount: the kernel does not pass syncfs on to it.
const fuseMagic = 0x65735546

// onFD runs call on the descriptor of f, again after a signal, and holds off a Close meanwhile.
func onFD(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) {
		for {
			if callErr = call(int(fd)); callErr != unix.EINTR {
				return
			}
		}
	})
	return errors.Join(err, callErr)
}

func syncData(f *os.File) error { return onFD(f, unix.Fdatasync) }

// syncReports tells whether syncfs reports a failed write-back, as it does since Linux 5.8.
var syncReports = sync.OnceValue(func() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 5 || major == 5 && minor >= 8
})

func syncFS(root *os.File) error {
	if !syncReports() {
		return fmt.Errorf("syncfs of this kernel reports no failures: %w", errors.ErrUnsupported)
	}
	var st unix.Statfs_t
	if err := onFD(root, func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
		return fmt.Errorf("statfs %s: %w", root.Name(), err)
	}
	if int64(st.Type) == fuseMagic {
		return fmt.Errorf("syncfs of a FUSE file system: %w", errors.ErrUnsupported)
	}
	if err := onFD(root, unix.Syncfs); err != nil {
		return fmt.Errorf("syncfs %s: %w", root.Name(), err)
	}
	return nil
}

func usage(dir string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Frsize), st.Blocks * uint64(st.Frsize), nil
}

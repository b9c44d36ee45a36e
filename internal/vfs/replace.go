package vfs

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// TmpSuffix ends the name under which ReplaceFile writes. Apache Kafka's checkpoints have the
// same. A file of that name is what a crash left, and means nothing.
const TmpSuffix = ".tmp"

// ErrTooLarge is what ReadFile returns for a file that is larger than it may be.
var ErrTooLarge = errors.New("the file is larger than it can be")

// ReplaceFile makes a file, or replaces it, so that a crash leaves the old or the new content
// whole; the new one is durable when it returns.
func ReplaceFile(fsys FS, dir, name string, content []byte) error {
	path := filepath.Join(dir, name)
	f, err := fsys.Create(path + TmpSuffix)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := fsys.Rename(path+TmpSuffix, path); err != nil {
		return fmt.Errorf("replacing %s: %w", path, err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("syncing the directory of %s: %w", path, err)
	}
	return nil
}

// ReadFile reads a whole file of at most bytesMax.
func ReadFile(fsys FS, name string, bytesMax int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if size > bytesMax {
		return nil, fmt.Errorf("%w: %s has %d bytes of at most %d", ErrTooLarge, name, size, bytesMax)
	}
	content := make([]byte, size)
	n, err := f.ReadAt(content, 0)
	if err != nil && !(errors.Is(err, io.EOF) && int64(n) == size) {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return content, nil
}

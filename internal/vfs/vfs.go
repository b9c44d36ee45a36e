package vfs

import (
	"errors"
	"io"
	"os"
)

// ErrLocked is what Lock returns while another process, or another holder in this one, has the lock.
var ErrLocked = errors.New("locked by another process")

// FS is a file system. Names are slash or OS paths as filepath makes them. Errors
// satisfy errors.Is with fs.ErrNotExist, fs.ErrExist and syscall.ENOSPC where they mean that.
type FS interface {
	// Create makes an empty file for reading and writing, or empties the one that is there.
	Create(name string) (File, error)
	// Open opens an existing file for reading only.
	Open(name string) (File, error)
	// OpenReadWrite opens a file for reading and writing and makes it where it is missing.
	OpenReadWrite(name string) (File, error)
	// OpenExisting opens an existing file for reading and writing.
	OpenExisting(name string) (File, error)
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// RemoveAll removes a tree; a missing one is no error.
	RemoveAll(name string) error
	// Rename moves a file or directory, replacing a file at newName.
	Rename(oldName, newName string) error
	// MkdirAll makes a directory and its missing parents.
	MkdirAll(dir string) error
	// List returns the names in a directory, sorted, without the directory.
	List(dir string) ([]string, error)
	// Stat describes a file or directory.
	Stat(name string) (os.FileInfo, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// SyncFS makes every byte and name of the file system that holds dir durable, and
	// reports a failed write-back like fsync (Linux syncfs). Where the system has no such
	// call it returns errors.ErrUnsupported and has done nothing.
	SyncFS(dir string) error
	// Lock takes an exclusive lock that ends with the process or with Close; ErrLocked
	// where somebody has it. The file is made where it is missing.
	Lock(name string) (io.Closer, error)
	// Usage returns the free and total bytes of the file system that holds dir.
	Usage(dir string) (free, total uint64, err error)
}

// File is an open file. Its methods may be called by several goroutines at once.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the bytes and the size durable (fdatasync).
	Sync() error
	// Truncate sets the size in bytes.
	Truncate(size int64) error
	// Size returns the size in bytes.
	Size() (int64, error)
}

// OSFile returns the *os.File behind f, for sendfile; nil where there is none.
func OSFile(f File) *os.File {
	if o, ok := f.(interface{ OSFile() *os.File }); ok {
		return o.OSFile()
	}
	return nil
}

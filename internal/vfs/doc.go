// Package vfs is the only way to a disk.
//
// FS is what the log, the quorum and the data directories need of a file
// system. OS is the real one. Mem is a file system in memory that knows which
// bytes a power cut would keep; its CrashClone is the disk after such a cut.
// Fault wraps another FS and makes chosen operations fail.
//
// Durability, as Linux has it and Mem models it: bytes written are durable after
// File.Sync of that file, or SyncFS of its file system. A name (made, renamed or
// removed) is durable after SyncDir of its directory or SyncFS; syncing the file
// does not make its name durable.
//
// On Linux a sync is fdatasync, SyncFS is syncfs (of kernels that report a failed
// write-back through it, and not of FUSE) and a lock is flock. On macOS a sync is
// F_FULLFSYNC. On Windows directories are not synced: NTFS journals names by itself.
//
// Goroutines: none. Locks: Mem, Fault and OS have one each, leaves. It leaves out
// memory mapping, links and permissions.
package vfs

package sim

import (
	"path/filepath"
	"strings"
	"unicode"

	"github.com/moldau/moldau/internal/vfs"
)

// disk is an FS that calls after when something has become durable.
type disk struct {
	vfs.FS
	after   func(op vfs.Op, name string)
	omitted map[string]bool // kinds of syncs that do nothing, as syncKind names them
}

// syncKind names what is synced: the call site alone does not tell where many share a helper.
func syncKind(op vfs.Op, name string) string {
	base, _ := strings.CutSuffix(filepath.Base(name), vfs.TmpSuffix)
	base, cleaning := strings.CutSuffix(base, ".cleaned")
	dir := filepath.Base(filepath.Dir(name))
	switch {
	case op == vfs.OpSyncFS:
		return string(op)
	case op == vfs.OpSyncDir:
		return string(op) + " of " + dirKind(filepath.ToSlash(name), base)
	case strings.IndexFunc(base, unicode.IsDigit) >= 0:
		base = "*" + filepath.Ext(base)
	}
	if cleaning {
		base += ".cleaned"
	}
	return string(op) + " of " + dirKind(dir, dir) + "/" + base
}

// dirKind names a directory: a partition's like all others, and a copy that is to be moved to like all others.
func dirKind(path, base string) string {
	if strings.HasSuffix(base, "-future") {
		return "FUTURE"
	}
	if i := strings.LastIndexByte(base, '-'); i > 0 && base != "__cluster_metadata-0" {
		return "PARTITION"
	} else if i > 0 {
		return base
	}
	return path
}

func (d *disk) OpenReadWrite(name string) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name)
	if err != nil {
		return nil, err
	}
	return &diskFile{f, d, name}, nil
}

func (d *disk) OpenExisting(name string) (vfs.File, error) {
	f, err := d.FS.OpenExisting(name)
	if err != nil {
		return nil, err
	}
	return &diskFile{f, d, name}, nil
}

func (d *disk) Create(name string) (vfs.File, error) {
	f, err := d.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return &diskFile{f, d, name}, nil
}

func (d *disk) SyncDir(dir string) error {
	if d.omitted[syncKind(vfs.OpSyncDir, dir)] {
		return nil
	}
	return d.then(d.FS.SyncDir(dir), vfs.OpSyncDir, dir)
}

func (d *disk) SyncFS(dir string) error {
	if d.omitted[syncKind(vfs.OpSyncFS, dir)] {
		return nil
	}
	return d.then(d.FS.SyncFS(dir), vfs.OpSyncFS, dir)
}

func (d *disk) then(err error, op vfs.Op, name string) error {
	if err == nil && d.after != nil {
		d.after(op, name)
	}
	return err
}

// diskFile is a file of a disk that can be synced.
type diskFile struct {
	vfs.File
	disk *disk
	name string
}

func (f *diskFile) Sync() error {
	if f.disk.omitted[syncKind(vfs.OpSync, f.name)] {
		return nil
	}
	return f.disk.then(f.File.Sync(), vfs.OpSync, f.name)
}

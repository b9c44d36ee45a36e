//go:build fault

package vfs

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestControlFails(t *testing.T) {
	c := &control{fault: NewFault(NewMem())}
	write := func(name string) error {
		f, err := c.fault.OpenReadWrite(name)
		must(t, err)
		defer f.Close()
		_, err = f.WriteAt([]byte("a"), 0)
		return err
	}
	must(t, c.fault.MkdirAll("/a-0"))
	must(t, c.obey("Sync,Write /a-*/* EIO\nWrite *.index ENOSPC\n"))
	wantErr(t, write("/a-0/0.log"), syscall.EIO)
	wantErr(t, write("/0.index"), syscall.ENOSPC)
	must(t, write("/0.log"))
	must(t, c.obey("Write *.index EIO\n"))
	must(t, write("/a-0/0.log"))
	wantErr(t, write("/0.index"), syscall.EIO)
	must(t, c.obey(""))
	must(t, write("/0.index"))
	for _, bad := range []string{"Write *\n", "Write * sometimes\n", "\n"} {
		if c.obey("Write * EIO\n"+bad) == nil {
			t.Errorf("%q was obeyed", bad)
		}
	}
	must(t, write("/0.index"))
}

func TestControlDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &control{fault: NewFault(NewMem())}
		c.fault.SetHook(c.delay)
		must(t, c.obey("Sync,SyncFS * 150ms\nSync *.log 1s\n"))
		took := func(do func() error) time.Duration {
			begun := time.Now()
			must(t, do())
			return time.Since(begun)
		}
		f, err := c.fault.Create("/a.log")
		must(t, err)
		write := func() error { _, err := f.WriteAt([]byte("a"), 0); return err }
		if a, b, d := took(f.Sync), took(func() error { return c.fault.SyncFS("/") }), took(write); a != time.Second || b != 150*time.Millisecond || d != 0 {
			t.Error(a, b, d)
		}
	})
}

package vfs

import (
	"cmp"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Site is a place in the code that syncs something.
type Site struct {
	File string // with its directory: log/checkpoint.go
	Func string
	Line int
	Op   Op
}

func (s Site) String() string { return fmt.Sprintf("%s:%d %s %s", s.File, s.Line, s.Func, s.Op) }

// callers is a stack as far as it takes to tell a Site.
type callers [16]uintptr

// siteOf has the Site of each stack that was met: to tell it takes longer than to find it here.
var siteOf sync.Map

// callSite is the nearest caller outside this file system's own code.
func callSite(op Op) Site {
	var pcs callers
	n := runtime.Callers(2, pcs[:])
	if known, ok := siteOf.Load(pcs); ok {
		site := known.(Site)
		site.Op = op
		return site
	}
	site := pcs.site(n)
	siteOf.Store(pcs, site)
	site.Op = op
	return site
}

func (pcs *callers) site(n int) Site {
	frames := runtime.CallersFrames(pcs[:n])
	for {
		frame, more := frames.Next()
		if !strings.Contains(frame.Function, "/vfs.(*Fault).") && !strings.Contains(frame.Function, "/vfs.(*faultFile).") || !more {
			return Site{
				File: path.Join(path.Base(path.Dir(frame.File)), path.Base(frame.File)),
				Func: frame.Function[strings.LastIndexByte(frame.Function, '/')+1:],
				Line: frame.Line,
			}
		}
	}
}

// SyncSites returns the call sites that have synced something so far, in the order of their text.
func (f *Fault) SyncSites() []Site {
	f.mu.Lock()
	defer f.mu.Unlock()
	sites := make([]Site, 0, len(f.mu.sites))
	for s := range f.mu.sites {
		sites = append(sites, s)
	}
	slices.SortFunc(sites, func(a, b Site) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Op, b.Op))
	})
	return sites
}

// Suppress has every sync from site report success and do nothing.
func (f *Fault) Suppress(site Site) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.suppressed[site] = true
}

//go:build !unix

package cli

import "syscall"

// ownGroup leaves a node to the console's own Ctrl-C, which goes to all of its processes.
func ownGroup() *syscall.SysProcAttr { return nil }

//go:build unix && !linux

package cli

import "syscall"

// ownGroup keeps the signals of the terminal from a node, so that the one which it is sent is its only one: a second ends it at
// once.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

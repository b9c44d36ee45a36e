//go:build unix

package cli

import (
	"os"
	"os/exec"
	"syscall"
)

// separate keeps the signals of the terminal from a node, so that the one which Cancel sends is its only one: a second ends
// it at once.
func separate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
}

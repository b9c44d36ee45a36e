//go:build !unix

package cli

import "os/exec"

// separate leaves a node to the console's own Ctrl-C, which goes to all of its processes.
func separate(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return nil }
}

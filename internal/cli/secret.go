package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/moldau/moldau/internal/peer"
)

func (p *Program) secret() *cobra.Command {
	return group("secret", "Make the secret that the nodes of a cluster know each other by", p.secretNew())
}

func (p *Program) secretNew() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a secret",
		Long: `Make a secret, for a file that every node of a cluster has, that only its owner can read, and that
cluster.secret.file names. Whoever knows the secret can be a node of the cluster.`,
		Example: "  moldau secret new --out cluster.secret",
		Args:    names(0, 0, "no arguments"),
		RunE: run(func(*cobra.Command, []string) error {
			text := peer.NewSecret().Text() + "\n"
			if out == "" {
				_, err := fmt.Fprint(p.Stdout, text)
				return err
			}
			if err := writeSecret(out, text); err != nil {
				return err
			}
			if abs, err := filepath.Abs(out); err == nil {
				out = abs
			}
			_, err := fmt.Fprintf(p.Stderr, "The secret is in %s. Copy the file to every node, and set there:\n  cluster.secret.file=%s\n", out, out)
			return err
		}),
	}
	cmd.Flags().StringVar(&out, "out", "", "the file to make, for its owner alone; standard output where not given")
	_ = cmd.MarkFlagFilename("out")
	return cmd
}

// writeSecret makes the file, and leaves none behind where it fails. A file that is there stays as it is: it may
// be the secret of a cluster.
func writeSecret(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and may be the secret of a cluster; name another file with --out", name)
	}
	if err != nil {
		return fmt.Errorf("cannot make the secret's file: %w; name another with --out", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("cannot write the secret: %w", err), os.Remove(name))
	}
	return nil
}

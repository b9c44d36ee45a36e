package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (p *Program) version() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  names(0, 0, "no arguments"),
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			v := struct {
				Version string `json:"version"`
				Commit  string `json:"commit"`
				Go      string `json:"go"`
				OS      string `json:"os"`
				Arch    string `json:"arch"`
			}{p.Version, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
			if output.json() {
				return printJSON(p.Stdout, v)
			}
			_, err := fmt.Fprintf(p.Stdout, "moldau %s (commit %s, %s, %s/%s)\n", v.Version, v.Commit, v.Go, v.OS, v.Arch)
			return err
		}),
	}
	output.add(cmd, "text", "json")
	return cmd
}

// commit is what this binary was built from, as the go command recorded it.
func commit() string {
	revision, dirty := "unknown", ""
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return revision
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = ", modified"
		}
	}
	return revision + dirty
}

package cli

import (
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
)

// logFlags say how a broker in this process logs, to standard error.
type logFlags struct{ format, level string }

func (f *logFlags) add(cmd *cobra.Command, level string) {
	cmd.Flags().StringVar(&f.format, "log-format", "text", "how to log to standard error: text or json")
	cmd.Flags().StringVar(&f.level, "log-level", level, "the least that is logged: debug, info, warn or error")
	_ = cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *logFlags) logger(p *Program) (*slog.Logger, error) {
	var level slog.Level
	if strings.ContainsAny(f.level, "+-") || level.UnmarshalText([]byte(f.level)) != nil {
		return nil, usagef("--log-level %s: it must be debug, info, warn or error", f.level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.format {
	case "text":
		return slog.New(slog.NewTextHandler(p.Stderr, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(p.Stderr, options)), nil
	}
	return nil, usagef("--log-format %s: it must be text or json", f.format)
}

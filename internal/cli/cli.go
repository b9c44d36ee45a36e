package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/ids"
)

// The exit statuses.
const (
	statusOK    = 0
	statusError = 1
	statusUsage = 2
)

// Program is what a process gives the commands.
type Program struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Environ        []string // NAME=VALUE
	Version        string

	// StartBroker starts a broker, which serves when it returns.
	StartBroker func(ctx context.Context, cfg *config.Broker, logger *slog.Logger) (Broker, error)
	// AdoptTopics registers the partitions in a directory of a stopped broker.
	AdoptTopics func(ctx context.Context, cfg *config.Broker, logger *slog.Logger, dir string) ([]Adopted, error)
	// Dial makes the clients' connections; nil dials with package net.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Broker is a broker that runs in this process.
type Broker interface {
	Addr() string // HOST:PORT for clients
	Stop(ctx context.Context) error
	Failed() <-chan error // gets why the broker cannot go on
}

// Adopted is a topic that AdoptTopics registered.
type Adopted struct {
	Topic      string
	ID         ids.TopicID
	Partitions int
}

// getenv returns a variable of the environment, the last where it stands twice.
func (p *Program) getenv(name string) (value string, set bool) {
	for _, e := range p.Environ {
		if n, v, ok := strings.Cut(e, "="); ok && n == name {
			value, set = v, true
		}
	}
	return value, set
}

// Main runs the command that args, without the program's name, ask for and returns the
// exit status. Cancelling ctx ends it cleanly.
func (p *Program) Main(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return statusOK
	}
	var failed *runError
	if errors.As(err, &failed) {
		if !errors.Is(err, errSilent) {
			fmt.Fprintf(p.Stderr, "moldau: %v\n", failed.err)
		}
		return statusError
	}
	fmt.Fprintf(p.Stderr, "moldau: %v\nTry '%s --help'.\n", err, cmd.CommandPath())
	return statusUsage
}

// runError is an error of a command that was typed right. Every other error is one of
// usage: what cobra refuses, and what commands return as usageError.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }
func (e *runError) Unwrap() error { return e.err }

// usageError is something wrong with flags or arguments that cobra cannot see.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// errSilent ends a command with status 1 after it has said itself what is wrong.
var errSilent = errors.New("said already")

// run makes a cobra function of f whose errors are not errors of usage.
func run(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd, args)
		var usage *usageError
		if err == nil || errors.As(err, &usage) {
			return err
		}
		return &runError{err}
	}
}

func (p *Program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "moldau",
		Short: "A streaming broker that speaks the Apache Kafka protocol, and a client for any such broker",
		Long: `A streaming broker that speaks the Apache Kafka protocol, and a client for any such broker.

  moldau dev                     start a broker on this machine, no configuration needed
  echo hello | moldau put words  write a record
  moldau cat words -e            read all records`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(p.dev(), p.server(), p.topic(), p.partition(), p.put(), p.cat(), p.cluster(), p.quorum(), p.secret(), p.debug(), p.version())
	return root
}

// group makes a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	g.AddCommand(commands...)
	return g
}

// noSuchCommand refuses arguments of a command that only holds others, which cobra
// would take without a word.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", cmd.CommandPath()+" "+args[0])
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %q?", cmd.CommandPath()+" "+near[0])
	}
	return usagef("%s", text)
}

// names makes a check of the arguments: at least least of them, at most most where
// that is not negative; what says what they are.
func names(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s: it takes %s", cmd.CommandPath(), what)
		case most >= 0 && len(args) > most:
			return usagef("%s: %q is too much; it takes %s", cmd.CommandPath(), args[most], what)
		}
		return nil
	}
}

// Command moldau is the broker and its command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/moldau/moldau/internal/cli"
)

// version is the release; the linker sets it.
var version = "dev"

func main() {
	// The first signal asks for a clean end; the second has the system's effect.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	program := &cli.Program{
		Stdin:   os.Stdin,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Environ: os.Environ(),
		Version: version,

		StartBroker: startBroker,
		AdoptTopics: adoptTopics,
	}
	os.Exit(program.Main(ctx, os.Args[1:]))
}

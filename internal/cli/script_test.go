package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/ids"
)

// fakeBroker stands for a broker in scripts. It writes to the file FAKE_LOG what is asked of it.
type fakeBroker struct {
	addr   string
	node   string // " node 1" where it is one of several
	failed chan error
}

func (f *fakeBroker) Addr() string { return f.addr }

func (f *fakeBroker) Failed() <-chan error { return f.failed }

func (f *fakeBroker) Stop(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("asked to stop when it is too late: %w", err)
	}
	note("stopped%s", f.node)
	if os.Getenv("FAKE_FAULT") == "stop" {
		return errors.New("the disk is gone")
	}
	return nil
}

func note(format string, args ...any) {
	f, err := os.OpenFile(os.Getenv("FAKE_LOG"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, format+"\n", args...)
}

func startFake(ctx context.Context, cfg *config.Broker, logger *slog.Logger) (Broker, error) {
	switch os.Getenv("FAKE_FAULT") {
	case "port":
		return nil, fmt.Errorf("listening at %s: %w", cfg.Listeners[0].Address(), syscall.EADDRINUSE)
	case "data":
		return nil, errors.New("data is locked by another process; stop it")
	}
	logger.Debug("starting")
	if os.Getenv("FAKE_FAULT") == "alone" {
		note("waits")
		<-ctx.Done()
		return nil, fmt.Errorf("the quorum does not begin: %w", context.Cause(ctx))
	}
	_, err := os.Stat(cfg.LogDirs[0])
	note("node %d, partitions %d, directory there %v", cfg.NodeID, cfg.NumPartitions, err == nil)
	f := &fakeBroker{addr: cfg.Listeners[0].Address(), failed: make(chan error, 1)}
	if len(cfg.Voters) > 1 {
		f.node = fmt.Sprintf(" node %d", cfg.NodeID)
		note("replicas %d", cfg.DefaultReplicationFactor)
	}
	if os.Getenv("FAKE_FAULT") == fmt.Sprintf("start of node %d", cfg.NodeID) {
		return nil, errors.New("no room")
	}
	if dir := os.Getenv("FAKE_SOCKETS"); dir != "" {
		if err := serveFake(cfg, dir); err != nil {
			return nil, err
		}
		go f.failOn(filepath.Join(dir, fmt.Sprintf("fail%d", cfg.NodeID)))
	}
	if os.Getenv("FAKE_FAULT") == "fail" {
		f.failed <- errors.New("every data directory is offline; repair one")
	}
	return f, nil
}

func adoptFake(_ context.Context, cfg *config.Broker, _ *slog.Logger, dir string) ([]Adopted, error) {
	if filepath.Base(dir) == "empty" {
		return nil, errors.New("there is no partition directory")
	}
	note("adopt %s of %s", filepath.Base(dir), filepath.Base(cfg.LogDirs[0]))
	return []Adopted{{"orders", ids.UUID{1, 2, 3}, 4}}, nil
}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"moldau": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			p := &Program{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Version: "1.2.3",
				StartBroker: startFake, AdoptTopics: adoptFake}
			if dir := os.Getenv("FAKE_SOCKETS"); dir != "" {
				p.Dial = func(ctx context.Context, _, address string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", fakeSocket(dir, address))
				}
			}
			os.Exit(p.Main(ctx, os.Args[1:]))
		},
	})
}

// TestScripts runs testdata/script: usage, errors and the shape of what is printed.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, Deadline: time.Now().Add(time.Minute), Cmds: scriptCommands, Setup: func(env *testscript.Env) error {
		env.Setenv("FAKE_LOG", filepath.Join(env.WorkDir, "fake.log"))
		sockets, err := os.MkdirTemp("", "") // the work directory's name may be too long for a socket's
		if err != nil {
			return err
		}
		env.Defer(func() { os.RemoveAll(sockets) })
		env.Setenv("SOCKETS", sockets)
		env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
		return os.Mkdir(filepath.Join(env.WorkDir, "tmp"), 0o755)
	}})
}

// scriptCommands are those that scripts have besides testscript's own.
var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){

	// waitfor FILE [TEXT] waits until a file is there, and TEXT in it; empty DIR checks that nothing is in a directory.
	"waitfor": func(ts *testscript.TestScript, _ bool, args []string) {
		for range 2000 {
			content, err := os.ReadFile(ts.MkAbs(args[0]))
			if err == nil && (len(args) == 1 || strings.Contains(string(content), args[1])) {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		ts.Fatalf("%v did not appear", args)
	},
	"empty": func(ts *testscript.TestScript, _ bool, args []string) {
		names, err := os.ReadDir(ts.MkAbs(args[0]))
		ts.Check(err)
		if len(names) > 0 {
			ts.Fatalf("%s holds %v", args[0], names)
		}
	},
}

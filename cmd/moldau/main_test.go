package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"moldau": main})
}

// TestScripts runs testdata/script with this program: real brokers, each on a port of
// its own, and real clients.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, Deadline: time.Now().Add(time.Minute),
		Cmds: scriptCommands, Setup: func(env *testscript.Env) error {
			port, err := freePort()
			if err != nil {
				return err
			}
			env.Setenv("PORT", port)
			env.Setenv("MOLDAU_BROKERS", "127.0.0.1:"+port)
			env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
			return os.Mkdir(filepath.Join(env.WorkDir, "tmp"), 0o755)
		}})
}

// nextPort is the port that freePort looks at next, so that no two scripts get the same.
var nextPort = func() *atomic.Int32 {
	n := new(atomic.Int32)
	n.Store(int32(20000 + os.Getpid()%10000))
	return n
}()

// freePort finds a port below the ephemeral range: a client that dials a broker which
// was killed must not be given the broker's port and connect to itself.
func freePort() (string, error) {
	for {
		port := nextPort.Add(1)
		if port > 32000 {
			break
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return strconv.Itoa(int(port)), l.Close()
		}
	}
	return "", fmt.Errorf("no port is free")
}

var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	// up waits until a broker listens at $PORT, down until none does.
	"up":   func(ts *testscript.TestScript, _ bool, _ []string) { awaitPort(ts, true) },
	"down": func(ts *testscript.TestScript, _ bool, _ []string) { awaitPort(ts, false) },

	// empty DIR checks that nothing is in a directory.
	"empty": func(ts *testscript.TestScript, _ bool, args []string) {
		names, err := os.ReadDir(ts.MkAbs(args[0]))
		ts.Check(err)
		if len(names) > 0 {
			ts.Fatalf("%s holds %v", args[0], names)
		}
	},

	// lines FILE N writes N different lines.
	"lines": func(ts *testscript.TestScript, _ bool, args []string) {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		var text []byte
		for i := range n {
			text = fmt.Appendf(text, "line %d\n", i)
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o644))
	},
}

func awaitPort(ts *testscript.TestScript, want bool) {
	for range 4000 {
		c, err := net.Dial("tcp", "127.0.0.1:"+ts.Getenv("PORT"))
		if err == nil {
			c.Close()
		}
		if (err == nil) == want {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	ts.Fatalf("port %s: listening is not %v", ts.Getenv("PORT"), want)
}

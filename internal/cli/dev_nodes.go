package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
)

// devNode is one node of a cluster of dev, a process of this program.
type devNode struct {
	id       int
	addr     string         // for clients
	defaults []config.Entry // which the user may override
	settings []config.Entry // which nobody may
	cmd      *exec.Cmd
	out      *prefixed
}

func (f *devFlags) checkNodes() error {
	switch {
	case f.nodes != 1 && f.nodes != 3 && f.nodes != 5:
		return usagef("--nodes %d: it must be 1, 3 or 5", f.nodes)
	case f.nodes > 1 && (f.port == 0 || f.port+2*f.nodes-1 > 65535):
		return usagef("--port %d: %d nodes take %d ports from this one on, so it must be between 1 and %d", f.port, f.nodes, 2*f.nodes, 65536-2*f.nodes)
	}
	return nil
}

// devNodes lays out a cluster: clients' ports first, then those of the nodes among themselves.
func devNodes(first, count int, dir string) []*devNode {
	controller := func(id int) string { return devAddress(first + count + id - 1) }
	var voters []string
	for id := 1; id <= count; id++ {
		voters = append(voters, strconv.Itoa(id)+"@"+controller(id))
	}
	var nodes []*devNode
	for id := 1; id <= count; id++ {
		n := &devNode{id: id, addr: devAddress(first + id - 1)}
		n.defaults = []config.Entry{devSetting("default.replication.factor", "3")} // a process may be killed, and its records are there
		n.settings = []config.Entry{
			devSetting("node.id", strconv.Itoa(id)),
			devSetting("listeners", "PLAINTEXT://"+n.addr+",CONTROLLER://"+controller(id)),
			devSetting("controller.listener.names", "CONTROLLER"),
			devSetting("controller.quorum.voters", strings.Join(voters, ",")),
			devSetting("log.dirs", filepath.Join(dir, "node"+strconv.Itoa(id))),
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// command is how node n is started. What the user overrides may not be what tells the nodes apart.
func (n *devNode) command(ctx context.Context, p *Program, flags *devFlags) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program, to start it for each node: %w", err)
	}
	args := []string{"server", "--log-format", flags.logs.format, "--log-level", flags.logs.level}
	for _, e := range slices.Concat(n.defaults, n.settings) {
		args = append(args, "--override", e.Name+"="+e.Value)
	}
	for _, o := range flags.overrides {
		args = append(args, "--override", o)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Args[0] = os.Args[0] // the name that this program was called by
	cmd.Env = p.Environ
	cmd.Stdout, cmd.Stderr = n.out, n.out
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error {
		_ = cmd.Process.Signal(os.Interrupt) // fails where it has ended, and where the system has no such thing
		return nil
	}
	cmd.WaitDelay = stopTimeout + 5*time.Second // the node ends itself before
	return cmd, nil
}

// checkOverrides refuses to override what tells the nodes apart.
func (f *devFlags) checkOverrides(nodes []*devNode) error {
	overrides, err := config.ReadOverrides(f.overrides)
	if err != nil {
		return usagef("%v", err)
	}
	for _, o := range overrides {
		for _, e := range nodes[0].settings {
			if o.Name == e.Name {
				return usagef("--override %s: with --nodes every node has its own", o.Name)
			}
		}
	}
	return nil
}

// endedNode is a node whose process has ended, and how.
type endedNode struct {
	*devNode
	err error
}

// run starts the process and waits for its end.
func (n *devNode) run(started chan<- error, ended chan<- endedNode) {
	runtime.LockOSThread() // Linux takes the end of the thread that has started a process for that of its parent
	defer runtime.UnlockOSThread()
	err := n.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	err = n.cmd.Wait()
	n.out.flush()
	ended <- endedNode{n, err}
}

// devCluster runs the nodes until ctx is done or none is left. One that ends is reported and the others go on; before all
// are there it ends them too.
func (p *Program) devCluster(ctx context.Context, flags *devFlags, dir string) error {
	nodes := devNodes(flags.port, flags.nodes, dir)
	if err := flags.checkOverrides(nodes); err != nil {
		return err
	}
	for _, n := range nodes {
		if _, err := flags.load(p, slices.Concat(n.defaults, n.settings)); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	c := &devRun{p: p, out: &prefixed{mu: &mu, w: p.Stderr, prefix: "moldau: "}, stop: stop, ended: make(chan endedNode)}
	for _, n := range nodes {
		n.out = &prefixed{mu: &mu, w: p.Stderr, prefix: fmt.Sprintf("node %d | ", n.id)}
		var err error
		if n.cmd, err = n.command(ctx, p, flags); err == nil {
			started := make(chan error)
			go n.run(started, c.ended)
			err = <-started
		}
		if err != nil {
			c.errs = append(c.errs, fmt.Errorf("node %d cannot be started: %w", n.id, err))
			stop()
			break
		}
		c.running++
		c.addrs = append(c.addrs, n.addr)
	}
	return c.run(ctx, func() error { return printWelcome(p.Stdout, c.addrs, dir, flags.data != "") })
}

// devRun is a cluster of dev while it runs. It belongs to one goroutine.
type devRun struct {
	p       *Program
	out     *prefixed
	stop    context.CancelFunc
	addrs   []string
	running int
	ended   chan endedNode // one for each that runs
	errs    []error
}

func (c *devRun) run(ctx context.Context, welcome func() error) error {
	formed := make(chan bool, 1)
	go func() { formed <- c.p.awaitNodes(ctx, c.addrs) }()
	ready := false
	for c.running > 0 {
		select {
		case ready = <-formed:
			if !ready { // they are being ended
				continue
			}
			if err := welcome(); err != nil {
				c.errs = append(c.errs, err)
				c.stop()
			}
		case e := <-c.ended:
			c.running--
			c.nodeEnded(ctx, e, ready)
		}
	}
	if ctx.Err() == nil {
		c.errs = append(c.errs, errors.New("no node is left"))
	}
	return errors.Join(c.errs...)
}

func (c *devRun) nodeEnded(ctx context.Context, e endedNode, ready bool) {
	how := "exit status 0"
	if e.err != nil {
		how = e.err.Error()
	}
	switch {
	case ctx.Err() != nil:
		if e.err != nil && !errors.Is(e.err, context.Canceled) { // which stands for a clean end
			c.errs = append(c.errs, fmt.Errorf("node %d did not stop cleanly: %s", e.id, how))
		}
	case !ready:
		c.errs = append(c.errs, fmt.Errorf("node %d ended before the cluster was there: %s; it says why above", e.id, how))
		c.stop()
	default:
		fmt.Fprintf(c.out, "node %d at %s ended: %s; %d of %d nodes go on\n", e.id, e.addr, how, c.running, len(c.addrs))
	}
}

// nodesPoll is how often it is looked whether all nodes are there.
const nodesPoll = 100 * time.Millisecond

// awaitNodes returns true once every node is a broker of the cluster, and false when ctx is done.
func (p *Program) awaitNodes(ctx context.Context, addrs []string) bool {
	client := clientFlags{p: p, brokers: strings.Join(addrs, ","), timeout: 2 * time.Second}
	tick := time.NewTicker(nodesPoll)
	defer tick.Stop()
	for {
		up := 0
		_ = client.answering(ctx, func(ctx context.Context, _ *kgo.Client, broker kmsg.Requestor) error {
			members, err := describeMembers(ctx, broker)
			if err != nil {
				return err
			}
			for _, b := range members.Brokers {
				if !b.IsFenced {
					up++
				}
			}
			return nil
		})
		if up == len(addrs) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// lineMax is the longest line that is written as one.
const lineMax = 64 << 10

// prefixed writes lines with a prefix, and shares what it writes to with others that have the same mu, a line at a time. It
// belongs to one goroutine.
type prefixed struct {
	mu     *sync.Mutex
	w      io.Writer
	prefix string
	line   []byte // what has no end yet
}

func (p *prefixed) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			p.line = append(p.line, b...)
			if len(p.line) > lineMax {
				p.flush()
			}
			break
		}
		p.line = append(p.line, b[:end]...)
		p.writeLine()
		b = b[end+1:]
	}
	return n, nil
}

// flush writes what is there as a line.
func (p *prefixed) flush() {
	if len(p.line) > 0 {
		p.writeLine()
	}
}

func (p *prefixed) writeLine() {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "%s%s\n", p.prefix, p.line)
	p.line = p.line[:0]
}

//go:build linux

package nodes

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	Count = 3
	// Patience is how long anything may take that is not measured.
	Patience = 30 * time.Second
	Poll     = 20 * time.Millisecond
)

// A Node is one process of a cluster, or none while it does not run. It belongs to one goroutine.
type Node struct {
	ID     int
	Host   string   // where it listens
	Data   string   // its directory
	Log    string   // what it has said, over all of its starts
	Args   []string // of every start
	Moldau string
	Via    []string // a program that becomes the node's, with its arguments; none for none
	cmd    *exec.Cmd
	exited chan error
}

// Start starts the process and does not wait for anything. Overrides count for this start alone.
func (n *Node) Start(overrides ...string) error {
	out, err := os.OpenFile(n.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	args := n.Args
	for _, o := range overrides {
		args = append(args[:len(args):len(args)], "--override", o)
	}
	argv := slices.Concat(n.Via, []string{n.Moldau}, args)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	n.cmd, n.exited = cmd, exited
	return nil
}

// Kill ends the process without warning.
func (n *Node) Kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // gone already is as good
	<-n.exited
	n.cmd = nil
}

// Stop ends the process as an operator does.
func (n *Node) Stop() error {
	if err := n.Terminate(); err != nil {
		return err
	}
	return n.AwaitEnd()
}

// Terminate tells the process to end as an operator does, and does not wait for that.
func (n *Node) Terminate() error {
	if err := n.signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("node %d: %w", n.ID, err)
	}
	return nil
}

// AwaitEnd waits for the end of a process that was told to end.
func (n *Node) AwaitEnd() error {
	select {
	case err := <-n.exited:
		n.cmd = nil
		if err != nil {
			return fmt.Errorf("the clean end of node %d: %w", n.ID, err)
		}
		return nil
	case <-time.After(Patience):
		n.Kill()
		return fmt.Errorf("node %d did not end within %v of SIGTERM", n.ID, Patience)
	}
}

// Pause has the process stand still (SIGSTOP), with all its connections open.
func (n *Node) Pause() error { return n.signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (n *Node) Continue() error { return n.signal(syscall.SIGCONT) }

func (n *Node) signal(s syscall.Signal) error {
	if n.cmd == nil {
		return fmt.Errorf("node %d does not run", n.ID)
	}
	return n.cmd.Process.Signal(s)
}

// Ended tells whether the process has ended by itself.
func (n *Node) Ended() bool {
	if n.cmd == nil {
		return true
	}
	select {
	case err := <-n.exited:
		n.exited <- err // for whoever waits next
		return true
	default:
		return false
	}
}

// Said is how long the log is, for lines to look only behind it.
func (n *Node) Said() int64 {
	info, err := os.Stat(n.Log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Lines returns those that match in the log behind an offset.
func (n *Node) Lines(from int64, pattern *regexp.Regexp) ([]string, error) {
	f, err := os.Open(n.Log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(from, 0); err != nil {
		return nil, err
	}
	var found []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if pattern.MatchString(lines.Text()) {
			found = append(found, lines.Text())
		}
	}
	return found, lines.Err()
}

// A Cluster is three nodes.
type Cluster struct {
	Moldau string
	Port   int // of the first node's clients; the others follow
	Nodes  []*Node
}

func New(moldau, dir string, port int) *Cluster {
	c := &Cluster{Moldau: moldau, Port: port}
	for id := 1; id <= Count; id++ {
		name := filepath.Join(dir, fmt.Sprintf("node%d", id))
		c.Nodes = append(c.Nodes, &Node{ID: id, Host: "127.0.0.1", Data: name, Log: name + ".log", Moldau: moldau, Args: []string{"server", "--config", name + ".properties"}})
	}
	return c
}

func (c *Cluster) Node(id int32) *Node { return c.Nodes[id-1] }

func (c *Cluster) Address(id int32) string {
	return fmt.Sprintf("%s:%d", c.Node(id).Host, c.Port+int(id)-1)
}

// ControllerAddress is that of the node's entry in controller.quorum.voters, as kafka.sh writes it.
func (c *Cluster) ControllerAddress(id int32) string {
	return fmt.Sprintf("%s:%d", c.Node(id).Host, c.Port+50+int(id))
}

func (c *Cluster) Addresses() string {
	var all []string
	for _, n := range c.Nodes {
		all = append(all, c.Address(int32(n.ID)))
	}
	return strings.Join(all, ",")
}

func (c *Cluster) KillAll() {
	for _, n := range c.Nodes {
		n.Kill()
	}
}

func (c *Cluster) StopAll() error {
	ended := make(chan error, len(c.Nodes)) // together: the last one alone would have no quorum
	for _, n := range c.Nodes {
		go func() { ended <- n.Stop() }()
	}
	var errs []error
	for range c.Nodes {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// Empty removes the data of nodes that do not run. A directory itself stays: it may be a disk of its own.
func (c *Cluster) Empty() error {
	var errs []error
	for _, n := range c.Nodes {
		entries, err := os.ReadDir(n.Data)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			errs = append(errs, os.RemoveAll(filepath.Join(n.Data, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Said is how long each log is, for lines to look only behind that.
func (c *Cluster) Said() []int64 {
	var ends []int64
	for _, n := range c.Nodes {
		ends = append(ends, n.Said())
	}
	return ends
}

// Lines returns those that match in the logs behind offsets.
func (c *Cluster) Lines(from []int64, pattern *regexp.Regexp) ([]string, error) {
	var all []string
	for i, n := range c.Nodes {
		found, err := n.Lines(from[i], pattern)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// StartAll starts the nodes and waits until all are there.
func (c *Cluster) StartAll(ctx context.Context, overrides ...string) error {
	for _, n := range c.Nodes {
		if err := n.Start(overrides...); err != nil {
			return err
		}
	}
	return c.Await(ctx, "all nodes are there", c.Complete)
}

// Await asks again until done returns no error. A node that ends meanwhile although it should run is no reason to wait on.
func (c *Cluster) Await(ctx context.Context, what string, done func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for {
		err := done(ctx)
		if err == nil {
			return nil
		}
		for _, n := range c.Nodes {
			if n.cmd != nil && n.Ended() {
				return fmt.Errorf("%s: node %d has ended by itself: %s", what, n.ID, n.Log)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v: %w", what, Patience, err)
		case <-time.After(Poll):
		}
	}
}

// Health, Member and Quorum are what the commands print with -o json.
type Health struct {
	Healthy        bool    `json:"healthy"`
	Controller     int32   `json:"controller"`
	Brokers        int     `json:"brokers"`
	MissingBrokers []int32 `json:"missing_brokers"`
	SilentVoters   []int32 `json:"silent_voters"`
	Problems       []struct {
		What string `json:"what"`
	} `json:"problems"`
}

type Member struct {
	ID    int32  `json:"id"`
	State string `json:"state"`
}

type Quorum struct {
	Leader int32 `json:"leader"`
	Epoch  int32 `json:"epoch"`
	Voters []struct {
		ID          int32  `json:"id"`
		DirectoryID string `json:"directory_id"`
	} `json:"voters"`
}

// Ask runs a command of the program against the brokers and decodes what it prints. Health ends with status 1 where something is
// wrong, and prints all the same.
func (c *Cluster) Ask(ctx context.Context, into any, command ...string) error {
	args := append(command, "-o", "json", "--timeout", "4s", "-b", c.Addresses())
	cmd := exec.CommandContext(ctx, c.Moldau, args...)
	out, err := cmd.Output()
	if len(out) == 0 {
		var status *exec.ExitError
		if errors.As(err, &status) {
			return fmt.Errorf("moldau %s: %s", strings.Join(command, " "), strings.TrimSpace(string(status.Stderr)))
		}
		return fmt.Errorf("moldau %s: %w", strings.Join(command, " "), err)
	}
	return json.Unmarshal(out, into)
}

func (c *Cluster) Health(ctx context.Context) (h Health, err error) {
	err = c.Ask(ctx, &h, "cluster", "health")
	return h, err
}

func (c *Cluster) Quorum(ctx context.Context) (q Quorum, err error) {
	err = c.Ask(ctx, &q, "quorum", "status")
	if err == nil && q.Leader < 1 {
		err = errors.New("no node leads the quorum")
	}
	return q, err
}

// Complete wants all brokers up, all voters heard of, and a controller.
func (c *Cluster) Complete(ctx context.Context) error {
	h, err := c.Health(ctx)
	switch {
	case err != nil:
		return err
	case h.Controller < 1 || h.Brokers != len(c.Nodes) || len(h.MissingBrokers) > 0 || len(h.SilentVoters) > 0:
		return fmt.Errorf("controller %d, %d brokers up, missing %v, silent %v", h.Controller, h.Brokers, h.MissingBrokers, h.SilentVoters)
	}
	return nil
}

// Well wants complete, and nothing wrong with any partition.
func (c *Cluster) Well(ctx context.Context) error {
	if err := c.Complete(ctx); err != nil {
		return err
	}
	h, err := c.Health(ctx)
	if err == nil && !h.Healthy {
		err = fmt.Errorf("not healthy: %v", h.Problems)
	}
	return err
}

// State wants a broker in one of some states; "" is that of a broker which is not listed.
func (c *Cluster) State(id int32, wants ...string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		var members []Member
		if err := c.Ask(ctx, &members, "cluster", "brokers"); err != nil {
			return err
		}
		state := ""
		for _, m := range members {
			if m.ID == id {
				state = m.State
			}
		}
		if !slices.Contains(wants, state) {
			return fmt.Errorf("broker %d is %q, not one of %q", id, state, wants)
		}
		return nil
	}
}

// NotUp are the states of a broker that does not take part.
var NotUp = []string{"", "fenced", "missing"}

// Client knows the brokers by some of their addresses.
func (c *Cluster) Client(seeds ...string) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.DisableClientMetrics(), kgo.DialTimeout(time.Second), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.UnknownTopicRetries(-1))
}

// Others are the nodes but one.
func (c *Cluster) Others(id int32) []int32 {
	var rest []int32
	for other := int32(1); other <= Count; other++ {
		if other != id {
			rest = append(rest, other)
		}
	}
	return rest
}

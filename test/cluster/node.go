//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	nodeCount = 3
	// patience is how long anything may take that is not measured.
	patience = 30 * time.Second
	poll     = 20 * time.Millisecond
)

// node is one process of a cluster, or none while it does not run. It belongs to one goroutine.
type node struct {
	id     int
	data   string   // its directory
	log    string   // what it has said, over all of its starts
	args   []string // of every start
	moldau string
	cmd    *exec.Cmd
	exited chan error
}

// start starts the process and does not wait for anything. Overrides count for this start alone.
func (n *node) start(overrides ...string) error {
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	args := n.args
	for _, o := range overrides {
		args = append(args[:len(args):len(args)], "--override", o)
	}
	cmd := exec.Command(n.moldau, args...)
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

// kill ends the process without warning.
func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // gone already is as good
	<-n.exited
	n.cmd = nil
}

// stop ends the process as an operator does.
func (n *node) stop() error {
	if n.cmd == nil {
		return fmt.Errorf("node %d does not run", n.id)
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("node %d: %w", n.id, err)
	}
	select {
	case err := <-n.exited:
		n.cmd = nil
		if err != nil {
			return fmt.Errorf("the clean end of node %d: %w", n.id, err)
		}
		return nil
	case <-time.After(patience):
		n.kill()
		return fmt.Errorf("node %d did not end within %v of SIGTERM", n.id, patience)
	}
}

// ended tells whether the process has ended by itself.
func (n *node) ended() bool {
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

// said is how long the log is, for lines to look only behind it.
func (n *node) said() int64 {
	info, err := os.Stat(n.log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// lines returns those that match in the log behind an offset.
func (n *node) lines(from int64, pattern *regexp.Regexp) ([]string, error) {
	f, err := os.Open(n.log)
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

// cluster is three nodes.
type cluster struct {
	moldau string
	port   int // of the first node's clients; the others follow
	nodes  []*node
}

func newCluster(moldau, dir string, port int) *cluster {
	c := &cluster{moldau: moldau, port: port}
	for id := 1; id <= nodeCount; id++ {
		name := filepath.Join(dir, fmt.Sprintf("node%d", id))
		c.nodes = append(c.nodes, &node{id: id, data: name, log: name + ".log", moldau: moldau, args: []string{"server", "--config", name + ".properties"}})
	}
	return c
}

func (c *cluster) node(id int32) *node { return c.nodes[id-1] }

func (c *cluster) address(id int32) string { return fmt.Sprintf("127.0.0.1:%d", c.port+int(id)-1) }

// controllerAddress is that of the node's entry in controller.quorum.voters, as kafka.sh writes it.
func (c *cluster) controllerAddress(id int32) string {
	return fmt.Sprintf("127.0.0.1:%d", c.port+50+int(id))
}

func (c *cluster) addresses() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, c.address(int32(n.id)))
	}
	return strings.Join(all, ",")
}

func (c *cluster) killAll() {
	for _, n := range c.nodes {
		n.kill()
	}
}

func (c *cluster) stopAll() error {
	ended := make(chan error, len(c.nodes)) // together: the last one alone would have no quorum
	for _, n := range c.nodes {
		go func() { ended <- n.stop() }()
	}
	var errs []error
	for range c.nodes {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// empty removes the data of nodes that do not run.
func (c *cluster) empty() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, os.RemoveAll(n.data))
	}
	return errors.Join(errs...)
}

// said is how long each log is, for lines to look only behind that.
func (c *cluster) said() []int64 {
	var ends []int64
	for _, n := range c.nodes {
		ends = append(ends, n.said())
	}
	return ends
}

// lines returns those that match in the logs behind offsets.
func (c *cluster) lines(from []int64, pattern *regexp.Regexp) ([]string, error) {
	var all []string
	for i, n := range c.nodes {
		found, err := n.lines(from[i], pattern)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// startAll starts the nodes and waits until all are there.
func (c *cluster) startAll(ctx context.Context, overrides ...string) error {
	for _, n := range c.nodes {
		if err := n.start(overrides...); err != nil {
			return err
		}
	}
	return c.await(ctx, "all nodes are there", c.complete)
}

// await asks again until done returns no error. A node that ends meanwhile although it should run is no reason to wait on.
func (c *cluster) await(ctx context.Context, what string, done func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := done(ctx)
		if err == nil {
			return nil
		}
		for _, n := range c.nodes {
			if n.cmd != nil && n.ended() {
				return fmt.Errorf("%s: node %d has ended by itself: %s", what, n.id, n.log)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v: %w", what, patience, err)
		case <-time.After(poll):
		}
	}
}

// health, member and quorum are what the commands print with -o json.
type health struct {
	Healthy        bool    `json:"healthy"`
	Controller     int32   `json:"controller"`
	Brokers        int     `json:"brokers"`
	MissingBrokers []int32 `json:"missing_brokers"`
	SilentVoters   []int32 `json:"silent_voters"`
	Problems       []struct {
		What string `json:"what"`
	} `json:"problems"`
}

type member struct {
	ID    int32  `json:"id"`
	State string `json:"state"`
}

type quorum struct {
	Leader int32 `json:"leader"`
	Epoch  int32 `json:"epoch"`
	Voters []struct {
		ID          int32  `json:"id"`
		DirectoryID string `json:"directory_id"`
	} `json:"voters"`
}

// ask runs a command of the program against the brokers and decodes what it prints. Health ends with status 1 where something is
// wrong, and prints all the same.
func (c *cluster) ask(ctx context.Context, into any, command ...string) error {
	args := append(command, "-o", "json", "--timeout", "4s", "-b", c.addresses())
	cmd := exec.CommandContext(ctx, c.moldau, args...)
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

func (c *cluster) health(ctx context.Context) (h health, err error) {
	err = c.ask(ctx, &h, "cluster", "health")
	return h, err
}

func (c *cluster) quorum(ctx context.Context) (q quorum, err error) {
	err = c.ask(ctx, &q, "quorum", "status")
	if err == nil && q.Leader < 1 {
		err = errors.New("no node leads the quorum")
	}
	return q, err
}

// complete wants all brokers up, all voters heard of, and a controller.
func (c *cluster) complete(ctx context.Context) error {
	h, err := c.health(ctx)
	switch {
	case err != nil:
		return err
	case h.Controller < 1 || h.Brokers != len(c.nodes) || len(h.MissingBrokers) > 0 || len(h.SilentVoters) > 0:
		return fmt.Errorf("controller %d, %d brokers up, missing %v, silent %v", h.Controller, h.Brokers, h.MissingBrokers, h.SilentVoters)
	}
	return nil
}

// well wants complete, and nothing wrong with any partition.
func (c *cluster) well(ctx context.Context) error {
	if err := c.complete(ctx); err != nil {
		return err
	}
	h, err := c.health(ctx)
	if err == nil && !h.Healthy {
		err = fmt.Errorf("not healthy: %v", h.Problems)
	}
	return err
}

// state wants a broker in one of some states; "" is that of a broker which is not listed.
func (c *cluster) state(id int32, wants ...string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		var members []member
		if err := c.ask(ctx, &members, "cluster", "brokers"); err != nil {
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

// notUp are the states of a broker that does not take part.
var notUp = []string{"", "fenced", "missing"}

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/moldau/moldau/test/nodes"
)

// settled is how long a node that was refused is left to try again, so that it is seen whether it says the same over and over.
const settled = 3 * time.Second

// linesMax is how often a refusal may be said: once for each kind of connection to each of the two others, and once more where a
// node that is refused hears of another reason first.
const linesMax = 8

// refused starts a node in the place of id that does not belong to the cluster. It must say why, or the others must; it must not
// become a broker; and the others must go on deciding. The node runs no more after that.
func (s *suite) refused(ctx context.Context, n *nodes.Node, id int32, why string, overrides ...string) error {
	c := s.cluster
	pattern := regexp.MustCompile(why)
	from, own := c.Said(), n.Said()
	if err := n.Start(overrides...); err != nil {
		return err
	}
	defer n.Kill()
	count := func() (int, error) {
		lines, err := c.Lines(from, pattern)
		if err == nil && n != c.Node(id) {
			var more []string
			more, err = n.Lines(own, pattern)
			lines = append(lines, more...)
		}
		return len(lines), err
	}
	begun := time.Now()
	for {
		lines, err := count()
		if err != nil {
			return err
		}
		if lines > 0 {
			break
		}
		if time.Since(begun) > nodes.Patience || ctx.Err() != nil {
			return fmt.Errorf("nobody says /%s/ within %v", why, nodes.Patience)
		}
		time.Sleep(nodes.Poll)
	}
	time.Sleep(settled)
	if lines, err := count(); err != nil || lines > linesMax {
		return fmt.Errorf("%d lines in %v say /%s/, more than %d (%v)", lines, since(begun), why, linesMax, err)
	}
	if _, err := c.createWithin(ctx, failoverMax, fmt.Sprintf("beside-%d", begun.UnixMilli()), c.Others(id)...); err != nil {
		return fmt.Errorf("beside it: %w", err)
	}
	return nil
}

// refusedInPlace is refused for a node that takes the place of node id, which does not run meanwhile, and is not up because of it.
func (s *suite) refusedInPlace(ctx context.Context, id int32, why string, overrides ...string) error {
	if err := s.refused(ctx, s.cluster.Node(id), id, why, overrides...); err != nil {
		return err
	}
	return s.cluster.Await(ctx, "the node takes no part", s.cluster.State(id, nodes.NotUp...))
}

// secret makes a secret in a file.
func (s *suite) secret(ctx context.Context, name string) (string, error) {
	file := filepath.Join(s.dir, name)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	out, err := exec.CommandContext(ctx, s.cluster.Moldau, "secret", "new", "--out", file).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("moldau secret new: %w: %s", err, out)
	}
	return file, nil
}

func (s *suite) wrongSecret(ctx context.Context) (string, error) {
	c := s.cluster
	right, err := s.secret(ctx, "right.secret")
	if err != nil {
		return "", err
	}
	wrong, err := s.secret(ctx, "wrong.secret")
	if err != nil {
		return "", err
	}
	if err := c.StopAll(); err != nil {
		return "", err
	}
	if err := c.StartAll(ctx, "cluster.secret.file="+right); err != nil {
		return "", fmt.Errorf("with a secret: %w", err)
	}
	if err := c.Node(3).Stop(); err != nil {
		return "", err
	}
	if err := s.refusedInPlace(ctx, 3, `the cluster secrets differ`, "cluster.secret.file="+wrong); err != nil {
		return "", fmt.Errorf("another secret: %w", err)
	}
	if err := s.refusedInPlace(ctx, 3, `the cluster secrets differ`); err != nil {
		return "", fmt.Errorf("no secret: %w", err)
	}
	if err := c.Node(3).Start("cluster.secret.file=" + right); err != nil {
		return "", err
	}
	if err := c.Await(ctx, "the node with the right secret is back", c.Complete); err != nil {
		return "", err
	}
	if err := c.StopAll(); err != nil {
		return "", err
	}
	return "", c.StartAll(ctx)
}

func (s *suite) otherDisk(ctx context.Context) (string, error) {
	c := s.cluster
	if err := s.other.StartAll(ctx); err != nil {
		return "", fmt.Errorf("the other cluster: %w", err)
	}
	if err := s.other.StopAll(); err != nil {
		return "", fmt.Errorf("the other cluster: %w", err)
	}
	if err := c.Node(3).Stop(); err != nil {
		return "", err
	}
	if err := s.refusedInPlace(ctx, 3, `another cluster`, "log.dirs="+s.other.Node(3).Data); err != nil {
		return "", err
	}
	if err := c.Node(3).Start(); err != nil {
		return "", err
	}
	return "", c.Await(ctx, "the node is back with its own disk", c.Complete)
}

func (s *suite) duplicateNode(ctx context.Context) (string, error) {
	c := s.cluster
	before, err := c.Quorum(ctx)
	if err != nil {
		return "", err
	}
	id := c.Others(before.Leader)[0]
	name := filepath.Join(s.dir, "duplicate")
	clients, controller := fmt.Sprintf("127.0.0.1:%d", c.Port+5), fmt.Sprintf("127.0.0.1:%d", c.Port+55)
	double := &nodes.Node{ID: int(id), Data: name, Log: name + ".log", Moldau: c.Moldau, Args: c.Node(id).Args}
	err = s.refused(ctx, double, id, `two nodes have one node\.id`, "log.dirs="+name, "listeners=PLAINTEXT://"+clients+",CONTROLLER://"+controller,
		"advertised.listeners=PLAINTEXT://"+clients, "controller.quorum.voters="+s.voters(map[int32]string{id: controller}))
	if err != nil {
		return "", err
	}
	if err := c.Complete(ctx); err != nil {
		return "", err
	}
	after, err := c.Quorum(ctx)
	if err == nil && fmt.Sprint(after.Voters) != fmt.Sprint(before.Voters) {
		err = fmt.Errorf("the voters were %v and are %v", before.Voters, after.Voters)
	}
	return "", err
}

// voters is controller.quorum.voters with other addresses for some nodes.
func (s *suite) voters(instead map[int32]string) string {
	var list []string
	for id := int32(1); id <= nodes.Count; id++ {
		address := s.cluster.ControllerAddress(id)
		if other, ok := instead[id]; ok {
			address = other
		}
		list = append(list, fmt.Sprintf("%d@%s", id, address))
	}
	return strings.Join(list, ",")
}

// wrongAddress gives node 3 the addresses of the two others the wrong way round.
func (s *suite) wrongAddress(ctx context.Context) (string, error) {
	c := s.cluster
	if err := c.Node(3).Stop(); err != nil {
		return "", err
	}
	swapped := s.voters(map[int32]string{1: c.ControllerAddress(2), 2: c.ControllerAddress(1)})
	if err := s.refusedInPlace(ctx, 3, `one of them advertises a wrong address`, "controller.quorum.voters="+swapped); err != nil {
		return "", err
	}
	if err := c.Node(3).Start(); err != nil {
		return "", err
	}
	return "", c.Await(ctx, "the node is back with the right addresses", c.Well)
}

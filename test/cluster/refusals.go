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
)

// settled is how long a node that was refused is left to try again, so that it is seen whether it says the same over and over.
const settled = 3 * time.Second

// linesMax is how often a refusal may be said: once for each kind of connection to each of the two others, and once more where a
// node that is refused hears of another reason first.
const linesMax = 8

// refused starts a node in the place of id that does not belong to the cluster. It must say why, or the others must; it must not
// become a broker; and the others must go on deciding. The node runs no more after that.
func (s *suite) refused(ctx context.Context, n *node, id int32, why string, overrides ...string) error {
	c := s.cluster
	pattern := regexp.MustCompile(why)
	from, own := c.said(), n.said()
	if err := n.start(overrides...); err != nil {
		return err
	}
	defer n.kill()
	count := func() (int, error) {
		lines, err := c.lines(from, pattern)
		if err == nil && n != c.node(id) {
			var more []string
			more, err = n.lines(own, pattern)
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
		if time.Since(begun) > patience || ctx.Err() != nil {
			return fmt.Errorf("nobody says /%s/ within %v", why, patience)
		}
		time.Sleep(poll)
	}
	time.Sleep(settled)
	if lines, err := count(); err != nil || lines > linesMax {
		return fmt.Errorf("%d lines in %v say /%s/, more than %d (%v)", lines, since(begun), why, linesMax, err)
	}
	if _, err := c.createWithin(ctx, failoverMax, fmt.Sprintf("beside-%d", begun.UnixMilli()), c.others(id)...); err != nil {
		return fmt.Errorf("beside it: %w", err)
	}
	return nil
}

// refusedInPlace is refused for a node that takes the place of node id, which does not run meanwhile, and is not up because of it.
func (s *suite) refusedInPlace(ctx context.Context, id int32, why string, overrides ...string) error {
	if err := s.refused(ctx, s.cluster.node(id), id, why, overrides...); err != nil {
		return err
	}
	return s.cluster.await(ctx, "the node takes no part", s.cluster.state(id, notUp...))
}

// secret makes a secret in a file.
func (s *suite) secret(ctx context.Context, name string) (string, error) {
	file := filepath.Join(s.dir, name)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	out, err := exec.CommandContext(ctx, s.cluster.moldau, "secret", "new", "--out", file).CombinedOutput()
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
	if err := c.stopAll(); err != nil {
		return "", err
	}
	if err := c.startAll(ctx, "cluster.secret.file="+right); err != nil {
		return "", fmt.Errorf("with a secret: %w", err)
	}
	if err := c.node(3).stop(); err != nil {
		return "", err
	}
	if err := s.refusedInPlace(ctx, 3, `the cluster secrets differ`, "cluster.secret.file="+wrong); err != nil {
		return "", fmt.Errorf("another secret: %w", err)
	}
	if err := s.refusedInPlace(ctx, 3, `the cluster secrets differ`); err != nil {
		return "", fmt.Errorf("no secret: %w", err)
	}
	if err := c.node(3).start("cluster.secret.file=" + right); err != nil {
		return "", err
	}
	if err := c.await(ctx, "the node with the right secret is back", c.complete); err != nil {
		return "", err
	}
	if err := c.stopAll(); err != nil {
		return "", err
	}
	return "", c.startAll(ctx)
}

func (s *suite) otherDisk(ctx context.Context) (string, error) {
	c := s.cluster
	if err := s.other.startAll(ctx); err != nil {
		return "", fmt.Errorf("the other cluster: %w", err)
	}
	if err := s.other.stopAll(); err != nil {
		return "", fmt.Errorf("the other cluster: %w", err)
	}
	if err := c.node(3).stop(); err != nil {
		return "", err
	}
	if err := s.refusedInPlace(ctx, 3, `another cluster`, "log.dirs="+s.other.node(3).data); err != nil {
		return "", err
	}
	if err := c.node(3).start(); err != nil {
		return "", err
	}
	return "", c.await(ctx, "the node is back with its own disk", c.complete)
}

func (s *suite) duplicateNode(ctx context.Context) (string, error) {
	c := s.cluster
	before, err := c.quorum(ctx)
	if err != nil {
		return "", err
	}
	id := c.others(before.Leader)[0]
	name := filepath.Join(s.dir, "duplicate")
	clients, controller := fmt.Sprintf("127.0.0.1:%d", c.port+5), fmt.Sprintf("127.0.0.1:%d", c.port+55)
	double := &node{id: int(id), data: name, log: name + ".log", moldau: c.moldau, args: c.node(id).args}
	err = s.refused(ctx, double, id, `two nodes have one node\.id`, "log.dirs="+name, "listeners=PLAINTEXT://"+clients+",CONTROLLER://"+controller,
		"advertised.listeners=PLAINTEXT://"+clients, "controller.quorum.voters="+s.voters(map[int32]string{id: controller}))
	if err != nil {
		return "", err
	}
	if err := c.complete(ctx); err != nil {
		return "", err
	}
	after, err := c.quorum(ctx)
	if err == nil && fmt.Sprint(after.Voters) != fmt.Sprint(before.Voters) {
		err = fmt.Errorf("the voters were %v and are %v", before.Voters, after.Voters)
	}
	return "", err
}

// voters is controller.quorum.voters with other addresses for some nodes.
func (s *suite) voters(instead map[int32]string) string {
	var list []string
	for id := int32(1); id <= nodeCount; id++ {
		address := s.cluster.controllerAddress(id)
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
	if err := c.node(3).stop(); err != nil {
		return "", err
	}
	swapped := s.voters(map[int32]string{1: c.controllerAddress(2), 2: c.controllerAddress(1)})
	if err := s.refusedInPlace(ctx, 3, `one of them advertises a wrong address`, "controller.quorum.voters="+swapped); err != nil {
		return "", err
	}
	if err := c.node(3).start(); err != nil {
		return "", err
	}
	return "", c.await(ctx, "the node is back with the right addresses", c.well)
}

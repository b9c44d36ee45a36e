//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/moldau/moldau/test/nodes"
)

// apart is a cluster of three brokers, 1 to 3, and of three controllers, 4 to 6, that are nodes of their own.
type apart struct {
	*cluster
	controllers map[int32]*nodes.Node
}

// rolesApart has such a cluster form, lose a controller and a broker and get them back, take in one more broker, and refuse wrong roles.
func (s *suite) rolesApart(ctx context.Context) (string, error) {
	a, err := newApart(s.cluster.Moldau, filepath.Join(s.dir, "apart"), s.cluster.Port+20)
	if err != nil {
		return "", err
	}
	defer a.killAll()
	var notes []string
	for _, step := range []func(context.Context) (string, error){a.forms, a.controllerDies, a.brokerDies, a.refusesWrongRoles} {
		note, err := step(ctx)
		if err != nil {
			return "", err
		}
		notes = append(notes, note)
	}
	return " (" + strings.Join(notes, "; ") + ")", nil
}

// newApart writes the files of the nodes, in the form that Kafka's take.
func newApart(moldau, dir string, port int) (*apart, error) {
	a := &apart{&cluster{&nodes.Cluster{Moldau: moldau, Port: port}}, make(map[int32]*nodes.Node)}
	var voters []string
	for id := int32(4); id <= 6; id++ {
		voters = append(voters, fmt.Sprintf("%d@%s", id, a.ControllerAddress(id)))
	}
	err := os.MkdirAll(dir, 0o755)
	for id := int32(1); id <= 6; id++ {
		role, listener := "broker", "PLAINTEXT://"+a.Address(id)
		if id > 3 {
			role, listener = "controller", "CONTROLLER://"+a.ControllerAddress(id)
		}
		name := filepath.Join(dir, fmt.Sprintf("node%d", id))
		n := &nodes.Node{ID: int(id), Data: name, Log: name + ".log", Moldau: moldau, Args: []string{"server", "--config", name + ".properties"}}
		if id > 3 {
			a.controllers[id] = n
		} else {
			a.Nodes = append(a.Nodes, n)
		}
		err = errors.Join(err, os.WriteFile(name+".properties", fmt.Appendf(nil, "process.roles=%s\nnode.id=%d\ncontroller.quorum.voters=%s\nlisteners=%s\n"+
			"controller.listener.names=CONTROLLER\nlistener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\nlog.dirs=%s\n",
			role, id, strings.Join(voters, ","), listener, name), 0o644))
	}
	return a, err
}

func (a *apart) killAll() {
	a.KillAll()
	for _, n := range a.controllers {
		n.Kill()
	}
}

// forms starts all, and has each broker create a topic that the others soon know.
func (a *apart) forms(ctx context.Context) (string, error) {
	for _, n := range a.controllers {
		if err := n.Start(); err != nil {
			return "", err
		}
	}
	if err := a.StartAll(ctx); err != nil {
		return "", err
	}
	if err := a.Await(ctx, "the cluster is well", a.Well); err != nil {
		return "", err
	}
	for id := int32(1); id <= 3; id++ {
		topic := fmt.Sprintf("through-%d", id)
		if err := a.create(ctx, id, topic, 3); err != nil {
			return "", fmt.Errorf("through broker %d: %w", id, err)
		}
		if err := a.Await(ctx, "all brokers know "+topic, a.sameTopics(topic)); err != nil {
			return "", err
		}
	}
	q, err := a.Quorum(ctx)
	if err == nil && (len(q.Voters) != 3 || q.Voters[0].ID != 4 || a.controllers[q.Leader] == nil) {
		err = fmt.Errorf("node %d leads the voters %v", q.Leader, q.Voters)
	}
	return "formed", err
}

func (a *apart) controllerDies(ctx context.Context) (string, error) {
	q, err := a.Quorum(ctx)
	if err != nil {
		return "", err
	}
	a.controllers[q.Leader].Kill()
	took, err := a.createWithin(ctx, failoverMax, "after-the-kill", 1, 2, 3)
	if err != nil {
		return "", err
	}
	if err := a.controllers[q.Leader].Start(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%v to a topic after kill -9 of the active controller", took), a.Await(ctx, "the cluster is well again", a.Well)
}

func (a *apart) brokerDies(ctx context.Context) (string, error) {
	a.Node(2).Kill()
	begun := time.Now()
	if err := a.Await(ctx, "the broker is fenced", a.State(2, "fenced")); err != nil {
		return "", err
	}
	took := since(begun)
	if _, err := a.createWithin(ctx, failoverMax, "while-one-is-away", 1, 3); err != nil {
		return "", err
	}
	if err := a.Node(2).Start(); err != nil {
		return "", err
	}
	if err := a.Await(ctx, "the cluster is well again", a.Well); err != nil {
		return "", err
	}
	return fmt.Sprintf("%v to the fence of a broker", took), a.Await(ctx, "all know the same topics", a.sameTopics("while-one-is-away"))
}

// refusesWrongRoles starts nodes whose files cannot be meant, and wants each to end with one line that says why.
func (a *apart) refusesWrongRoles(ctx context.Context) (string, error) {
	n := a.Node(3)
	if err := n.Stop(); err != nil {
		return "", err
	}
	for override, why := range map[string]string{
		"node.id=4":                          "node 4 is a voter there and process.roles is broker",
		"process.roles=controller":           "process.roles is controller",
		"process.roles=broker,controller":    "this is node.id=3, which is no voter",
		"listeners=CONTROLLER://127.0.0.1:1": "it must name a listener that is not one of controller.listener.names",
	} {
		from := n.Said()
		if err := n.Start(override); err != nil {
			return "", err
		}
		for begun := time.Now(); !n.Ended(); time.Sleep(nodes.Poll) {
			if time.Since(begun) > nodes.Patience {
				return "", fmt.Errorf("%s: it runs", override)
			}
		}
		if lines, err := n.Lines(from, regexp.MustCompile(regexp.QuoteMeta(why))); err != nil || len(lines) != 1 {
			return "", fmt.Errorf("%s: no line says %q (%v)", override, why, err)
		}
		n.Kill() // forgets that it ran
	}
	if err := n.Start(); err != nil {
		return "", err
	}
	return "wrong roles are refused", a.Await(ctx, "the cluster is well again", a.Well)
}

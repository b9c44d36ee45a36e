//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moldau/moldau/test/nodes"
)

// scenario is one kind of fault.
type scenario struct {
	name string // to choose it
	what string
	// strike lets one fault happen and undoes it.
	strike func(ctx context.Context, r *run) error
	linked bool // through proxies that can be cut
	need   need
}

var scenarios = []scenario{
	{name: "broker", what: "kill -9 of a broker", strike: killBroker},
	{name: "controller", what: "kill -9 of the active controller", strike: killController},
	{name: "still", what: "a leader stands still for 5 s", strike: pauseLeader},
	{name: "left", what: "a leader is alone for a moment, and then killed with kill -9", strike: leaveLeader},
	{name: "two", what: "kill -9 of two at the same time", strike: killTwo},
	{name: "all", what: "kill -9 of all three at the same time", strike: killAll},
	{name: "cut", what: "a node is cut off from the controller and the quorum", strike: cutOff, linked: true},
	{name: "turn", what: "each stops cleanly in turn", strike: restartInTurn},
	{name: "leader", what: "a leader is isolated from the other nodes", strike: ofLeader("isolated", true), need: needsNetwork},
	{name: "alone", what: "a leader is isolated from nodes and clients", strike: ofLeader("alone", true), need: needsNetwork},
	{name: "quorum", what: "the active controller is isolated from the other nodes", strike: ofController("isolated", true), need: needsNetwork},
	{name: "deaf", what: "a leader hears nothing of the other nodes", strike: ofLeader("deaf", true), need: needsNetwork},
	{name: "mute", what: "a leader is not heard by the other nodes", strike: ofLeader("mute", true), need: needsNetwork},
	{name: "link", what: "two nodes do not hear each other", strike: ofLeader("cut", true), need: needsNetwork},
	{name: "one-way", what: "one node does not hear one other", strike: ofController("one-way", true), need: needsNetwork},
	{name: "lossy", what: "a fifth of the packets between a leader and the others is lost", strike: ofLeader("lossy", true), need: needsNetwork},
	{name: "late", what: "packets between a leader and the others come 120 ms late", strike: ofLeader("late", true), need: needsNetwork},
	{name: "away", what: "the clients and a leader do not hear each other", strike: ofLeader("away", false), need: needsNetwork},
	{name: "unheard", what: "the clients do not hear a leader, which hears them", strike: ofLeader("unheard", false), need: needsNetwork},
	{name: "clients", what: "a fifth of the packets between the clients and a leader is lost", strike: ofLeader("lossy-clients", true), need: needsNetwork},
	{name: "full", what: "a leader's disk is full", strike: ofLeader("full", true), need: needsMount},
	{name: "slow", what: "a leader's disk takes 150 ms for each write and sync", strike: ofLeader("slow-disk", true), need: needsControl},
	{name: "failing", what: "every change of a leader's disk fails", strike: ofLeader("failing-disk", true), need: needsControl},
	{name: "partitions", what: "every change of the partitions on a leader's disk fails", strike: ofLeader("failing-partitions", true), need: needsControl},
	{name: "disk", what: "every change of the active controller's disk fails", strike: ofController("failing-disk", true), need: needsControl},
}

// ofLeader has something happen to a node that leads. Where through is set the others take over while it lasts.
func ofLeader(name string, through bool) func(ctx context.Context, r *run) error {
	return func(ctx context.Context, r *run) error {
		id, err := r.leader(ctx, r.rng.Int32N(int32(r.load.Partitions)))
		if err != nil {
			return err
		}
		return r.hold(ctx, through, fault{kind: kindOf(name), on: id, peer: turned(id, 1+r.rng.Int32N(nodes.Count-1))})
	}
}

// ofController has something happen to the active controller.
func ofController(name string, through bool) func(ctx context.Context, r *run) error {
	return func(ctx context.Context, r *run) error {
		q, err := r.cluster.Quorum(ctx)
		if err != nil {
			return err
		}
		return r.hold(ctx, through, fault{kind: kindOf(name), on: q.Leader, peer: turned(q.Leader, 1+r.rng.Int32N(nodes.Count-1))})
	}
}

// stillness is longer than a broker's session.
const stillness = 5 * time.Second

func killBroker(ctx context.Context, r *run) error {
	return r.killFor(ctx, 1+r.rng.Int32N(nodes.Count))
}

// killFor kills a node and starts it again, at once or when others may have taken over.
func (r *run) killFor(ctx context.Context, id int32) error {
	n := r.cluster.Node(id)
	n.Kill()
	if r.rng.IntN(2) == 0 {
		if err := pause(ctx, time.Duration(r.rng.Int64N(int64(2*time.Second)))); err != nil {
			return err
		}
	}
	return n.Start()
}

func killController(ctx context.Context, r *run) error {
	q, err := r.cluster.Quorum(ctx)
	if err != nil {
		return err
	}
	return r.killFor(ctx, q.Leader)
}

func pauseLeader(ctx context.Context, r *run) error {
	id, err := r.leader(ctx, r.rng.Int32N(int32(r.load.Partitions)))
	if err != nil {
		return err
	}
	n := r.cluster.Node(id)
	if err := n.Pause(); err != nil {
		return err
	}
	err = pause(ctx, stillness)
	return errors.Join(err, n.Continue())
}

// leaveLeader has both followers of a partition stand still, for less than a session, before it kills their leader: what it acknowledges
// alone is lost.
func leaveLeader(ctx context.Context, r *run) error {
	id, err := r.leader(ctx, r.rng.Int32N(int32(r.load.Partitions)))
	if err != nil {
		return err
	}
	others := r.cluster.Others(id)
	for _, other := range others {
		if err := r.cluster.Node(other).Pause(); err != nil {
			return err
		}
	}
	err = pause(ctx, time.Duration(r.rng.Int64N(int64(2*time.Second))))
	r.cluster.Node(id).Kill()
	for _, other := range others {
		err = errors.Join(err, r.cluster.Node(other).Continue())
	}
	if err != nil {
		return err
	}
	if err := pause(ctx, time.Duration(r.rng.Int64N(int64(2*time.Second)))); err != nil {
		return err
	}
	return r.cluster.Node(id).Start()
}

// killTwo leaves the cluster without a majority until the first of the two is back, and without a replica until the other is.
func killTwo(ctx context.Context, r *run) error {
	dead := r.rng.Perm(nodes.Count)[:2]
	for _, i := range dead {
		r.cluster.Nodes[i].Kill()
	}
	for _, i := range dead {
		if err := pause(ctx, time.Duration(r.rng.Int64N(int64(2*time.Second)))); err != nil {
			return err
		}
		if err := r.cluster.Nodes[i].Start(); err != nil {
			return err
		}
	}
	return nil
}

// restartInTurn stops the next node as an operator would, when the cluster is well, and starts it again.
func restartInTurn(ctx context.Context, r *run) error {
	if err := r.cluster.Await(ctx, "the cluster is well", r.cluster.Well); err != nil {
		return err
	}
	n := r.cluster.Nodes[r.struck%nodes.Count]
	if err := n.Stop(); err != nil {
		return err
	}
	return n.Start()
}

func killAll(_ context.Context, r *run) error {
	r.cluster.KillAll()
	for _, n := range r.cluster.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("between faults: %w", ctx.Err())
	}
}

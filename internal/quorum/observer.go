package quorum

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
)

const (
	// observeWait is how long a leader that has nothing new lets an observer wait.
	observeWait = 250 * time.Millisecond
	// observeMax is how long an observer waits for an answer: by then the others know whether the leader is another.
	observeMax = 1500 * time.Millisecond
	// observePause is between two questions where the first brought nothing: about a tenth of an election.
	observePause = 50 * time.Millisecond
)

// ObserverConfig is what an Observer is told.
type ObserverConfig struct {
	Self        Identity
	Controllers []ids.NodeID // who may be asked; at least one
	// Ask asks a controller. It is called by one goroutine at a time; AskNow by any, and is not held up by Ask.
	Ask, AskNow func(ctx context.Context, to ids.NodeID, req kmsg.Request) (kmsg.Response, error)
	// LeaderFound is told who leads and where, HOST:PORT, as far as a controller says so; or the leader has itself answered, asked by
	// the last id, else NoNode. It comes before anybody sees that leader in Status.
	LeaderFound func(leader ids.NodeID, at string, answered ids.NodeID)
	Logger      *slog.Logger
}

// Observer follows the committed log of a quorum that this node is not of (Kafka: an observer of the KafkaRaftClient). It keeps
// nothing on disk: it begins with the newest snapshot and what follows it, each time that it starts.
type Observer struct {
	cfg     ObserverConfig
	state   StateMachine
	pursuit *pursuit // of run
	told    string   // of run: the problem that was logged last

	ctx     context.Context // ends with Stop
	cancel  context.CancelFunc
	stopped chan struct{} // closed when run is over
	started bool          // of the goroutine that calls Start and Stop

	// mu is a leaf.
	mu struct {
		sync.Mutex
		status Status
		target ids.NodeID    // who is asked
		moved  chan struct{} // closed when the status changes
		err    error         // why run is over, nil after Stop
	}
}

// NewObserver returns an observer that has not asked anybody yet.
func NewObserver(cfg ObserverConfig, state StateMachine) *Observer {
	o := &Observer{cfg: cfg, state: state, stopped: make(chan struct{})}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	o.mu.moved, o.mu.status.Leader, o.mu.status.Epoch = make(chan struct{}), ids.NoNode, ids.NoLeaderEpoch
	o.mu.target = cfg.Controllers[0]
	return o
}

// Start begins to follow.
func (o *Observer) Start() {
	o.started = true
	o.pursuit = newPursuit(o.cfg.Self, o.cfg.Controllers)
	go o.run()
}

// Stop ends following. It returns when nothing of the observer runs any more.
func (o *Observer) Stop() {
	o.cancel()
	if !o.started {
		o.started = true
		close(o.stopped)
	}
	<-o.stopped
}

// Done is closed when the observer has stopped or failed.
func (o *Observer) Done() <-chan struct{} { return o.stopped }

// Err returns why the observer has failed; nil while it runs and after Stop.
func (o *Observer) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.err
}

// Status returns what this node knows of the quorum.
func (o *Observer) Status() Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.status
}

// Describe returns what this node knows of the quorum: who its members are, only the leader can say.
func (o *Observer) Describe(context.Context) (Description, error) {
	return Description{Status: o.Status()}, nil
}

// run is the observer's goroutine.
func (o *Observer) run() {
	var err error
	for err == nil && o.ctx.Err() == nil {
		err = o.step()
	}
	o.mu.Lock()
	o.mu.status.Leader, o.mu.err = ids.NoNode, err
	o.mu.Unlock()
	o.cancel()
	close(o.stopped)
}

// step asks once and takes in what was answered.
func (o *Observer) step() error {
	p := o.pursuit
	asked := p.target()
	ctx, cancel := context.WithTimeout(o.ctx, observeMax)
	resp, err := o.cfg.Ask(ctx, asked, p.next())
	cancel()
	var n news
	if err == nil {
		n, err = p.hear(resp)
	} else {
		err = fmt.Errorf("%w: %w", errAnswer, err)
	}
	switch {
	case o.ctx.Err() != nil:
		return nil
	case errors.Is(err, errAnswer):
		o.tell(asked, err)
		p.lost()
		n.idle = true
	case err != nil:
		return err
	default:
		o.told = ""
	}
	if err := o.takeIn(n); err != nil {
		return err
	}
	if p.leader != ids.NoNode && err == nil {
		o.cfg.LeaderFound(p.leader, n.leaderAt, n.answered)
	}
	o.publish()
	if n.idle {
		select {
		case <-time.After(observePause):
		case <-o.ctx.Done():
		}
	}
	return nil
}

// tell logs what is new of a problem. That a node is not reached at all is in the log already.
func (o *Observer) tell(asked ids.NodeID, err error) {
	if problem := err.Error(); problem != o.told && !errors.Is(err, context.DeadlineExceeded) {
		o.cfg.Logger.Debug("the metadata log is asked for elsewhere", "node", asked, "error", err)
		o.told = problem
	}
}

// takeIn gives the state machine what has come.
func (o *Observer) takeIn(n news) error {
	if s := n.snapshot; s != nil {
		if err := o.state.Restore(ids.Offset(s.Index), ids.LeaderEpoch(s.Term), s.data); err != nil {
			return fmt.Errorf("restoring the metadata snapshot at %d: %w", s.Index, err)
		}
	}
	for _, e := range n.entries {
		switch c := committedEntry(e); c.Kind {
		case kindOpening, kindFounding, kindAdmission, kindConfiguration: // of the quorum's own
		case kindDecision:
			if err := o.state.Apply(ids.Offset(c.Index), ids.LeaderEpoch(c.Term), c.Data); err != nil {
				return fmt.Errorf("applying metadata entry %d: %w", c.Index, err)
			}
		default:
			return fmt.Errorf("metadata entry %d is of kind %d, which this release does not know", c.Index, c.Kind)
		}
	}
	return nil
}

// publish shows what is taken in.
func (o *Observer) publish() {
	p := o.pursuit
	o.mu.Lock()
	defer o.mu.Unlock()
	s := Status{Leader: p.leader, Epoch: p.epoch, HighWatermark: p.end, LogEnd: ids.Offset(p.taken.Index + 1)}
	o.mu.target = p.target()
	if s != o.mu.status {
		o.mu.status = s
		close(o.mu.moved)
		o.mu.moved = make(chan struct{})
	}
}

// ReadIndex returns once the state machine has everything that had been decided anywhere when it was called.
func (o *Observer) ReadIndex(ctx context.Context) error {
	for {
		if o.ctx.Err() != nil {
			return ErrStopped
		}
		end, err := o.askEnd(ctx)
		if err == nil {
			return o.await(ctx, end)
		}
		select {
		case <-time.After(observePause):
		case <-o.stopped:
			return ErrStopped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// askEnd asks how far the log is decided.
func (o *Observer) askEnd(ctx context.Context) (ids.Offset, error) {
	ctx, cancel := context.WithTimeout(ctx, observeMax)
	defer cancel()
	o.mu.Lock()
	to, at := o.mu.target, o.mu.status.LogEnd
	o.mu.Unlock()
	resp, err := o.cfg.AskNow(ctx, to, fetchRequest(o.cfg.Self, Position{Index: uint64(max(at, 1) - 1)}, int32(observeMax.Milliseconds()), 0))
	if err != nil {
		return 0, err
	}
	r, ok := resp.(*kmsg.FetchResponse)
	if !ok {
		return 0, errAnswer
	}
	a, err := fetched(r)
	if err == nil {
		err = kerr.ErrorForCode(a.ErrorCode)
	}
	if err != nil {
		return 0, err
	}
	return ids.Offset(a.HighWatermark), nil
}

// await returns once everything below an offset is taken in.
func (o *Observer) await(ctx context.Context, end ids.Offset) error {
	for {
		o.mu.Lock()
		there, moved := o.mu.status.LogEnd >= end, o.mu.moved
		o.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-moved:
		case <-o.stopped:
			return ErrStopped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

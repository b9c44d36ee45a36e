package replica

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
)

// ISRController decides on in-sync replicas; who leads the quorum is its business to find.
type ISRController interface {
	AlterPartition(ctx context.Context, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error)
}

// ISRSenderConfig is what an ISRSender needs.
type ISRSenderConfig struct {
	Node        ids.NodeID
	BrokerEpoch func() int64
	Controller  ISRController
	LagMax      time.Duration // replica.lag.time.max.ms: who lags is looked for twice in that time
	Logger      *slog.Logger
}

const (
	// isrTimeout is how long one AlterPartition is waited for.
	isrTimeout = 5 * time.Second
	// isrPause lies between a request that was refused or not answered and the next.
	isrPause = 50 * time.Millisecond
	// isrBatchMax bounds the partitions of one request.
	isrBatchMax = 10_000
)

// ISRSender carries the changes of in-sync replicas that leaders want to the controller, many in a request, one request at a
// time (KIP-497). Java: DefaultAlterPartitionManager.
//
// Goroutines: one, from Start to Stop.
type ISRSender struct {
	cfg      ISRSenderConfig
	batchMax int // isrBatchMax
	table    *Table
	cancel   context.CancelFunc
	done     chan struct{}
	wake     chan struct{} // has a token while something is wanted

	failing bool // the last request was not answered; run's

	mu struct {
		sync.Mutex // leaf
		wanted     map[*partition.Partition]struct{}
	}
}

// NewISRSender returns a sender for the partitions that this broker leads.
func NewISRSender(cfg ISRSenderConfig) *ISRSender {
	s := &ISRSender{cfg: cfg, batchMax: isrBatchMax, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	s.mu.wanted = make(map[*partition.Partition]struct{})
	return s
}

// Start begins to look for followers of t's partitions that lag, and to send.
func (s *ISRSender) Start(t *Table) {
	ctx, cancel := context.WithCancel(context.Background())
	s.table, s.cancel = t, cancel
	go s.run(ctx)
}

// Stop ends it; what is on its way is given up.
func (s *ISRSender) Stop() {
	s.cancel()
	<-s.done
}

// Want has the sender ask a partition for a change. It does not block.
func (s *ISRSender) Want(p *partition.Partition) {
	s.mu.Lock()
	s.mu.wanted[p] = struct{}{}
	s.mu.Unlock()
	s.poke()
}

func (s *ISRSender) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// WantAll has the sender ask all partitions: who may be in sync depends on which brokers are at work.
func (s *ISRSender) WantAll() {
	for _, p := range s.table.all() {
		s.Want(p)
	}
}

func (s *ISRSender) run(ctx context.Context) {
	defer close(s.done)
	tick := time.NewTicker(s.cfg.LagMax / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.WantAll()
		case <-s.wake:
			if s.send(ctx) {
				continue
			}
			select {
			case <-ctx.Done():
			case <-time.After(isrPause):
			}
		}
	}
}

// take returns partitions that may want a change, as many as one request may name; the others have it called again.
func (s *ISRSender) take() []*partition.Partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*partition.Partition
	for p := range s.mu.wanted {
		if len(out) == s.batchMax {
			s.poke()
			break
		}
		delete(s.mu.wanted, p)
		out = append(out, p)
	}
	return out
}

// send sends the changes that are wanted, and tells whether the controller agreed to all.
func (s *ISRSender) send(ctx context.Context) (agreed bool) {
	var changes []Alteration
	var leaders []*partition.Partition
	for _, p := range s.take() {
		if change, ok := p.ChangeISR(); ok {
			changes, leaders = append(changes, Alteration{keyOf(p), change}), append(leaders, p)
		}
	}
	if len(changes) == 0 {
		return true
	}
	answers, silent := s.ask(ctx, changes)
	s.noteOutcome(silent)
	agreed = silent == nil
	for i, p := range leaders {
		err := answers[i]
		if err != nil && silent == nil {
			agreed = false
			s.cfg.Logger.Warn("a change of the in-sync replicas is not agreed to", "partition", p.TopicPartition().String(), "epoch", changes[i].LeaderEpoch, "partitionEpoch", changes[i].PartitionEpoch, "cause", err)
		}
		if p.ISRAnswered(&changes[i].ISRChange, err) {
			s.Want(p)
		}
	}
	return agreed
}

// noteOutcome tells once of a controller that does not answer.
func (s *ISRSender) noteOutcome(err error) {
	switch {
	case err != nil && !s.failing:
		s.cfg.Logger.Warn("changes of the in-sync replicas are not answered by a controller; they are sent again", "cause", err)
	case err == nil && s.failing:
		s.cfg.Logger.Info("changes of the in-sync replicas are answered again")
	}
	s.failing = err != nil
}

// ask returns the controller's answer to each change, and why there is none.
func (s *ISRSender) ask(ctx context.Context, changes []Alteration) (answers []error, silent error) {
	ctx, cancel := context.WithTimeout(ctx, isrTimeout)
	defer cancel()
	resp, err := s.cfg.Controller.AlterPartition(ctx, AlterPartitionRequest(s.cfg.Node, s.cfg.BrokerEpoch(), changes))
	if err == nil {
		return AlterPartitionAnswers(changes, resp), nil
	}
	answers = make([]error, len(changes))
	for i := range answers {
		answers[i] = unanswered{err}
	}
	return answers, err
}

// unanswered is no answer at all, whatever Kafka error the cause wraps: what became of the request is not known.
type unanswered struct{ cause error }

func (u unanswered) Error() string { return "no answer from the controller: " + u.cause.Error() }

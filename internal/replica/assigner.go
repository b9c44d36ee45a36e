package replica

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
)

// AssignController notes in which directories brokers have replicas; who leads the quorum is its business to find.
type AssignController interface {
	AssignReplicasToDirs(ctx context.Context, req *kmsg.AssignReplicasToDirsRequest) (*kmsg.AssignReplicasToDirsResponse, error)
}

// AssignerConfig is what an Assigner needs.
type AssignerConfig struct {
	Node        ids.NodeID
	BrokerEpoch func() int64
	Controller  AssignController
	Ready       func() bool // the cluster wants to know, and this broker is registered
	Logger      *slog.Logger
}

const (
	// assignTimeout is how long one request is waited for.
	assignTimeout = 5 * time.Second
	// assignPause lies between a request that was not answered and the next, and between looks whether the cluster wants to know.
	assignPause = 500 * time.Millisecond
	// assignBatchMax bounds the partitions of one request (Java: AssignReplicasToDirsRequestBuilder has 2250).
	assignBatchMax = 2000
)

// Assigner tells the controller in which of its directories this broker has which replica, until the controller has it (KIP-858). Java:
// AssignmentsManager.
//
// Goroutines: one, from Start to Stop.
type Assigner struct {
	cfg    AssignerConfig
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{} // gets one token when there is something to tell

	mu struct {
		sync.Mutex // leaf
		wanted     map[PartitionKey]ids.DirectoryID
	}
}

// NewAssigner returns an assigner that has nothing to tell.
func NewAssigner(cfg AssignerConfig) *Assigner {
	a := &Assigner{cfg: cfg, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	a.mu.wanted = make(map[PartitionKey]ids.DirectoryID)
	return a
}

// Start begins to tell.
func (a *Assigner) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	go a.run(ctx)
}

// Stop ends it; the next start of the broker tells what is not told by then.
func (a *Assigner) Stop() {
	a.cancel()
	<-a.done
}

// Assign has the controller told where a replica is. It does not block.
func (a *Assigner) Assign(key PartitionKey, dir ids.DirectoryID) {
	a.mu.Lock()
	a.mu.wanted[key] = dir
	a.mu.Unlock()
	a.tell()
}

func (a *Assigner) tell() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *Assigner) run(ctx context.Context) {
	defer close(a.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		}
		for a.some() && !(a.cfg.Ready() && a.send(ctx)) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(assignPause):
			}
		}
	}
}

func (a *Assigner) some() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.mu.wanted) > 0
}

// send tells what there is, and whether the controller has taken it.
func (a *Assigner) send(ctx context.Context) bool {
	batch := a.batch()
	ctx, cancel := context.WithTimeout(ctx, assignTimeout)
	defer cancel()
	resp, err := a.cfg.Controller.AssignReplicasToDirs(ctx, AssignRequest(a.cfg.Node, a.cfg.BrokerEpoch(), batch))
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		a.cfg.Logger.Debug("the controller has not taken where replicas are; it is told again", "cause", err)
		return false
	}
	a.answered(batch, AssignRefusals(resp))
	return true
}

func (a *Assigner) batch() map[PartitionKey]ids.DirectoryID {
	a.mu.Lock()
	defer a.mu.Unlock()
	batch := make(map[PartitionKey]ids.DirectoryID)
	for key, dir := range a.mu.wanted {
		if len(batch) == assignBatchMax {
			break
		}
		batch[key] = dir
	}
	return batch
}

// answered forgets what the controller has judged, unless there is other news by now. What it refuses is of partitions that it does not
// have, or has elsewhere: the metadata is about to say so.
func (a *Assigner) answered(batch map[PartitionKey]ids.DirectoryID, refused map[PartitionKey]error) {
	for key, err := range refused {
		a.cfg.Logger.Debug("the controller does not want to know where a replica is", "topic", key.Topic.String(), "partition", key.Partition, "cause", err)
	}
	a.mu.Lock()
	maps.DeleteFunc(a.mu.wanted, func(key PartitionKey, dir ids.DirectoryID) bool {
		told, ok := batch[key]
		return ok && told == dir
	})
	more := len(a.mu.wanted) > 0
	a.mu.Unlock()
	if more {
		a.tell()
	}
}

// AssignRequest says where replicas are, those of a directory and of a topic together.
func AssignRequest(node ids.NodeID, brokerEpoch int64, places map[PartitionKey]ids.DirectoryID) *kmsg.AssignReplicasToDirsRequest {
	req := kmsg.NewPtrAssignReplicasToDirsRequest()
	req.BrokerID, req.BrokerEpoch = int32(node), brokerEpoch
	dirs := make(map[ids.DirectoryID]int)
	topics := make(map[ids.DirectoryID]map[ids.TopicID]int)
	for key, id := range places {
		at, ok := dirs[id]
		if !ok {
			dir := kmsg.NewAssignReplicasToDirsRequestDirectory()
			dir.ID = id
			at = len(req.Directories)
			dirs[id], topics[id] = at, make(map[ids.TopicID]int)
			req.Directories = append(req.Directories, dir)
		}
		dir := &req.Directories[at]
		in, ok := topics[id][key.Topic]
		if !ok {
			t := kmsg.NewAssignReplicasToDirsRequestDirectoryTopic()
			t.TopicID = key.Topic
			in = len(dir.Topics)
			topics[id][key.Topic] = in
			dir.Topics = append(dir.Topics, t)
		}
		p := kmsg.NewAssignReplicasToDirsRequestDirectoryTopicPartition()
		p.Partition = key.Partition
		dir.Topics[in].Partitions = append(dir.Topics[in].Partitions, p)
	}
	return req
}

// AssignRefusals returns what the controller does not agree to.
func AssignRefusals(resp *kmsg.AssignReplicasToDirsResponse) map[PartitionKey]error {
	refused := make(map[PartitionKey]error)
	for i := range resp.Directories {
		for j := range resp.Directories[i].Topics {
			t := &resp.Directories[i].Topics[j]
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					refused[PartitionKey{t.TopicID, p.Partition}] = err
				}
			}
		}
	}
	return refused
}

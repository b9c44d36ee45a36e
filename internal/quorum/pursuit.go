package quorum

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/ids"
)

// pursuit is how an observer follows the log, pure: what was answered says what to take in and what to ask next.
type pursuit struct {
	self        Identity
	controllers []ids.NodeID // who is asked while nobody is known to lead
	at          int          // whose turn it is
	leader      ids.NodeID   // NoNode while none is known
	epoch       ids.LeaderEpoch
	end         ids.Offset // high watermark of the last answer
	taken       Position   // everything up to here is taken in
	partial     *partial   // nil while no snapshot is on its way
}

// partial is a snapshot of which a part is here.
type partial struct {
	Position
	content []byte
}

// news is what an answer brings: entries that follow what is taken, a snapshot in place of it, or nothing.
type news struct {
	entries  []*raftpb.Entry
	snapshot *snapshot
	// idle says that whoever was asked had nothing to give and did not wait.
	idle bool
	// leaderAt is where the leader is reached, as it was answered: "" for nothing. answered is who leads and has
	// answered, by the id that it was asked by.
	leaderAt string
	answered ids.NodeID
}

// errAnswer is an answer that an observer cannot use; another controller may have a better one.
var errAnswer = errors.New("an answer of no use")

func newPursuit(self Identity, controllers []ids.NodeID) *pursuit {
	return &pursuit{self: self, controllers: controllers, leader: ids.NoNode, epoch: ids.NoLeaderEpoch}
}

// target is who is to be asked.
func (p *pursuit) target() ids.NodeID {
	if p.leader != ids.NoNode {
		return p.leader
	}
	return p.controllers[p.at]
}

// lost has another controller asked: this one does not answer, or not usefully.
func (p *pursuit) lost() {
	asked := p.target()
	p.leader, p.partial = ids.NoNode, nil
	if p.at = (p.at + 1) % len(p.controllers); p.controllers[p.at] == asked {
		p.at = (p.at + 1) % len(p.controllers)
	}
}

// next returns what to ask the target.
func (p *pursuit) next() kmsg.Request {
	if p.partial == nil {
		return fetchRequest(p.self, p.taken, int32(observeWait.Milliseconds()), readBytes)
	}
	req := kmsg.NewPtrFetchSnapshotRequest()
	req.Version, req.ReplicaID, req.MaxBytes = FetchSnapshotVersion, int32(p.self.Node), snapshotChunkBytes
	asked := kmsg.NewFetchSnapshotRequestTopicPartition()
	asked.CurrentLeaderEpoch, asked.Position = int32(p.epoch), int64(len(p.partial.content))
	asked.SnapshotID.EndOffset, asked.SnapshotID.Epoch = int64(p.partial.Index+1), int32(p.partial.Term)
	req.Topics = []kmsg.FetchSnapshotRequestTopic{{Topic: metadataLog.Topic, Partitions: []kmsg.FetchSnapshotRequestTopicPartition{asked}}}
	return req
}

// fetchRequest asks for what follows a position; for no bytes, how far the leader is.
func fetchRequest(self Identity, after Position, waitMs, bytesMax int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaState.ID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = FetchVersion, int32(self.Node), waitMs, 1, bytesMax
	asked := kmsg.NewFetchRequestTopicPartition()
	asked.FetchOffset, asked.LastFetchedEpoch, asked.PartitionMaxBytes = int64(after.Index+1), int32(after.Term), bytesMax
	asked.ReplicaDirectoryID = self.Directory
	req.Topics = []kmsg.FetchRequestTopic{{TopicID: metadataTopicID, Partitions: []kmsg.FetchRequestTopicPartition{asked}}}
	return req
}

// hear takes the answer of the target. After errAnswer somebody else is to be asked; any other error is for good.
func (p *pursuit) hear(resp kmsg.Response) (news, error) {
	switch r := resp.(type) {
	case *kmsg.FetchResponse:
		return p.hearFetch(r)
	case *kmsg.FetchSnapshotResponse:
		return p.hearSnapshot(r)
	}
	return news{}, errAnswer
}

// fetched returns the one partition of an answer to a fetch of the log.
func fetched(resp *kmsg.FetchResponse) (*kmsg.FetchResponseTopicPartition, error) {
	switch {
	case resp.ErrorCode != 0:
		return nil, fmt.Errorf("%w: %w", errAnswer, kerr.ErrorForCode(resp.ErrorCode))
	case len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1:
		return nil, fmt.Errorf("%w: it is not about the metadata log", errAnswer)
	}
	return &resp.Topics[0].Partitions[0], nil
}

func (p *pursuit) hearFetch(resp *kmsg.FetchResponse) (news, error) {
	a, err := fetched(resp)
	if err != nil {
		return news{}, err
	}
	leader, epoch := ids.NodeID(a.CurrentLeader.LeaderID), ids.LeaderEpoch(a.CurrentLeader.LeaderEpoch)
	switch err := kerr.ErrorForCode(a.ErrorCode); {
	case epoch < p.epoch:
		return news{}, fmt.Errorf("%w: epoch %d is over, %d has begun", errAnswer, epoch, p.epoch)
	case errors.Is(err, kerr.NotLeaderForPartition):
		asked := p.target()
		if p.lost(); leader >= 0 && leader != asked {
			p.leader, p.epoch = leader, epoch
		}
		return news{idle: true, leaderAt: leaderAt(resp, leader), answered: ids.NoNode}, nil
	case errors.Is(err, kerr.OffsetOutOfRange):
		return news{}, fmt.Errorf("the committed metadata of the controllers ends at %d and this broker has seen it up to %d; were they set back? Start the broker again",
			a.HighWatermark, p.taken.Index+1)
	case err != nil:
		return news{}, fmt.Errorf("%w: %w", errAnswer, err)
	case leader < 0:
		return news{}, fmt.Errorf("%w: it names no leader", errAnswer)
	}
	n := news{leaderAt: leaderAt(resp, leader), answered: p.target()}
	if a.SnapshotID.EndOffset > 0 {
		if id := (Position{uint64(a.SnapshotID.EndOffset - 1), uint64(a.SnapshotID.Epoch)}); id.Index > p.taken.Index {
			p.partial = &partial{Position: id}
		} else {
			return news{}, fmt.Errorf("%w: a snapshot of what is taken already", errAnswer)
		}
	} else if n.entries, err = readEntries(a.RecordBatches, p.taken); err != nil {
		return news{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	p.leader, p.epoch, p.end = leader, epoch, ids.Offset(a.HighWatermark)
	if len(n.entries) > 0 {
		last := n.entries[len(n.entries)-1]
		p.taken = Position{last.GetIndex(), last.GetTerm()}
	}
	return n, nil
}

// leaderAt returns where an answer says that a node is reached.
func leaderAt(resp *kmsg.FetchResponse, node ids.NodeID) string {
	for _, b := range resp.Brokers {
		if ids.NodeID(b.NodeID) == node {
			return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		}
	}
	return ""
}

func (p *pursuit) hearSnapshot(resp *kmsg.FetchSnapshotResponse) (news, error) {
	if p.partial == nil || resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return news{}, fmt.Errorf("%w: it is not about the snapshot", errAnswer)
	}
	a, s := &resp.Topics[0].Partitions[0], p.partial
	switch err := kerr.ErrorForCode(a.ErrorCode); {
	case errors.Is(err, kerr.SnapshotNotFound): // a newer one has replaced it
		p.partial = nil
		return news{idle: true, answered: p.target()}, nil
	case err != nil:
		return news{}, fmt.Errorf("%w: %w", errAnswer, err)
	case a.Size > snapshotFileBytesMax || a.Position != int64(len(s.content)) || len(a.Bytes) == 0 || a.Position+int64(len(a.Bytes)) > a.Size:
		return news{}, fmt.Errorf("%w: bytes %d to %d of %d of a snapshot, of which %d are here", errAnswer, a.Position, a.Position+int64(len(a.Bytes)), a.Size, len(s.content))
	}
	if s.content = append(s.content, a.Bytes...); int64(len(s.content)) < a.Size {
		return news{answered: p.target()}, nil
	}
	whole, err := decodeSnapshot(s.content)
	if err == nil && whole.Position != s.Position {
		err = fmt.Errorf("it is of index %d and term %d", whole.Index, whole.Term)
	}
	if err != nil {
		return news{}, fmt.Errorf("%w: snapshot at %d: %w", errAnswer, s.Index, err)
	}
	p.partial, p.taken = nil, s.Position
	return news{snapshot: &whole, answered: p.target()}, nil
}

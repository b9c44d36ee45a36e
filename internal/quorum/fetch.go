package quorum

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
)

const (
	// FetchVersion and FetchSnapshotVersion are what observers ask with.
	FetchVersion         = 17
	FetchSnapshotVersion = 1

	fetchWaitMax       = 5 * time.Second
	snapshotChunkBytes = 1 << 20
)

// Fetch answers an observer that asks for the metadata log (Java: KafkaRaftClient.handleFetchRequest). The leader answers
// with committed batches from the wanted offset on, once there are some or MaxWaitMillis are over; where the log begins
// behind that offset, with the id of the snapshot to begin with. Anybody else says who leads. A request for no bytes
// is a read index: the answer's high watermark covers all that was decided anywhere when it was asked.
func (n *Node) Fetch(ctx context.Context, who Identity, req *kmsg.FetchRequest) *kmsg.FetchResponse {
	resp := kmsg.NewPtrFetchResponse()
	if len(req.Topics) != 1 || req.Topics[0].TopicID != metadataTopicID || len(req.Topics[0].Partitions) != 1 || req.Topics[0].Partitions[0].Partition != 0 {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	asked := &req.Topics[0].Partitions[0]
	ctx, cancel := context.WithTimeout(ctx, min(time.Duration(max(req.MaxWaitMillis, 0))*time.Millisecond, fetchWaitMax))
	defer cancel()
	n.observe(who, ids.Offset(asked.FetchOffset), time.Now())
	p := kmsg.NewFetchResponseTopicPartition()
	var s Status
	var err error
	if asked.PartitionMaxBytes == 0 {
		if err = n.ReadIndex(ctx); err != nil {
			err = kerr.NotLeaderForPartition
		}
		s = n.Status()
	} else {
		s, err = n.fetch(ctx, asked, &p)
	}
	if err != nil {
		p.ErrorCode = codeOf(err)
	}
	p.HighWatermark, p.LastStableOffset, p.LogStartOffset = int64(s.HighWatermark), int64(s.HighWatermark), int64(s.LogStart)
	p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = int32(s.Leader), int32(s.Epoch)
	resp.Topics = []kmsg.FetchResponseTopic{{TopicID: metadataTopicID, Partitions: []kmsg.FetchResponseTopicPartition{p}}}
	if host, port, ok := endpoint(s.LeaderAt); ok && s.Leader != ids.NoNode {
		resp.Brokers = []kmsg.FetchResponseBroker{{NodeID: int32(s.Leader), Host: host, Port: port}}
	}
	return resp
}

func endpoint(address string) (host string, port int32, ok bool) {
	host, text, err := net.SplitHostPort(address)
	n, portErr := strconv.ParseUint(text, 10, 16)
	return host, int32(n), err == nil && portErr == nil
}

func codeOf(err error) int16 {
	if known := (*kerr.Error)(nil); errors.As(err, &known) {
		return known.Code
	}
	return kerr.KafkaStorageError.Code
}

// fetch puts what was asked for into p, and returns the status that it is of.
func (n *Node) fetch(ctx context.Context, asked *kmsg.FetchRequestTopicPartition, p *kmsg.FetchResponseTopicPartition) (Status, error) {
	from := ids.Offset(asked.FetchOffset)
	s := n.awaitCommit(ctx, from)
	switch {
	case s.Leader != n.cfg.NodeID:
		return s, kerr.NotLeaderForPartition
	case from < 1 || from > s.HighWatermark:
		return s, kerr.OffsetOutOfRange
	case from == s.HighWatermark:
		return s, nil
	}
	for {
		r := n.readableNow()
		if r.replaced(uint64(from)) {
			p.SnapshotID.EndOffset, p.SnapshotID.Epoch = int64(r.newest.Index+1), int32(r.newest.Term)
			return s, nil
		}
		batches, err := r.batches(uint64(from), min(asked.PartitionMaxBytes, readBytes))
		if err == nil {
			p.RecordBatches = batches
			return s, nil
		}
		// A snapshot may have replaced what was to be read.
		if !errors.Is(err, kerr.OffsetOutOfRange) || n.readableNow() == r {
			n.cfg.Logger.Error("committed metadata cannot be read for another node", "error", err)
			return s, kerr.KafkaStorageError
		}
	}
}

// awaitCommit returns once something is committed at an offset, this node does not lead, or ctx ends.
func (n *Node) awaitCommit(ctx context.Context, at ids.Offset) Status {
	for {
		s, moved := n.watch()
		if s.Leader != n.cfg.NodeID || s.HighWatermark != at {
			return s
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return s
		}
	}
}

// FetchSnapshot answers with a part of a snapshot that Fetch has named (KIP-630).
func (n *Node) FetchSnapshot(req *kmsg.FetchSnapshotRequest) *kmsg.FetchSnapshotResponse {
	resp := kmsg.NewPtrFetchSnapshotResponse()
	if len(req.Topics) != 1 || req.Topics[0].Topic != metadataLog.Topic || len(req.Topics[0].Partitions) != 1 || req.Topics[0].Partitions[0].Partition != 0 {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	asked := &req.Topics[0].Partitions[0]
	p := kmsg.NewFetchSnapshotResponseTopicPartition()
	p.SnapshotID.EndOffset, p.SnapshotID.Epoch, p.Position = asked.SnapshotID.EndOffset, asked.SnapshotID.Epoch, asked.Position
	var err error
	if p.Size, p.Bytes, err = n.readSnapshotPart(Position{uint64(asked.SnapshotID.EndOffset - 1), uint64(asked.SnapshotID.Epoch)}, asked.Position, req.MaxBytes); err != nil {
		p.ErrorCode = codeOf(err)
	}
	resp.Topics = []kmsg.FetchSnapshotResponseTopic{{Topic: metadataLog.Topic, Partitions: []kmsg.FetchSnapshotResponseTopicPartition{p}}}
	return resp
}

// readSnapshotPart returns the size of a snapshot and its bytes from an offset in it on.
func (n *Node) readSnapshotPart(id Position, from int64, bytesMax int32) (size int64, part []byte, err error) {
	r := n.readableNow()
	f, err := r.fs.Open(filepath.Join(r.dir, snapshotName(id)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil, kerr.SnapshotNotFound
	case err != nil:
		return 0, nil, err
	}
	defer f.Close()
	if size, err = f.Size(); err != nil {
		return 0, nil, err
	}
	if from < 0 || from >= size {
		return size, nil, kerr.PositionOutOfRange
	}
	part = make([]byte, min(size-from, int64(max(bytesMax, 0)), snapshotChunkBytes))
	if _, err := f.ReadAt(part, from); err != nil {
		return size, nil, err
	}
	return size, part, nil
}

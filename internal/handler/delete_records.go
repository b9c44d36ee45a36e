package handler

import (
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteRecords: v0-v2 (KIP-107). The new log start is on the leader's disk before the answer, and the replicas of all brokers at
// work have it, or the answer is REQUEST_TIMED_OUT.
func init() {
	register(kmsg.DeleteRecords, 0, 2, deleteRecords, "the new start is on disk before the answer")
}

// deletion is one partition of a request.
type deletion struct {
	partition *partition.Partition
	below     ids.Offset // the log start that every replica is to reach
	answer    *kmsg.DeleteRecordsResponseTopicPartition
}

func deleteRecords(h *Handlers, x *server.Exchange) {
	var req kmsg.DeleteRecordsRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrDeleteRecordsResponse()
	var wait []deletion
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.NewDeleteRecordsResponseTopic()
		out.Topic = t.Topic
		out.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			p := &t.Partitions[j]
			d := deletion{answer: &out.Partitions[j]}
			var err error
			if d.partition, err = h.Partitions.ByName([]byte(t.Topic), p.Partition); err == nil {
				d.below, err = d.partition.DeleteRecords(ids.Offset(p.Offset))
			}
			d.answer.Partition, d.answer.LowWatermark, d.answer.ErrorCode = p.Partition, int64(ids.NoOffset), code(err)
			if err == nil {
				wait = append(wait, d)
			}
		}
		resp.Topics = append(resp.Topics, out)
	}
	awaitDeletions(x, wait, time.Duration(req.TimeoutMillis)*time.Millisecond)
	reply(x, resp)
}

// awaitDeletions waits, at most for patience, until the records are gone on every replica at work: for one partition after the
// other, which takes as long as for all of them.
func awaitDeletions(x *server.Exchange, wait []deletion, patience time.Duration) {
	timer := time.NewTimer(max(patience, 0))
	defer timer.Stop()
	expired := false
	for i := range wait {
		d := &wait[i]
		for {
			low, changed, err := d.partition.LowWatermark()
			d.answer.LowWatermark, d.answer.ErrorCode = int64(low), code(err)
			if err != nil || low >= d.below {
				break
			}
			if d.answer.ErrorCode = kerr.RequestTimedOut.Code; expired {
				break
			}
			select {
			case <-changed:
			case <-timer.C:
				expired = true
			case <-x.Done():
				expired = true
			}
		}
	}
}

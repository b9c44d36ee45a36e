package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/server"
)

// AlterReplicaLogDirs: v1-v2 (KIP-113). The answer comes when the move has begun; DescribeLogDirs
// shows how far it is.
func init() {
	register(kmsg.AlterReplicaLogDirs, 1, 2, alterReplicaLogDirs, "a move that a stop interrupts begins again at the next start")
}

func alterReplicaLogDirs(h *Handlers, x *server.Exchange) {
	var req kmsg.AlterReplicaLogDirsRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrAlterReplicaLogDirsResponse()
	at := map[string]int{} // of a topic in resp
	for i := range req.Dirs {
		d := &req.Dirs[i]
		for j := range d.Topics {
			t := &d.Topics[j]
			for _, p := range t.Partitions {
				k, ok := at[t.Topic]
				if !ok {
					k = len(resp.Topics)
					at[t.Topic] = k
					resp.Topics = append(resp.Topics, kmsg.AlterReplicaLogDirsResponseTopic{Topic: t.Topic})
				}
				err := h.MoveReplica(ids.TopicPartition{Topic: t.Topic, Partition: p}, d.Dir)
				resp.Topics[k].Partitions = append(resp.Topics[k].Partitions, kmsg.AlterReplicaLogDirsResponseTopicPartition{Partition: p, ErrorCode: code(err)})
			}
		}
	}
	reply(x, resp)
}

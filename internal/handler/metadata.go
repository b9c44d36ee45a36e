package handler

import (
	"fmt"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metadata: v0-v13
//
//	v1 null means all topics and empty none; v4 AllowAutoTopicCreation; v7 leader epoch (KIP-320);
//	v8 authorized operations (KIP-430); v10 topic ids in answers (KIP-516); v12 topics by id; v13 top-level error
//
// A topic that is created on demand is created behind the answer, UNKNOWN_TOPIC_OR_PARTITION: the client asks again.
func init() { register(kmsg.Metadata, 0, 13, serveMetadata, "") }

func serveMetadata(h *Handlers, x *server.Exchange) {
	var req kmsg.MetadataRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrMetadataResponse()
	if err := checkMetadataTopics(&req); err != nil {
		refuseMetadata(resp, &req, err)
		reply(x, resp)
		return
	}
	all := req.Topics == nil || x.Version == 0 && len(req.Topics) == 0
	img := h.Image()
	if !all && (req.AllowAutoTopicCreation || x.Version < 4) {
		h.autoCreate(x, img, &req)
	}
	h.describeBrokers(img, x.Conn.Listener(), resp)
	resp.AuthorizedOperations = operations(req.IncludeClusterAuthorizedOperations, clusterOperations)
	if all {
		resp.Topics = make([]kmsg.MetadataResponseTopic, 0, img.TopicCount())
		for t := range img.Topics() {
			resp.Topics = append(resp.Topics, describeTopic(img, t, req.IncludeTopicAuthorizedOperations))
		}
		reply(x, resp)
		return
	}
	resp.Topics = make([]kmsg.MetadataResponseTopic, 0, len(req.Topics))
	seen := make(map[topicKey]bool, len(req.Topics))
	for i := range req.Topics {
		asked := &req.Topics[i]
		k := topicKey{id: asked.TopicID}
		if asked.Topic != nil {
			k.name = *asked.Topic
		}
		if !seen[k] {
			seen[k] = true
			resp.Topics = append(resp.Topics, h.metadataTopic(img, asked, req.IncludeTopicAuthorizedOperations))
		}
	}
	reply(x, resp)
}

// topicKey is a topic as a request names it.
type topicKey struct {
	name string
	id   ids.TopicID
}

// checkMetadataTopics refuses what versions 10 and 11 have room for but do not allow.
func checkMetadataTopics(req *kmsg.MetadataRequest) error {
	for i := range req.Topics {
		t := &req.Topics[i]
		if req.Version < 12 && t.TopicID != ids.ZeroUUID {
			return fmt.Errorf("topics are asked for by id from version 12 on: %w", kerr.InvalidRequest)
		}
		if t.Topic == nil && t.TopicID == ids.ZeroUUID || t.Topic == nil && req.Version < 12 {
			return fmt.Errorf("topic %d of the request has neither a name nor an id: %w", i, kerr.InvalidRequest)
		}
	}
	return nil
}

func refuseMetadata(resp *kmsg.MetadataResponse, req *kmsg.MetadataRequest, err error) {
	empty := ""
	for i := range req.Topics {
		t := kmsg.NewMetadataResponseTopic()
		t.ErrorCode = code(err)
		if t.Topic = req.Topics[i].Topic; t.Topic == nil {
			t.Topic = &empty
		}
		t.TopicID = req.Topics[i].TopicID
		resp.Topics = append(resp.Topics, t)
	}
	resp.ErrorCode = code(err)
}

func (h *Handlers) describeBrokers(img *metadata.Image, listener string, resp *kmsg.MetadataResponse) {
	for b := range img.Brokers() {
		e, ok := b.Endpoint(listener)
		if !ok || b.Fenced {
			continue
		}
		resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{NodeID: int32(b.ID), Host: e.Host, Port: int32(e.Port), Rack: b.Rack})
	}
	cluster := img.ClusterID()
	resp.ClusterID = &cluster
	resp.ControllerID = int32(h.Node)
}

func (h *Handlers) metadataTopic(img *metadata.Image, asked *kmsg.MetadataRequestTopic, withOperations bool) kmsg.MetadataResponseTopic {
	if asked.TopicID == ids.ZeroUUID { // Java's clients send an empty name along with an id
		if t, ok := img.Topic(*asked.Topic); ok {
			return describeTopic(img, t, withOperations)
		}
		out := kmsg.NewMetadataResponseTopic()
		out.Topic, out.IsInternal = asked.Topic, isInternal(*asked.Topic)
		out.AuthorizedOperations = operations(withOperations, topicOperations)
		out.ErrorCode = kerr.UnknownTopicOrPartition.Code
		if !validTopicName(*asked.Topic) {
			out.ErrorCode = kerr.InvalidTopicException.Code
		}
		return out
	}
	if t, ok := img.TopicByID(asked.TopicID); ok {
		return describeTopic(img, t, withOperations)
	}
	out := kmsg.NewMetadataResponseTopic()
	out.TopicID = asked.TopicID
	out.ErrorCode = kerr.UnknownTopicID.Code
	return out
}

func describeTopic(img *metadata.Image, t *metadata.Topic, withOperations bool) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic = &t.Name
	out.TopicID = t.ID
	out.IsInternal = isInternal(t.Name)
	out.AuthorizedOperations = operations(withOperations, topicOperations)
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range t.Partitions {
		p := &t.Partitions[i]
		out.Partitions[i] = kmsg.MetadataResponseTopicPartition{
			Partition:       int32(i),
			Leader:          int32(p.Leader),
			LeaderEpoch:     int32(p.LeaderEpoch),
			Replicas:        nodes(p.Replicas),
			ISR:             nodes(p.ISR),
			OfflineReplicas: offline(img, p),
		}
		if p.Leader == ids.NoNode {
			out.Partitions[i].ErrorCode = kerr.LeaderNotAvailable.Code
		}
	}
	return out
}

// offline returns the replicas whose brokers are not at work, or whose directories are offline.
func offline(img *metadata.Image, p *metadata.Partition) []int32 {
	out := []int32{}
	for _, id := range p.Replicas {
		if b, known := img.Broker(id); !known || b.Fenced || !img.Online(b, p) {
			out = append(out, int32(id))
		}
	}
	return out
}

func nodes(in []ids.NodeID) []int32 {
	out := make([]int32, len(in))
	for i, n := range in {
		out[i] = int32(n)
	}
	return out
}

package handler

import (
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// useDefault asks CreateTopics for the broker's own number (KIP-464).
const useDefault = -1

// autoCreateTimeoutMs bounds the wait of a metadata request for the topics that it creates.
const autoCreateTimeoutMs = 30_000

// autoCreate creates the topics that a metadata request names and that do not exist,
// where auto.create.topics.enable says so. What fails shows as an unknown topic.
func (h *Handlers) autoCreate(x *server.Exchange, req *kmsg.MetadataRequest) {
	if !h.Config().AutoCreateTopics {
		return
	}
	img := h.Image()
	var create kmsg.CreateTopicsRequest
	create.Version = 7
	create.TimeoutMillis = autoCreateTimeoutMs
	for i := range req.Topics {
		name := req.Topics[i].Topic
		if name == nil || !validTopicName(*name) || req.Topics[i].TopicID != ids.ZeroUUID {
			continue
		}
		if _, exists := img.Topic(*name); exists {
			continue
		}
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = *name, useDefault, useDefault
		create.Topics = append(create.Topics, t)
	}
	if len(create.Topics) == 0 {
		return
	}
	ctx, cancel := within(x, autoCreateTimeoutMs)
	defer cancel()
	resp := h.Controller.CreateTopics(ctx, &create)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.ErrorCode != 0 {
			h.Logger.Info("topic was not created on demand", "topic", t.Topic, "peer", x.Conn.RemoteAddr(), "code", t.ErrorCode)
			continue
		}
		h.Logger.Info("topic created on demand", "topic", t.Topic, "partitions", t.NumPartitions, "peer", x.Conn.RemoteAddr())
	}
}

// isInternal tells whether a topic belongs to the brokers (Topic.INTERNAL_TOPICS).
func isInternal(topic string) bool {
	return topic == config.OffsetsTopic || topic == "__transaction_state" || topic == "__share_group_state"
}

// validTopicName is Kafka's rule for topic names (Topic.validate).
func validTopicName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > 249 {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

package handler

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// useDefault asks CreateTopics for the broker's own number (KIP-464).
const useDefault = -1

const (
	// autoCreateTimeout bounds one request to the controller for topics that were asked for on demand.
	autoCreateTimeout = 30 * time.Second
	// autoCreateMax bounds the topics that are on their way at a time. Who asks for one more is answered
	// like the others, and asks again.
	autoCreateMax = 1000
)

// autoCreate begins to create the topics that a metadata request names and that img lacks, where
// auto.create.topics.enable says so. The answer says that they are unknown, and the client asks again.
func (h *Handlers) autoCreate(x *server.Exchange, img *metadata.Image, req *kmsg.MetadataRequest) {
	if !h.Config().AutoCreateTopics {
		return
	}
	for i := range req.Topics {
		name := req.Topics[i].Topic
		if name == nil || !validTopicName(*name) || req.Topics[i].TopicID != ids.ZeroUUID {
			continue
		}
		if _, exists := img.Topic(*name); !exists {
			h.createOnDemand(x, *name)
		}
	}
}

// createOnDemand begins to create a topic that some client needs.
func (h *Handlers) createOnDemand(x *server.Exchange, name string) {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, useDefault, useDefault
	switch {
	case name == config.OffsetsTopic:
		t = h.offsetsTopic()
	case isInternal(name):
		return // of coordinators that are not built yet: they know what it has to be like
	}
	h.creator.create(t, x.Conn.RemoteAddr())
}

// topicCreator creates topics behind the answers to those who need them: each name once at a time, and all that were
// asked for while one request was at the controller with the next one. Its goroutine lives while there is one to create.
type topicCreator struct {
	topics func(context.Context, *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse
	logger *slog.Logger

	ctx    context.Context // ends with stop
	cancel context.CancelFunc
	done   sync.WaitGroup // of the goroutine

	mu struct {
		sync.Mutex
		inFlight map[string]net.Addr // the names on their way, and who asked first
		next     []kmsg.CreateTopicsRequestTopic
		running  bool
	}
}

func newTopicCreator(topics func(context.Context, *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse, logger *slog.Logger) *topicCreator {
	c := &topicCreator{topics: topics, logger: logger}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.mu.inFlight = make(map[string]net.Addr)
	return c
}

// create begins to create a topic, unless it is on its way already.
func (c *topicCreator) create(t kmsg.CreateTopicsRequestTopic, peer net.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.mu.inFlight[t.Topic]; there || len(c.mu.inFlight) == autoCreateMax || c.ctx.Err() != nil {
		return
	}
	c.mu.inFlight[t.Topic] = peer
	c.mu.next = append(c.mu.next, t)
	if !c.mu.running {
		c.mu.running = true
		c.done.Go(c.run)
	}
}

// stop gives up what is on its way and waits for the goroutine. Nothing is created any more.
func (c *topicCreator) stop() {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.done.Wait()
}

func (c *topicCreator) run() {
	for batch := c.take(nil); len(batch) > 0; batch = c.take(batch) {
		c.ask(batch)
	}
}

// take forgets the topics that are done with and returns those to create next. Where there are none, run ends.
func (c *topicCreator) take(done []kmsg.CreateTopicsRequestTopic) []kmsg.CreateTopicsRequestTopic {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range done {
		delete(c.mu.inFlight, done[i].Topic)
	}
	batch := c.mu.next
	c.mu.next = nil
	c.mu.running = len(batch) > 0
	return batch
}

// ask has the controller create topics. The next request that needs one that failed tries again.
func (c *topicCreator) ask(batch []kmsg.CreateTopicsRequestTopic) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis, req.Topics = 7, int32(autoCreateTimeout.Milliseconds()), batch
	ctx, cancel := context.WithTimeout(c.ctx, autoCreateTimeout)
	defer cancel()
	resp := c.topics(ctx, req)
	if c.ctx.Err() != nil {
		return
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		logger := c.logger.With("topic", t.Topic, "peer", c.peer(t.Topic))
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case err == nil:
			logger.Info("topic created on demand", "partitions", t.NumPartitions, "replication_factor", t.ReplicationFactor)
		case errors.Is(err, kerr.TopicAlreadyExists): // somebody else was faster
		case t.ErrorMessage != nil:
			logger.Warn("topic was not created on demand", "err", err, "reason", *t.ErrorMessage)
		default:
			logger.Warn("topic was not created on demand", "err", err)
		}
	}
}

// peer returns who asked first for a topic that is on its way.
func (c *topicCreator) peer(topic string) net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.inFlight[topic]
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

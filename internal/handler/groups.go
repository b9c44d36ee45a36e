package handler

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf16"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/coordinator/group"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Groups is the group coordinator of this broker: the partitions of __consumer_offsets that it leads.
type Groups interface {
	// Request has the shard of a partition answer a *group.Request. Where alone is true it may wait for a disk.
	Request(partition int32, req any, alone bool, answer func(response any, err error))
	// Ask has every shard answer, and tells whether some could not yet.
	Ask(req any, answer func(responses []any, loading bool))
}

const groupOperations int32 = 1<<opRead | 1<<opDescribe | 1<<opDelete | 1<<opDescribeConfigs | 1<<opAlterConfigs

// groupPartition returns the partition of __consumer_offsets that a group belongs to.
func (h *Handlers) groupPartition(groupID string) int32 {
	n := h.Config().OffsetsTopicPartitions
	if t, ok := h.Image().Topic(config.OffsetsTopic); ok {
		n = int32(len(t.Partitions))
	}
	return javaHash(groupID) % n
}

// offsetsTopic is the topic of the group coordinator as it has to be made.
func (h *Handlers) offsetsTopic() kmsg.CreateTopicsRequestTopic {
	cfg := h.Config()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = config.OffsetsTopic, cfg.OffsetsTopicPartitions, cfg.OffsetsTopicReplicationFactor
	if cfg.Roles.Controller { // where controllers are nodes of their own nobody knows how many brokers are still to come: as in Kafka it takes that many
		brokers := int16(0)
		for range h.Image().Brokers() {
			brokers++
		}
		t.ReplicationFactor = min(t.ReplicationFactor, max(brokers, int16(len(cfg.Voters)))) // those that are still to come are waited for
	}
	for _, kv := range [][2]string{
		{"cleanup.policy", "compact"}, {"compression.type", "producer"}, {"segment.bytes", strconv.Itoa(int(cfg.OffsetsTopicSegmentBytes))},
	} {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = kv[0], &kv[1]
		t.Configs = append(t.Configs, c)
	}
	return t
}

// javaHash is String.hashCode made positive as Kafka's Utils.abs does. It is over UTF-16.
func javaHash(s string) int32 {
	var h int32
	for _, c := range utf16.Encode([]rune(s)) {
		h = 31*h + int32(c)
	}
	switch {
	case h == -1<<31:
		return 0
	case h < 0:
		return -h
	}
	return h
}

// toGroup has the coordinator of a group answer message. The handler returns meanwhile; message
// must not alias the request. answer gets what it says as a T, or an error.
func toGroup[T kmsg.Response](h *Handlers, x *server.Exchange, groupID string, message kmsg.Request, answer func(T, error)) {
	x.Later()
	x.FreeBody()
	if groupID == "" && needsGroupID(message) {
		var none T
		answer(none, kerr.InvalidGroupID)
		return
	}
	h.askGroup(x, groupID, message, x.Alone(), func(response any, err error) {
		resp, ok := response.(T)
		if err == nil && !ok {
			err = fmt.Errorf("the coordinator of group %q answers a %T with a %T: %w", groupID, message, response, kerr.UnknownServerError)
		}
		answer(resp, err)
	})
}

// needsGroupID tells of which requests Kafka refuses an empty group id before it looks for a coordinator, which may not
// be ready. Offsets may be committed under one.
func needsGroupID(message kmsg.Request) bool {
	switch message.(type) {
	case *kmsg.JoinGroupRequest, *kmsg.SyncGroupRequest, *kmsg.HeartbeatRequest, *kmsg.LeaveGroupRequest, *kmsg.OffsetDeleteRequest:
		return true
	}
	return false
}

// askGroup asks about one group. alone is not for a request that names several: its groups share syncs.
func (h *Handlers) askGroup(x *server.Exchange, groupID string, message kmsg.Request, alone bool, answer func(any, error)) {
	req := &group.Request{ClientID: x.ClientID, ClientHost: javaHost(x.Conn.RemoteAddr()), Message: message}
	h.Groups.Request(h.groupPartition(groupID), req, alone, answer)
}

// gather calls done once it has been told n times that something has ended.
type gather struct {
	left atomic.Int32
	done func()
}

func newGather(n int, done func()) *gather {
	g := &gather{done: done}
	g.left.Store(int32(n) + 1) // one for the caller of end
	return g
}

func (g *gather) end() {
	if g.left.Add(-1) == 0 {
		g.done()
	}
}

// javaHost is InetAddress.toString of an address that was not looked up, as Kafka prints the host of a member.
func javaHost(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "/" + addr.String()
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil {
		return "/" + host
	}
	words := make([]string, 0, net.IPv6len/2)
	for i := 0; i < net.IPv6len; i += 2 {
		words = append(words, fmt.Sprintf("%x", int(ip[i])<<8|int(ip[i+1])))
	}
	return "/" + strings.Join(words, ":")
}

package oracle

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// replace makes the request that leaves a resource with these configs; a value "(null)" is none.
func replace(kind kmsg.ConfigResourceType, name string, configs ...string) *kmsg.AlterConfigsRequest {
	req := kmsg.NewPtrAlterConfigsRequest()
	r := kmsg.NewAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for pair := range slices.Chunk(configs, 2) {
		c := kmsg.NewAlterConfigsRequestResourceConfig()
		c.Name = pair[0]
		if pair[1] != "(null)" {
			c.Value = &pair[1]
		}
		r.Configs = append(r.Configs, c)
	}
	req.Resources = append(req.Resources, r)
	return req
}

func (s *suite) replaceConfigs() {
	s.make("replaced", 1, "flush.ms", "4444")
	topic, node := s.topic("replaced"), strconv.Itoa(int(s.d.node))
	const topics, brokers, loggers = kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger
	after := func(what, name, value string) {
		s.settle(topics, topic, name, value)
		s.good(4, "replaced: after "+what, describe(topics, topic, "retention.ms", "flush.ms", "max.message.bytes"))
	}
	each(33, func(v int16) {
		p := "v" + strconv.Itoa(int(v)) + " "
		s.good(v, "two configs", replace(topics, topic, "retention.ms", "5000", "max.message.bytes", "2000000"))
		after(p+"two configs", "max.message.bytes", "2000000")
		only := replace(topics, topic, "flush.ms", "7000")
		only.ValidateOnly = true
		s.good(v, "validate only", only)
		after(p+"validate only", "retention.ms", "5000")
		s.good(v, "one config", replace(topics, topic, "retention.ms", "5000"))
		after(p+"one config", "max.message.bytes", "1048588")
		s.bad(v, "an unknown config", replace(topics, topic, "no.such.config", "1"))
		s.bad(v, "an unknown topic", replace(topics, s.topic("nosuch"), "retention.ms", "1"))
		s.bad(v, "no value", replace(topics, topic, "flush.ms", "1", "retention.ms", "(null)"))
		s.bad(v, "an unknown kind", replace(9, "x", "retention.ms", "1"))
	})
	const v = 2
	two := replace(topics, topic, "retention.ms", "6000")
	two.Resources = append(two.Resources, replace(topics, s.topic("nosuch")).Resources...)
	s.bad(v, "a topic that is there and one that is not", two)
	after("two topics", "retention.ms", "6000")
	for _, c := range []struct {
		what string
		req  *kmsg.AlterConfigsRequest
	}{
		{"a value that is no number", replace(topics, topic, "retention.ms", "soon")},
		{"a value below its range", replace(topics, topic, "retention.ms", "-2")},
		{"a config twice", replace(topics, topic, "retention.ms", "1", "retention.ms", "2")},
		{"a good and a bad config", replace(topics, topic, "retention.ms", "9999", "segment.bytes", "1")},
		{"no resource", kmsg.NewPtrAlterConfigsRequest()},
		{"an impossible name", replace(topics, "not a name!", "retention.ms", "1")},
		{"no name", replace(topics, "", "retention.ms", "1")},
		{"kind 0", replace(0, "x")},
		{"a logger", replace(loggers, node, "root", "INFO")},
		{"no logger", replace(loggers, node)},
		{"a group's config that is none", replace(kmsg.ConfigResourceTypeGroupConfig, "g", "no.such.config", "1")},
		{"a client metric's config that is none", replace(kmsg.ConfigResourceTypeClientMetrics, "m", "no.such.config", "1")},
		{"a broker that is not there", replace(brokers, "77", "log.retention.ms", "1")},
		{"a broker that is no number", replace(brokers, "first", "log.retention.ms", "1")},
		{"a broker's config that cannot change", replace(brokers, node, "node.id", "9")},
		{"a config of all brokers that is one broker's", replace(brokers, "", "listeners", "PLAINTEXT://:9")},
		{"a broker's value that is no number", replace(brokers, "", "log.retention.ms", "soon")},
		{"a broker's config without a value", replace(brokers, node, "log.retention.ms", "(null)")},
	} {
		s.bad(v, c.what, c.req)
	}
	after("refusals", "retention.ms", "6000")
	s.good(v, "no config", replace(topics, topic))
	after("no config", "retention.ms", "604800000")
	s.replaceBrokerConfigs(node)
}

// replaceBrokerConfigs sets dynamic configs for all brokers and for one, and takes them back. All brokers keep a
// min.insync.replicas, which Kafka's refuse to lose.
func (s *suite) replaceBrokerConfigs(node string) {
	const v, brokers = 2, kmsg.ConfigResourceTypeBroker
	const messages, ms = "log.flush.interval.messages", "log.flush.interval.ms"
	look := func(what string) {
		for _, whose := range []string{node, ""} {
			req := describe(brokers, whose, messages, ms)
			req.IncludeSynonyms = true
			s.good(4, "replaced: broker "+strconv.Quote(whose)+" after "+what, req)
		}
	}
	s.good(v, "for all brokers", replace(brokers, "", "min.insync.replicas", "1", messages, "4321"))
	s.settle(brokers, node, messages, "4321")
	s.good(v, "for one broker", replace(brokers, node, messages, "8765"))
	s.settle(brokers, node, messages, "8765")
	look("setting it")
	s.good(v, "another for one broker", replace(brokers, node, ms, "5555"))
	s.settle(brokers, node, messages, "4321")
	look("setting another")
	s.good(v, "none for one broker", replace(brokers, node))
	s.good(v, "no other for all brokers", replace(brokers, "", "min.insync.replicas", "1"))
	s.settle(brokers, node, messages, "9223372036854775807")
	look("setting none")
	s.quiet(at(1, alter(brokers, "", change{"min.insync.replicas", del, "(null)"})))
}

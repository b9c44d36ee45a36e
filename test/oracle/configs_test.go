package oracle

import (
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func describe(kind kmsg.ConfigResourceType, name string, configs ...string) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	r.ConfigNames = configs
	req.Resources = append(req.Resources, r)
	return req
}

func (s *suite) describeConfigs() {
	s.make("described", 1, "retention.ms", "86400000", "min.insync.replicas", "1", "segment.bytes", "2097152")
	topic, node := s.topic("described"), strconv.Itoa(int(s.d.node))
	const topics, brokers = kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker
	each(32, func(v int16) {
		s.good(v, "a topic", describe(topics, topic))
		synonyms := describe(topics, topic)
		synonyms.IncludeSynonyms, synonyms.IncludeDocumentation = true, true
		s.good(v, "a topic with synonyms and documentation", synonyms)
		s.good(v, "two of a topic's configs", describe(topics, topic, "retention.ms", "compression.type", "no.such.config"))
		none := describe(topics, topic)
		none.Resources[0].ConfigNames = []string{}
		s.good(v, "none of a topic's configs", none)
		if v == 4 { // once is enough for so long an answer
			broker := describe(brokers, node)
			broker.IncludeSynonyms, broker.IncludeDocumentation = true, true
			s.good(v, "the broker", broker)
		}
		s.good(v, "a broker's config", describe(brokers, node, "log.retention.ms", "log.segment.bytes", "num.partitions"))
		s.good(v, "what all brokers have in common", describe(brokers, ""))
		s.bad(v, "an unknown topic", describe(topics, s.topic("nosuch")))
		s.bad(v, "an impossible name", describe(topics, "not a name!"))
		s.bad(v, "no topic's name", describe(topics, ""))
		s.bad(v, "a broker that is not this one", describe(brokers, "77"))
		s.bad(v, "a broker that is no number", describe(brokers, "first"))
		s.bad(v, "an unknown kind", describe(9, "x"))
	})
	s.good(4, "loggers of an unknown broker", describe(kmsg.ConfigResourceTypeBrokerLogger, "77"))
	twice := describe(topics, topic, "retention.ms")
	twice.Resources = append(twice.Resources, describe(topics, topic, "segment.bytes").Resources...)
	s.good(4, "a topic twice", twice)
}

type change struct {
	name  string
	op    kmsg.IncrementalAlterConfigOp
	value string // "(null)": none
}

func alter(kind kmsg.ConfigResourceType, name string, changes ...change) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, c := range changes {
		rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		rc.Name, rc.Op = c.name, c.op
		if c.value != "(null)" {
			rc.Value = &c.value
		}
		r.Configs = append(r.Configs, rc)
	}
	req.Resources = append(req.Resources, r)
	return req
}

const (
	set      = kmsg.IncrementalAlterConfigOpSet
	del      = kmsg.IncrementalAlterConfigOpDelete
	add      = kmsg.IncrementalAlterConfigOpAppend
	subtract = kmsg.IncrementalAlterConfigOpSubtract
)

func (s *suite) alterConfigs() {
	s.make("altered", 1)
	topic, node := s.topic("altered"), strconv.Itoa(int(s.d.node))
	const topics, brokers = kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker
	after := func(what, name, value string) { // what a change left behind
		s.settle(topics, topic, name, value)
		s.good(4, "after "+what, describe(topics, topic, "retention.ms", "cleanup.policy", "max.message.bytes"))
	}
	each(44, func(v int16) {
		p := "v" + strconv.Itoa(int(v)) + " "
		s.good(v, "set", alter(topics, topic, change{"retention.ms", set, "5000"}, change{"max.message.bytes", set, "2000000"}))
		after(p+"set", "max.message.bytes", "2000000")
		only := alter(topics, topic, change{"retention.ms", set, "7000"})
		only.ValidateOnly = true
		s.good(v, "validate only", only)
		after(p+"validate only", "retention.ms", "5000")
		s.good(v, "delete", alter(topics, topic, change{"max.message.bytes", del, "(null)"}))
		after(p+"delete", "max.message.bytes", "1048588")
		s.good(v, "delete what is not set", alter(topics, topic, change{"flush.ms", del, "(null)"}))
		s.bad(v, "an unknown config", alter(topics, topic, change{"no.such.config", set, "1"}))
		s.bad(v, "an unknown topic", alter(topics, s.topic("nosuch"), change{"retention.ms", set, "1"}))
	})
	const v = 1
	s.good(v, "append to a list", alter(topics, topic, change{"cleanup.policy", add, "delete"}))
	s.good(v, "subtract from a list", alter(topics, topic, change{"cleanup.policy", subtract, "compact"}))
	after("append and subtract", "cleanup.policy", "delete")
	s.good(v, "append compact", alter(topics, topic, change{"cleanup.policy", add, "compact"}))
	after("append compact", "cleanup.policy", "delete,compact")
	s.good(v, "compact alone", alter(topics, topic, change{"cleanup.policy", set, "compact"}, change{"min.compaction.lag.ms", set, "7"},
		change{"max.compaction.lag.ms", set, "7"}, change{"min.cleanable.dirty.ratio", set, "0"}, change{"delete.retention.ms", set, "0"}))
	after("compact alone", "cleanup.policy", "compact")
	s.bad(v, "min.compaction.lag.ms above max.compaction.lag.ms", alter(topics, topic, change{"min.compaction.lag.ms", set, "8"}))
	s.good(v, "delete again", alter(topics, topic, change{"cleanup.policy", del, "(null)"}))
	after("delete again", "cleanup.policy", "delete")
	for _, c := range []struct {
		what string
		req  *kmsg.IncrementalAlterConfigsRequest
	}{
		{"no change", alter(topics, topic)},
		{"append to what is no list", alter(topics, topic, change{"retention.ms", add, "5"})},
		{"subtract from what is no list", alter(topics, topic, change{"retention.ms", subtract, "5"})},
		{"an unknown operation", alter(topics, topic, change{"retention.ms", 9, "5"})},
		{"set to nothing", alter(topics, topic, change{"retention.ms", set, "(null)"})},
		{"append nothing", alter(topics, topic, change{"cleanup.policy", add, "(null)"})},
		{"a value that is no number", alter(topics, topic, change{"retention.ms", set, "soon"})},
		{"a value below its range", alter(topics, topic, change{"retention.ms", set, "-2"})},
		{"a config twice", alter(topics, topic, change{"retention.ms", set, "1"}, change{"retention.ms", set, "2"})},
		{"a good and a bad change", alter(topics, topic, change{"retention.ms", set, "9999"}, change{"segment.bytes", set, "1"})},
		{"a resource twice", twice(alter(topics, topic, change{"retention.ms", set, "1"}))},
		{"an impossible name", alter(topics, "not a name!", change{"retention.ms", set, "1"})},
		{"no name", alter(topics, "", change{"retention.ms", set, "1"})},
		{"an unknown kind", alter(9, "x", change{"retention.ms", set, "1"})},
		{"a broker that is not there", alter(brokers, "77", change{"log.retention.ms", set, "1"})},
		{"a broker that is no number", alter(brokers, "first", change{"log.retention.ms", set, "1"})},
		{"a broker's config that cannot change", alter(brokers, node, change{"node.id", set, "9"})},
		{"a config of all brokers that is one broker's", alter(brokers, "", change{"listeners", set, "PLAINTEXT://:9"})},
		{"a broker's value that is no number", alter(brokers, "", change{"log.retention.ms", set, "soon"})},
	} {
		s.bad(v, c.what, c.req)
	}
	after("refusals", "retention.ms", "5000")
	s.brokerConfigs(node, topic)
}

// brokerConfigs sets a dynamic config for all brokers and for one, looks at it, and takes it back.
func (s *suite) brokerConfigs(node, topic string) {
	const topics, brokers = kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker
	look := func(what string) {
		for _, r := range []struct {
			at          string
			kind        kmsg.ConfigResourceType
			whose, name string
		}{
			{"this broker", brokers, node, "log.flush.interval.messages"},
			{"all brokers", brokers, "", "log.flush.interval.messages"},
			{"a topic", topics, topic, "flush.messages"},
		} {
			req := describe(r.kind, r.whose, r.name)
			req.IncludeSynonyms = true
			s.good(4, r.at+" after "+what, req)
		}
	}
	s.good(1, "set for all brokers", alter(brokers, "", change{"log.flush.interval.messages", set, "4321"}))
	s.settle(brokers, node, "log.flush.interval.messages", "4321")
	look("setting it for all brokers")
	s.good(1, "set for one broker", alter(brokers, node, change{"log.flush.interval.messages", set, "8765"}))
	s.settle(brokers, node, "log.flush.interval.messages", "8765")
	look("setting it for one broker")
	s.good(1, "delete for one broker", alter(brokers, node, change{"log.flush.interval.messages", del, "(null)"}))
	s.good(1, "delete for all brokers", alter(brokers, "", change{"log.flush.interval.messages", del, "(null)"}))
	s.settle(brokers, node, "log.flush.interval.messages", "9223372036854775807")
}

func twice(req *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsRequest {
	req.Resources = append(req.Resources, req.Resources[0])
	return req
}

// brokerNamesOfBoth leaves out the broker configs that this broker does not have: only the names of both are compared.
func brokerNamesOfBoth(e entry, theirs []line) (entry, []line) {
	have := map[string]bool{}
	for _, l := range e.lines {
		have[l.path] = true
	}
	return e, keepOnly(theirs, func(path string) bool {
		return have[path] || !strings.HasPrefix(path, "Resources{<node>}.Configs{") && !strings.HasPrefix(path, "Resources{0}.Configs{")
	})
}

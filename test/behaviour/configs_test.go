package behaviour

import (
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	topicKind  = kmsg.ConfigResourceTypeTopic
	brokerKind = kmsg.ConfigResourceTypeBroker
	set        = kmsg.IncrementalAlterConfigOpSet
	remove     = kmsg.IncrementalAlterConfigOpDelete
	add        = kmsg.IncrementalAlterConfigOpAppend
	subtract   = kmsg.IncrementalAlterConfigOpSubtract
)

// An op is one operation on a config; a value is ignored where it removes.
type op struct {
	do          kmsg.IncrementalAlterConfigOp
	name, value string
}

func resource(kind kmsg.ConfigResourceType, name string, ops ...op) kmsg.IncrementalAlterConfigsRequestResource {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, o := range ops {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op = o.name, o.do
		if o.do != remove {
			c.Value = &o.value
		}
		r.Configs = append(r.Configs, c)
	}
	return r
}

// alterAll changes configs of resources, and returns the answers by the names of these.
func (b *broker) alterAll(validateOnly bool, resources ...kmsg.IncrementalAlterConfigsRequestResource) map[string]kmsg.IncrementalAlterConfigsResponseResource {
	b.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources, req.ValidateOnly = resources, validateOnly
	answers := map[string]kmsg.IncrementalAlterConfigsResponseResource{}
	for _, r := range ask(b, req).Resources {
		answers[r.ResourceName] = r
	}
	return answers
}

func (b *broker) alter(topic string, ops ...op) kmsg.IncrementalAlterConfigsResponseResource {
	b.Helper()
	return b.alterAll(false, resource(topicKind, topic, ops...))[topic]
}

// set sets a config, name=value, of a topic and waits until it is described so.
func (b *broker) set(topic, config string) {
	b.Helper()
	name, value, _ := strings.Cut(config, "=")
	b.is("setting "+config, b.alter(topic, op{set, name, value}).ErrorCode, nil)
	b.configured(topic, name, value)
}

// configured waits until a topic has a value of a config.
func (b *broker) configured(topic, name, value string) {
	b.Helper()
	b.until(name+" is "+value, func() bool { return b.config(topic, name) == value })
}

// describeConfigs returns a resource with its synonyms and documentation; no name is all.
func (b *broker) describeConfigs(kind kmsg.ConfigResourceType, name string, names ...string) kmsg.DescribeConfigsResponseResource {
	b.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, names
	req.Resources = append(req.Resources, r)
	return only(b, ask(b, req).Resources)
}

func (b *broker) describeConfig(kind kmsg.ConfigResourceType, resource, name string) kmsg.DescribeConfigsResponseResourceConfig {
	b.Helper()
	r := b.describeConfigs(kind, resource, name)
	b.is("describing", r.ErrorCode, nil)
	return only(b, r.Configs)
}

// config returns the value of a topic's config, or "null".
func (b *broker) config(topic, name string) string {
	b.Helper()
	return valueOf(b.describeConfig(topicKind, topic, name).Value)
}

func valueOf(value *string) string {
	if value == nil {
		return "null"
	}
	return *value
}

// sources tells where the values of a topic's config come from, the one that counts first.
func (b *broker) sources(topic, name string) string {
	b.Helper()
	names := map[kmsg.ConfigSource]string{1: "topic", 2: "broker", 3: "cluster", 4: "file", 5: "default"}
	c := b.describeConfig(topicKind, topic, name)
	var all []string
	for _, s := range c.ConfigSynonyms {
		all = append(all, names[s.Source]+" "+valueOf(s.Value))
	}
	if len(all) > 0 && all[0] != names[c.Source]+" "+valueOf(c.Value) {
		return "another than " + list(all...) // a broker that is being changed may say so for a moment
	}
	return list(all...)
}

var configScenarios = []scenario{
	{name: "a config of a topic's creation is its own, the others are defaults", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=12345")
		same(b, "the value", b.config(topic, "retention.ms"), "12345")
		same(b, "its source", b.describeConfig(topicKind, topic, "retention.ms").Source, kmsg.ConfigSourceDynamicTopicConfig)
		same(b, "the source of another", b.describeConfig(topicKind, topic, "flush.ms").Source, kmsg.ConfigSourceDefaultConfig)
	}},
	{name: "a config that is set is described, and removed it is the default again", run: func(b *broker) {
		topic := b.topic(1)
		before := b.config(topic, "retention.ms")
		b.set(topic, "retention.ms=777")
		b.is("removing", b.alter(topic, op{remove, "retention.ms", ""}).ErrorCode, nil)
		b.configured(topic, "retention.ms", before)
		same(b, "where it comes from", b.sources(topic, "retention.ms"), "")
	}},
	{name: "one config is changed without the others", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=1000000", "flush.ms=2000000")
		b.set(topic, "flush.ms=3000000")
		same(b, "the other", b.config(topic, "retention.ms"), "1000000")
	}},
	{name: "several configs are changed in one request", run: func(b *broker) {
		topic := b.topic(1, "flush.ms=2000000")
		r := b.alter(topic, op{set, "retention.ms", "5000000"}, op{remove, "flush.ms", ""}, op{set, "segment.ms", "6000000"})
		b.is("altering", r.ErrorCode, nil)
		b.configured(topic, "retention.ms", "5000000")
		same(b, "another", b.config(topic, "segment.ms"), "6000000")
		same(b, "the removed", b.config(topic, "flush.ms"), "9223372036854775807")
	}},
	{name: "removing what is not set changes nothing", run: func(b *broker) {
		topic := b.topic(1)
		b.is("removing", b.alter(topic, op{remove, "retention.ms", ""}).ErrorCode, nil)
		same(b, "the source", b.describeConfig(topicKind, topic, "retention.ms").Source, kmsg.ConfigSourceDefaultConfig)
	}},
	{name: "a list grows by what is appended", run: func(b *broker) {
		const name = "leader.replication.throttled.replicas"
		topic := b.topic(1)
		for _, want := range []string{"0:1", "0:1,1:1"} {
			_, last, found := strings.Cut(want, ",")
			if !found {
				last = want
			}
			for range 2 { // what is there is not appended again
				b.is("appending", b.alter(topic, op{add, name, last}).ErrorCode, nil)
				b.configured(topic, name, want)
			}
		}
	}},
	{name: "a list shrinks by what is subtracted", run: func(b *broker) {
		const name = "follower.replication.throttled.replicas"
		topic := b.topic(1, name+"=0:1,1:1,2:1")
		b.is("subtracting", b.alter(topic, op{subtract, name, "1:1"}).ErrorCode, nil)
		b.configured(topic, name, "0:1,2:1")
		b.is("subtracting what is not there", b.alter(topic, op{subtract, name, "1:1"}).ErrorCode, nil)
		b.is("subtracting all", b.alter(topic, op{subtract, name, "0:1,2:1"}).ErrorCode, nil)
		b.configured(topic, name, "")
	}},
	{name: "nothing is appended to a config that is no list", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=1000000")
		b.is("appending", b.alter(topic, op{add, "retention.ms", "1"}).ErrorCode, kerr.InvalidConfig)
		b.is("subtracting", b.alter(topic, op{subtract, "retention.ms", "1"}).ErrorCode, kerr.InvalidConfig)
		same(b, "the value", b.config(topic, "retention.ms"), "1000000")
	}},
	{name: "what is only validated is not changed", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=1000000")
		b.is("validating", b.alterAll(true, resource(topicKind, topic, op{set, "retention.ms", "5"}))[topic].ErrorCode, nil)
		b.is("validating a bad value", b.alterAll(true, resource(topicKind, topic, op{set, "retention.ms", "x"}))[topic].ErrorCode, kerr.InvalidConfig)
		b.set(topic, "flush.ms=4") // every earlier change shows by now
		same(b, "the value", b.config(topic, "retention.ms"), "1000000")
	}},
	{name: "one bad config keeps back the others of its topic", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=1000000")
		b.is("altering", b.alter(topic, op{set, "retention.ms", "5"}, op{set, "segment.ms", "no"}).ErrorCode, kerr.InvalidConfig)
		b.set(topic, "flush.ms=4")
		same(b, "the value", b.config(topic, "retention.ms"), "1000000")
	}},
	{name: "one topic's bad config does not keep back another topic's", run: func(b *broker) {
		bad, good := b.topic(1), b.topic(1)
		got := b.alterAll(false, resource(topicKind, bad, op{set, "segment.ms", "no"}), resource(topicKind, good, op{set, "segment.ms", "5000000"}))
		b.is("altering the bad", got[bad].ErrorCode, kerr.InvalidConfig)
		b.is("altering the good", got[good].ErrorCode, nil)
		b.configured(good, "segment.ms", "5000000")
	}},
	{name: "a config twice in one request is refused and changes nothing", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=1000000")
		r := b.alter(topic, op{set, "retention.ms", "5"}, op{set, "retention.ms", "6"})
		b.is("altering", r.ErrorCode, kerr.InvalidRequest)
		same(b, "the value", b.config(topic, "retention.ms"), "1000000")
	}},
	{name: "a config that nobody knows is refused with its name", run: badConfig("no.such.config", "1")},
	{name: "a retention below -1 is refused with its name", run: badConfig("retention.ms", "-2")},
	{name: "a number that is none is refused with its name", run: badConfig("segment.ms", "an hour")},
	{name: "an unknown cleanup policy is refused with its name", run: badConfig("cleanup.policy", "shred")},
	{name: "an unknown codec is refused with its name", run: badConfig("compression.type", "rar")},
	{name: "an unknown timestamp type is refused with its name", run: badConfig("message.timestamp.type", "Now")},
	{name: "no replica in sync is refused with its name", run: badConfig("min.insync.replicas", "0")},
	{name: "a segment below the least is refused with its name", run: badConfig("segment.bytes", "1000")},
	{name: "a negative batch size is refused with its name", run: badConfig("max.message.bytes", "-1")},
	{name: "a dirty ratio above 1 is refused with its name", run: badConfig("min.cleanable.dirty.ratio", "2")},
	{name: "an int beyond its type is refused with its name", run: badConfig("max.message.bytes", "3000000000")},
	{name: "a least compaction lag above the greatest is refused", run: func(b *broker) {
		topic := b.topic(1)
		r := b.alter(topic, op{set, "min.compaction.lag.ms", "2000"}, op{set, "max.compaction.lag.ms", "1000"})
		b.is("altering", r.ErrorCode, kerr.InvalidConfig)
		same(b, "the value", b.config(topic, "min.compaction.lag.ms"), "0")
	}},
	{name: "configs of a topic that is not there are refused", run: func(b *broker) {
		b.is("altering", b.alter(b.name(), op{set, "retention.ms", "5"}).ErrorCode, kerr.UnknownTopicOrPartition)
		b.is("describing", b.describeConfigs(topicKind, b.name()).ErrorCode, kerr.UnknownTopicOrPartition)
	}},
	{name: "a topic that is made again has no config of the former", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=1000000")
		b.deleteTopic(topic)
		b.createTopic(topic, 1)
		same(b, "the source", b.describeConfig(topicKind, topic, "retention.ms").Source, kmsg.ConfigSourceDefaultConfig)
	}},
	{name: "AlterConfigs replaces all configs of a topic", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=1000000", "flush.ms=2000000")
		req := kmsg.NewPtrAlterConfigsRequest()
		r, c := kmsg.NewAlterConfigsRequestResource(), kmsg.NewAlterConfigsRequestResourceConfig()
		r.ResourceType, r.ResourceName = topicKind, topic
		c.Name, c.Value = "segment.ms", kmsg.StringPtr("3000000")
		r.Configs = append(r.Configs, c)
		req.Resources = append(req.Resources, r)
		b.is("altering", only(b, ask(b, req).Resources).ErrorCode, nil)
		b.configured(topic, "segment.ms", "3000000")
		for _, gone := range []string{"retention.ms", "flush.ms"} {
			same(b, "the source of another", b.describeConfig(topicKind, topic, gone).Source, kmsg.ConfigSourceDefaultConfig)
		}
	}},
	{name: "a new max.message.bytes goes for the next batch", run: func(b *broker) {
		topic := b.topic(1)
		one := batch{records: []*kgo.Record{{Value: payload(5000)}}}
		b.append(topic, one)
		b.set(topic, "max.message.bytes=1000")
		b.refused(topic, one, kerr.MessageTooLarge)
		b.set(topic, "max.message.bytes=10000")
		b.append(topic, one)
	}},
	{name: "the configs that are asked for are described, and no others", run: func(b *broker) {
		topic := b.topic(1)
		r := b.describeConfigs(topicKind, topic, "retention.ms", "no.such.config", "cleanup.policy")
		b.is("describing", r.ErrorCode, nil)
		same(b, "configs", len(r.Configs), 2)
		same(b, "all of them", len(b.describeConfigs(topicKind, topic).Configs) >= 30, true)
	}},
	{name: "a config is described with its type and documentation", run: func(b *broker) {
		topic := b.topic(1)
		for name, kind := range map[string]kmsg.ConfigType{
			"retention.ms": kmsg.ConfigTypeLong, "max.message.bytes": kmsg.ConfigTypeInt, "cleanup.policy": kmsg.ConfigTypeList,
			"preallocate": kmsg.ConfigTypeBoolean, "compression.type": kmsg.ConfigTypeString, "min.cleanable.dirty.ratio": kmsg.ConfigTypeDouble,
		} {
			c := b.describeConfig(topicKind, topic, name)
			same(b, "the type of "+name, c.ConfigType, kind)
			same(b, name+" is documented", len(valueOf(c.Documentation)) > 10, true)
			same(b, name+" is read only", c.ReadOnly, false)
		}
	}},
	{name: "topics and brokers are listed as having configs", run: func(b *broker) {
		topic := b.topic(1)
		seen := map[string]bool{}
		for _, kind := range []kmsg.ConfigResourceType{topicKind, brokerKind} {
			req := kmsg.NewPtrListConfigResourcesRequest()
			req.ResourceTypes = []int8{int8(kind)}
			resp := ask(b, req)
			b.is("listing", resp.ErrorCode, nil)
			for _, r := range resp.ConfigResources {
				same(b, "the type of "+r.Name, r.Type, int8(kind))
				seen[r.Name] = true
			}
		}
		same(b, "the topic is there", seen[topic], true)
		same(b, "the broker is there", seen["1"], true)
	}},
}

// badConfig is a value that is refused when it is set and when a topic is made, with a message that names the config.
func badConfig(name, value string) func(*broker) {
	return func(b *broker) {
		topic, other := b.topic(1), b.name()
		all := len(b.describeConfigs(topicKind, topic).Configs)
		r := b.alter(topic, op{set, name, value})
		b.is("setting", r.ErrorCode, kerr.InvalidConfig)
		same(b, "the message names it: "+valueOf(r.ErrorMessage), strings.Contains(valueOf(r.ErrorMessage), name), true)
		created := b.create(false, newTopic(other, 1, name+"="+value))[other]
		b.is("making a topic", created.ErrorCode, kerr.InvalidConfig)
		same(b, "the topic is there", b.topicExists(other), false)
		for _, c := range b.describeConfigs(topicKind, topic).Configs {
			same(b, c.Name+" is set", c.Source == kmsg.ConfigSourceDynamicTopicConfig, false)
		}
		same(b, "configs", len(b.describeConfigs(topicKind, topic).Configs), all)
	}
}

// brokerConfig changes configs of the broker 1, or of all where cluster is set.
func (b *broker) brokerConfig(cluster bool, ops ...op) kmsg.IncrementalAlterConfigsResponseResource {
	b.Helper()
	name := "1"
	if cluster {
		name = ""
	}
	return b.alterAll(false, resource(brokerKind, name, ops...))[name]
}

// setBroker sets a config of the broker, or of all, until the case ends.
func (b *broker) setBroker(cluster bool, name, value string) {
	b.Helper()
	b.is("setting "+name, b.brokerConfig(cluster, op{set, name, value}).ErrorCode, nil)
	b.Cleanup(func() {
		b.is("removing "+name, b.brokerConfig(cluster, op{remove, name, ""}).ErrorCode, nil)
		b.until("it is removed", func() bool {
			for _, s := range b.describeConfig(brokerKind, "1", name).ConfigSynonyms {
				if s.Source == kmsg.ConfigSourceDynamicBrokerConfig || s.Source == kmsg.ConfigSourceDynamicDefaultBrokerConfig {
					return false
				}
			}
			return true
		})
	})
}

var brokerConfigScenarios = []scenario{
	{name: "a topic's config counts before the broker's, all brokers', the file's and the default", alone: true, run: precedence},
	{name: "a message.max.bytes of all brokers goes for topics without one", alone: true, run: func(b *broker) {
		topic, own := b.topic(1), b.topic(1, "max.message.bytes=2000000")
		one := batch{records: []*kgo.Record{{Value: payload(5000)}}}
		b.append(topic, one)
		b.setBroker(true, "message.max.bytes", "1000")
		b.configured(topic, "max.message.bytes", "1000")
		b.refused(topic, one, kerr.MessageTooLarge)
		b.append(own, one)
	}},
	{name: "a log.retention.ms of all brokers goes for topics without one", alone: true, run: func(b *broker) {
		topic, own := b.topic(1), b.topic(1, "retention.ms=-1")
		for _, t := range []string{topic, own} {
			b.append(t, recs("k=v").at(time.Now().Add(-time.Hour)))
		}
		b.keeps(topic)
		b.setBroker(true, "log.retention.ms", "60000")
		b.startsAt(topic, 1)
		b.keeps(own)
	}},
	{name: "a compression.type of one broker goes for topics without one", alone: true, run: func(b *broker) {
		topic := b.topic(1)
		b.setBroker(false, "compression.type", "gzip")
		b.configured(topic, "compression.type", "gzip")
		b.append(topic, recs("k=v"))
		same(b, "the codec", b.read(topic)[0].Attrs.CompressionType(), 1)
	}},
	{name: "a config that is read at the start is refused while the broker runs", run: func(b *broker) {
		for _, name := range []string{"num.partitions", "log.dirs", "node.id", "auto.create.topics.enable"} {
			r := b.brokerConfig(false, op{set, name, "3"})
			b.is("setting "+name, r.ErrorCode, kerr.InvalidRequest)
			same(b, "the message names it: "+valueOf(r.ErrorMessage), strings.Contains(valueOf(r.ErrorMessage), name), true)
			same(b, name+" is read only", b.describeConfig(brokerKind, "1", name).ReadOnly, true)
		}
	}},
	{name: "a bad value of a broker's config is refused and changes nothing", run: func(b *broker) {
		before := valueOf(b.describeConfig(brokerKind, "1", "message.max.bytes").Value)
		for _, cluster := range []bool{true, false} {
			b.is("setting", b.brokerConfig(cluster, op{set, "message.max.bytes", "much"}).ErrorCode, kerr.InvalidRequest)
		}
		same(b, "the value", valueOf(b.describeConfig(brokerKind, "1", "message.max.bytes").Value), before)
	}},
	{name: "the configs of a broker that is not asked are refused", run: func(b *broker) {
		b.is("describing", b.describeConfigs(brokerKind, "7").ErrorCode, kerr.InvalidRequest)
	}},
	{name: "a broker describes what its file says, and what it does not", run: func(b *broker) {
		c := b.describeConfig(brokerKind, "1", "num.partitions")
		same(b, "the value", valueOf(c.Value), "2")
		same(b, "the source", c.Source, kmsg.ConfigSourceStaticBrokerConfig)
		c = b.describeConfig(brokerKind, "1", "message.max.bytes")
		same(b, "the source of another", c.Source, kmsg.ConfigSourceDefaultConfig)
	}},
}

// precedence walks up the ladder, and down again. log.index.interval.bytes is 8192 in the file of run.sh.
func precedence(b *broker) {
	topic := b.topic(1)
	const own, broad = "index.interval.bytes", "log.index.interval.bytes"
	want := []string{"file 8192", "default 4096"}
	ladder := func() {
		b.Helper()
		b.until("the sources are "+list(want...), func() bool { return b.sources(topic, own) == list(want...) })
	}
	ladder()
	b.is("setting for all", b.brokerConfig(true, op{set, broad, "5000"}).ErrorCode, nil)
	want = append([]string{"cluster 5000"}, want...)
	ladder()
	b.is("setting for one", b.brokerConfig(false, op{set, broad, "6000"}).ErrorCode, nil)
	want = append([]string{"broker 6000"}, want...)
	ladder()
	b.set(topic, own+"=7000")
	want = append([]string{"topic 7000"}, want...)
	ladder()
	b.is("removing for all", b.brokerConfig(true, op{remove, broad, ""}).ErrorCode, nil)
	want = []string{"topic 7000", "broker 6000", "file 8192", "default 4096"}
	ladder()
	b.is("removing of the topic", b.alter(topic, op{remove, own, ""}).ErrorCode, nil)
	want = want[1:]
	ladder()
	b.is("removing for one", b.brokerConfig(false, op{remove, broad, ""}).ErrorCode, nil)
	want = want[1:]
	ladder()
}

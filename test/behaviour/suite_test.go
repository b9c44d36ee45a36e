package behaviour

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A scenario is one case. Its name says what the broker does.
type scenario struct {
	name  string
	run   func(b *broker)
	alone bool // it changes settings of the whole broker
}

// areas are the cases by what they are about.
var areas = []struct {
	name      string
	scenarios []scenario
}{
	{"groups", slices.Concat(joinScenarios, syncScenarios, sessionScenarios, staticScenarios, groupAdminScenarios, consumerScenarios)},
	{"consumer groups", slices.Concat(memberScenarios, fencingScenarios, instanceScenarios, consumerAdminScenarios, migrationScenarios)},
	{"offsets", slices.Concat(commitScenarios, offsetAdminScenarios, offsetExpiryScenarios)},
	{"retention and log", slices.Concat(retentionScenarios, deleteRecordsScenarios, lookupScenarios, appendScenarios, producerScenarios)},
	{"compaction", slices.Concat(compactionScenarios, policyScenarios)},
	{"configs", slices.Concat(configScenarios, brokerConfigScenarios)},
	{"topics and errors", slices.Concat(createScenarios, topicScenarios, fetchScenarios, clusterScenarios)},
}

func TestBehaviour(t *testing.T) {
	for _, alone := range []bool{true, false} {
		for _, area := range areas {
			for _, s := range area.scenarios {
				if s.alone != alone {
					continue
				}
				t.Run(area.name+": "+s.name, func(t *testing.T) {
					if !alone {
						t.Parallel()
					}
					s.run(newBroker(t))
				})
			}
		}
	}
}

// patience bounds every wait for what happens in the background.
const patience = 60 * time.Second

var bootstrap = os.Getenv("MOLDAU_BOOTSTRAP")

func TestMain(m *testing.M) {
	if bootstrap == "" {
		fmt.Fprintln(os.Stderr, "MOLDAU_BOOTSTRAP is not set: run.sh sets it to the broker to ask")
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// A broker is the one under test, as one case sees it. Its connection is for requests that are answered at once.
type broker struct {
	*testing.T
	*conn
	clients *kgo.Client // of admin, made on demand
}

func newBroker(t *testing.T) *broker { return &broker{T: t, conn: dial(t)} }

// name returns a name that no other case has.
func (b *broker) name() string { return "b-" + strings.ToLower(rand.Text()[:12]) }

// client returns a client for applications. It ends with the case.
func (b *broker) client(opts ...kgo.Opt) *kgo.Client {
	b.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap)}, opts...)...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cl.CloseAllowingRebalance)
	return cl
}

func (b *broker) admin() *kadm.Client {
	if b.clients == nil {
		b.clients = b.client()
	}
	return kadm.NewClient(b.clients)
}

// context ends with the case, or when nothing came for too long.
func (b *broker) context() context.Context {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	b.Cleanup(cancel)
	return ctx
}

// until waits for a condition.
func (b *broker) until(what string, done func() bool) {
	b.Helper()
	b.untilWithin(patience, what, done)
}

func (b *broker) untilWithin(limit time.Duration, what string, done func() bool) {
	b.Helper()
	for deadline := time.Now().Add(limit); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// is fails the case unless code is that of want; nil is no error.
func (b *broker) is(what string, code int16, want *kerr.Error) {
	b.Helper()
	if want == nil && code == 0 || want != nil && code == want.Code {
		return
	}
	b.Fatalf("%s: %s, not %s", what, errorName(code), func() string {
		if want == nil {
			return "success"
		}
		return want.Message
	}())
}

func errorName(code int16) string {
	if code == 0 {
		return "success"
	}
	return kerr.TypedErrorForCode(code).Message
}

func (b *broker) must(what string, err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

// same fails the case unless got is want.
func same[T comparable](b *broker, what string, got, want T) {
	b.Helper()
	if got != want {
		b.Fatalf("%s: %v, not %v", what, got, want)
	}
}

// list is how texts in their order are compared.
func list(texts ...string) string { return strings.Join(texts, ", ") }

// topic makes a topic with configs of the form name=value.
func (b *broker) topic(partitions int32, configs ...string) string {
	b.Helper()
	name := b.name()
	b.createTopic(name, partitions, configs...)
	return name
}

func (b *broker) createTopic(name string, partitions int32, configs ...string) {
	b.Helper()
	resp := b.create(false, newTopic(name, partitions, configs...))
	b.is("making a topic", resp[name].ErrorCode, nil)
	b.led(name, int(partitions))
}

// led waits until a topic has so many partitions and the broker leads them.
func (b *broker) led(topic string, partitions int) {
	b.Helper()
	b.until("the topic is known", func() bool { return len(b.describeTopic(topic).Partitions) == partitions })
	for i := range int32(partitions) {
		b.until("a partition is led", func() bool { return b.lookup(topic, i, -1, -1).ErrorCode == 0 })
	}
}

func newTopic(name string, partitions int32, configs ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, -1
	for _, config := range configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		key, value, _ := strings.Cut(config, "=")
		c.Name, c.Value = key, &value
		t.Configs = append(t.Configs, c)
	}
	return t
}

// create asks for topics, and returns the answers by name: the last one where a name has several.
func (b *broker) create(validateOnly bool, topics ...kmsg.CreateTopicsRequestTopic) map[string]kmsg.CreateTopicsResponseTopic {
	b.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics, req.ValidateOnly, req.TimeoutMillis = topics, validateOnly, 10_000
	answers := map[string]kmsg.CreateTopicsResponseTopic{}
	for _, t := range ask(b, req).Topics {
		answers[t.Topic] = t
	}
	return answers
}

// describeTopic returns what Metadata says of a topic, which it does not create.
func (b *broker) describeTopic(name string) kmsg.MetadataResponseTopic {
	b.Helper()
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &name
	req.Topics = append(req.Topics, t)
	return only(b, ask(b, req).Topics)
}

func (b *broker) topicExists(name string) bool {
	b.Helper()
	return b.describeTopic(name).ErrorCode != kerr.UnknownTopicOrPartition.Code
}

// deleteTopic deletes a topic and waits until it is gone.
func (b *broker) deleteTopic(name string) {
	b.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = &name
	req.Topics, req.TimeoutMillis = append(req.Topics, t), 10_000
	b.is("deleting a topic", only(b, ask(b, req).Topics).ErrorCode, nil)
	b.until("the topic is gone", func() bool { return !b.topicExists(name) })
}

// only returns the one element of a list.
func only[T any](b *broker, list []T) T {
	b.Helper()
	if len(list) != 1 {
		b.Fatalf("%d elements %v, not 1", len(list), list)
	}
	return list[0]
}

package config

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// base is what every scenario of testdata/kafka-describe.txt has in its file.
func base(t *testing.T) []Entry {
	t.Helper()
	return append(readTestdata(t, "one-node.properties"), properties(t, "listeners=PLAINTEXT://127.0.0.1:19392,CONTROLLER://127.0.0.1:19443\n"+
		"advertised.listeners=PLAINTEXT://127.0.0.1:19392\ncontroller.quorum.voters=1@127.0.0.1:19443")...)
}

func readTestdata(t *testing.T, name string) []Entry {
	t.Helper()
	content, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := ReadFile(name, content)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func properties(t *testing.T, text string) []Entry {
	t.Helper()
	entries, err := ReadProperties("test.properties", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func newBroker(t *testing.T, layers ...[]Entry) *Broker {
	t.Helper()
	b, err := New(layers...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// scenarios are the brokers that testdata/kafka-describe.txt was recorded from.
func scenarios(t *testing.T) map[string]*Broker {
	plain := newBroker(t, base(t))
	static := newBroker(t, base(t), properties(t, "log.retention.hours=100\nlog.retention.minutes=3000\nlog.roll.hours=50\n"+
		"log.roll.jitter.hours=2\nlog.flush.scheduler.interval.ms=4000\nmessage.max.bytes=900000\nlog.segment.bytes=20000000\n"+
		"max.connections=400\nssl.keystore.password=abc"))
	return map[string]*Broker{
		"plain": plain,
		"dynamic": plain.With(Dynamic{
			ClusterDefault: map[string]string{"log.retention.ms": "5000000", "message.max.bytes": "2000000", "log.roll.ms": "123456789",
				"log.flush.interval.ms": "777", "max.connections": "5000"},
			Broker: map[string]string{"message.max.bytes": "3000000"},
		}),
		"static": static,
		"both": static.With(Dynamic{
			ClusterDefault: map[string]string{"log.retention.ms": "5000000"},
			Broker:         map[string]string{"log.roll.ms": "6000000"},
		}),
	}
}

func describeResource(b *Broker, resource string) []Described {
	switch resource {
	case "broker":
		return b.DescribeBroker()
	case "default":
		return b.DescribeClusterDefault()
	case "own":
		return b.DescribeTopic(map[string]string{"retention.ms": "1000", "max.message.bytes": "5000", "segment.jitter.ms": "7"}, 1)
	}
	return b.DescribeTopic(nil, 1)
}

// TestDescribeAsKafka: names, types, values, sources, what is read-only and synonyms
// are Apache Kafka's, for every name that it has too.
func TestDescribeAsKafka(t *testing.T) {
	f, err := os.Open("testdata/kafka-describe.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	brokers, want := scenarios(t), make(map[string]string)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); !strings.HasPrefix(line, "#") {
			fields := strings.SplitN(line, "|", 4)
			want[strings.Join(fields[:3], "|")] = line
		}
	}
	for scenario, b := range brokers {
		for _, resource := range []string{"broker", "default", "topic", "own"} {
			for _, d := range describeResource(b, resource) {
				key := scenario + "|" + resource + "|" + d.Name
				kafka, ok := want[key]
				delete(want, key)
				if got := key + "|" + describedLine(d); ok && got != kafka {
					t.Errorf("got    %s\nKafka: %s", got, kafka)
				}
			}
		}
	}
	for _, line := range want {
		t.Errorf("missing %s", line)
	}
}

var sourceNames = map[int8]string{1: "DYNAMIC_TOPIC_CONFIG", 2: "DYNAMIC_BROKER_CONFIG", 3: "DYNAMIC_DEFAULT_BROKER_CONFIG",
	4: "STATIC_BROKER_CONFIG", 5: "DEFAULT_CONFIG"}

func describedLine(d Described) string {
	access, sensitive := "rw", ""
	if d.ReadOnly {
		access = "ro"
	}
	if d.Sensitive {
		sensitive = "sensitive"
	}
	var synonyms []string
	for _, s := range d.Synonyms {
		synonyms = append(synonyms, sourceNames[s.Source]+":"+s.Name+"="+orNull(s.Value))
	}
	return strings.Join([]string{strings.ToUpper(d.Type.String()), orNull(d.Value), sourceNames[d.Source], access, sensitive,
		strings.Join(synonyms, ";")}, "|")
}

func orNull(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

func TestMinISRFollowsReplicas(t *testing.T) {
	b := newBroker(t, base(t))
	for _, c := range []struct {
		broker    *Broker
		overrides map[string]string
		replicas  int
		want      string
		source    int8
	}{
		{b, nil, 1, "1", SourceDefault},
		{b, nil, 3, "2", SourceDefault},
		{b, map[string]string{minISR: "1"}, 3, "1", SourceTopic},
		{b.With(Dynamic{ClusterDefault: map[string]string{minISR: "1"}}), nil, 3, "1", SourceClusterDefault},
		{newBroker(t, base(t), properties(t, "min.insync.replicas=3")), nil, 1, "3", SourceStatic},
	} {
		for _, d := range c.broker.DescribeTopic(c.overrides, c.replicas) {
			if d.Name == minISR && (*d.Value != c.want || d.Source != c.source) {
				t.Errorf("%v, %d replicas: %s from %d, want %s from %d", c.overrides, c.replicas, *d.Value, d.Source, c.want, c.source)
			}
		}
		topic := c.broker.Topic(c.overrides)
		if got := topic.MinISR(c.replicas); string(rune('0'+got)) != c.want {
			t.Errorf("MinISR(%d) of %v is %d, want %s", c.replicas, c.overrides, got, c.want)
		}
		schema := NewSchema(func() *Broker { return c.broker })
		if got := schema.MinISR(c.overrides, c.replicas); got != topic.MinISR(c.replicas) {
			t.Errorf("the controller's MinISR(%d) of %v is %d, want %s", c.replicas, c.overrides, got, c.want)
		}
	}
}

func TestUncleanElectionIsTheTopicsElseTheBrokers(t *testing.T) {
	const name = "unclean.leader.election.enable"
	b := newBroker(t, base(t))
	for _, c := range []struct {
		broker    *Broker
		overrides map[string]string
		want      bool
	}{
		{b, nil, false},
		{b, map[string]string{name: "true"}, true},
		{newBroker(t, base(t), properties(t, name+"=true")), nil, true},
		{b.With(Dynamic{ClusterDefault: map[string]string{name: "true"}}), nil, true},
		{b.With(Dynamic{ClusterDefault: map[string]string{name: "true"}}), map[string]string{name: "false"}, false},
	} {
		if got := NewSchema(func() *Broker { return c.broker }).UncleanElection(c.overrides); got != c.want {
			t.Errorf("%v: %v, want %v", c.overrides, got, c.want)
		}
	}
}

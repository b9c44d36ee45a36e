package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestKafkasFilesAreAccepted(t *testing.T) {
	b := newBroker(t, readTestdata(t, "one-node.properties"))
	if b.NodeID != 1 || !slices.Equal(b.LogDirs, []string{"/data/node1"}) || b.MetadataLogDir != "/data/node1" {
		t.Errorf("node %d, %v, %s", b.NodeID, b.LogDirs, b.MetadataLogDir)
	}
	if want := []Listener{{"PLAINTEXT", "127.0.0.1", 9192}}; !slices.Equal(b.Listeners, want) || !slices.Equal(b.Advertised, want) {
		t.Errorf("listeners %v, advertised %v", b.Listeners, b.Advertised)
	}
	if want := []Listener{{"CONTROLLER", "127.0.0.1", 9243}}; !slices.Equal(b.ControllerListeners, want) {
		t.Errorf("controller listeners %v", b.ControllerListeners)
	}
	if want := []Voter{{1, "127.0.0.1", 9243}}; !slices.Equal(b.Voters, want) {
		t.Errorf("voters %v", b.Voters)
	}
	if b.InterBrokerListener != "PLAINTEXT" || len(b.Warnings) != 0 {
		t.Errorf("%s, %v", b.InterBrokerListener, b.Warnings)
	}
	want := []string{"share.coordinator.state.topic.min.isr", "share.coordinator.state.topic.replication.factor",
		"transaction.state.log.min.isr", "transaction.state.log.replication.factor"}
	if !slices.Equal(b.WithoutEffect, want) {
		t.Errorf("without effect: %v", b.WithoutEffect)
	}

	b = newBroker(t, readTestdata(t, "distribution.properties"))
	if got := b.Advertised; !slices.Equal(got, []Listener{{"PLAINTEXT", "localhost", 9092}}) {
		t.Errorf("advertised %v", got)
	}
	if !slices.Contains(b.WithoutEffect, "num.network.threads") || b.RecoveryThreads != 1 {
		t.Errorf("without effect: %v, %d threads", b.WithoutEffect, b.RecoveryThreads)
	}
}

func TestDefaults(t *testing.T) {
	b := newBroker(t, properties(t, "node.id=0"))
	if want := []Listener{{"PLAINTEXT", "", 9092}}; !slices.Equal(b.Listeners, want) || !slices.Equal(b.Advertised, want) {
		t.Errorf("listeners %v, advertised %v", b.Listeners, b.Advertised)
	}
	if !slices.Equal(b.Voters, []Voter{{ID: 0}}) || !slices.Equal(b.LogDirs, []string{"/tmp/kafka-logs"}) {
		t.Errorf("voters %v, directories %v", b.Voters, b.LogDirs)
	}
	if b.ConnectionsMaxIdle != 10*time.Minute || b.SocketRequestMaxBytes != 100<<20 || b.MaxConnections != 1<<31-1 || b.FetchSessionSlots != 1000 {
		t.Errorf("%v %d %d %d", b.ConnectionsMaxIdle, b.SocketRequestMaxBytes, b.MaxConnections, b.FetchSessionSlots)
	}
	if b.FlushCheckInterval != 0 || b.HighWatermarkCheckpoint != 5*time.Second || b.RetentionCheckInterval != 5*time.Minute {
		t.Errorf("%v %v %v", b.FlushCheckInterval, b.HighWatermarkCheckpoint, b.RetentionCheckInterval)
	}
	if b.NumPartitions != 1 || b.DefaultReplicationFactor != 1 || !b.AutoCreateTopics || !b.DeleteTopicEnable {
		t.Errorf("%d %d %v %v", b.NumPartitions, b.DefaultReplicationFactor, b.AutoCreateTopics, b.DeleteTopicEnable)
	}
}

// TestPrecedence: flags over environment over file, and a name twice in one file has its last value.
func TestPrecedence(t *testing.T) {
	file := properties(t, "node.id=1\nnum.partitions=1\nfetch.max.bytes=1111\nlog.dirs=/file\nnum.partitions=2")
	env := ReadEnviron([]string{"MOLDAU_FETCH_MAX_BYTES=2222", "MOLDAU_LOG_DIRS=/env", "OTHER=1", "MOLDAU_BROKERS=h:1", "MOLDAU_=1", "MOLDAU_NODE_ID"}, "BROKERS")
	flags, err := ReadOverrides([]string{"log.dirs=/flag=x"})
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, file, env, flags)
	if b.NumPartitions != 2 || b.FetchMaxBytes != 2222 || b.LogDirs[0] != "/flag=x" {
		t.Errorf("%d %d %v", b.NumPartitions, b.FetchMaxBytes, b.LogDirs)
	}
	if want := []string{"test.properties:5: num.partitions was already given at test.properties:2; this one counts"}; !slices.Equal(b.Warnings, want) {
		t.Errorf("warnings %v", b.Warnings)
	}
	for _, arg := range []string{"a", "=b", " =b"} {
		if _, err := ReadOverrides([]string{arg}); err == nil {
			t.Errorf("--override %s is accepted", arg)
		}
	}
}

func TestBrokerIDIsNodeID(t *testing.T) {
	if b := newBroker(t, properties(t, "broker.id=7")); b.NodeID != 7 {
		t.Errorf("node %d", b.NodeID)
	}
	newBroker(t, properties(t, "broker.id=7\nnode.id=7"))
}

// TestRefused: every message names the place and what to do.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ rule, text, want string }{
		{"no node id", "log.dirs=/a", "node.id: it must be set; add the line node.id=1"},
		{"two ids", "node.id=1\nbroker.id=2", "test.properties:2: broker.id=2 is not node.id=1 (test.properties:1); delete broker.id"},
		{"an unknown name", "node.id=1\nlog.dri=/a", "test.properties:2: unknown broker config name log.dri; did you mean log.dir?"},
		{"a name of ZooKeeper's time", "zookeeper.connect=a", "test.properties:1: zookeeper.connect was removed from Apache Kafka (there is no ZooKeeper any more; controller.quorum.voters took its place); delete it"},
		{"a name like nothing", "xyzzy=1", "test.properties:1: unknown broker config name xyzzy; docs/configuration.md lists all"},
		{"a type", "node.id=one", "test.properties:1: node.id=one: it must be a whole number of at most 32 bits"},
		{"a range", "node.id=-1", "test.properties:1: node.id=-1: it must be at least 0"},
		{"retention of nothing", "node.id=1\nlog.retention.ms=0", "test.properties:2: log.retention.ms=0: it must be at least 1, or -1 for no limit"},
		{"too little memory for keys", "node.id=1\nlog.cleaner.threads=2\nlog.cleaner.dedupe.buffer.size=2097152",
			"test.properties:3: log.cleaner.dedupe.buffer.size: it must be more than 1048576 bytes for each of log.cleaner.threads, which is 2"},
		{"an authorizer", "authorizer.class.name=a.B", "test.properties:1: authorizer.class.name=a.B: access control is not built yet, so everyone could do everything; delete the line to run without it"},
		{"SASL", "sasl.enabled.mechanisms=PLAIN", "test.properties:1: sasl.enabled.mechanisms=PLAIN: authentication is not built yet"},
		{"SASL of one listener", "listener.name.x.sasl.enabled.mechanisms=PLAIN", "test.properties:1: listener.name.x.sasl.enabled.mechanisms=PLAIN: authentication is not built yet"},
		{"tiering", "remote.log.storage.system.enable=true", "test.properties:1: remote.log.storage.system.enable=true: tiered storage is not built yet"},
		{"another voter", "node.id=1\ncontroller.quorum.voters=2@b:1", "test.properties:2: controller.quorum.voters: the voter is node 2 and this is node.id=1; both must be the same"},
		{"a voter without port", "node.id=1\ncontroller.quorum.voters=1@a", `test.properties:2: controller.quorum.voters: "1@a" is not ID@HOST:PORT`},
		{"several controllers", "node.id=1\ncontroller.quorum.bootstrap.servers=a:1,b:1", "test.properties:2: controller.quorum.bootstrap.servers: it names several controllers; name them in controller.quorum.voters too, ID@HOST:PORT each"},
		{"no directory", "node.id=1\nlog.dirs=", "test.properties:2: log.dirs: it must name at least one directory"},
		{"a limit of connections", "node.id=1\nmax.connections.per.ip.overrides=a", `test.properties:2: max.connections.per.ip.overrides: "a" is not HOST:COUNT`},
		{"a listener", "node.id=1\nlisteners=:9092", `test.properties:2: listeners: ":9092" is not NAME://HOST:PORT`},
		{"a port", "node.id=1\nlisteners=PLAINTEXT://a:65536", `test.properties:2: listeners: "PLAINTEXT://a:65536" is not NAME://HOST:PORT`},
		{"a name twice", "node.id=1\nlisteners=PLAINTEXT://a:1,plaintext://a:2", "test.properties:2: listeners: PLAINTEXT stands there twice"},
		{"a port twice", "node.id=1\nlisteners=PLAINTEXT://a:1,X://b:1\nlistener.security.protocol.map=X:PLAINTEXT,PLAINTEXT:PLAINTEXT", "test.properties:2: listeners: PLAINTEXT://a:1 and X://b:1 have the same port"},
		{"TLS", "node.id=1\nlisteners=SSL://a:1", "test.properties:2: listeners: SSL is a listener with SSL, and encryption and authentication are not built yet; only PLAINTEXT is"},
		{"TLS by another name", "node.id=1\nlisteners=X://a:1\nlistener.security.protocol.map=X:SASL_SSL", "test.properties:2: listeners: X is a listener with SASL_SSL"},
		{"a listener without protocol", "node.id=1\nlisteners=X://a:1", "listener.security.protocol.map: it says nothing of the listener X; add X:PLAINTEXT"},
		{"a protocol", "node.id=1\nlistener.security.protocol.map=PLAINTEXT:TLS", `test.properties:2: listener.security.protocol.map: "PLAINTEXT:TLS" is not LISTENER:PROTOCOL`},
		{"no listener of controllers", "node.id=1\ncontroller.listener.names=C", "test.properties:2: controller.listener.names: C is not one of listeners; add C://HOST:PORT there"},
		{"no listener of clients", "node.id=1\nlisteners=C://:1\ncontroller.listener.names=C", "test.properties:2: listeners: it must name a listener that is not one of controller.listener.names"},
		{"every interface advertised", "node.id=1\nadvertised.listeners=PLAINTEXT://0.0.0.0:1", "test.properties:2: advertised.listeners: PLAINTEXT://0.0.0.0:1 cannot be dialled"},
		{"another listener advertised", "node.id=1\nadvertised.listeners=PLAINTEXT://a:1,X://a:2", "test.properties:2: advertised.listeners: X is not one of listeners"},
		{"no such listener of brokers", "node.id=1\ninter.broker.listener.name=X", "test.properties:2: inter.broker.listener.name: X is not advertised"},
		{"the listener of brokers twice", "node.id=1\ninter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT", "test.properties:2: inter.broker.listener.name: security.inter.broker.protocol says the same"},
	} {
		_, err := New(properties(t, c.text))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.rule, err, c.want)
		}
	}
}

// TestAllProblemsAtOnce: a file is not mended one start at a time.
func TestAllProblemsAtOnce(t *testing.T) {
	_, err := New(properties(t, "node.id=x\nlog.dri=/a\nnum.partitions=0"))
	if err == nil || strings.Count(err.Error(), "test.properties:") != 3 {
		t.Errorf("%v", err)
	}
}

func TestListeners(t *testing.T) {
	for _, c := range []struct {
		rule, text            string
		listeners, advertised string
		interBroker           string
	}{
		{"capitals", "listeners=plaintext://h:1", "PLAINTEXT://h:1", "PLAINTEXT://h:1", "PLAINTEXT"},
		{"every interface", "listeners=PLAINTEXT://0.0.0.0:1", "PLAINTEXT://0.0.0.0:1", "PLAINTEXT://:1", "PLAINTEXT"},
		{"IPv6", "listeners=PLAINTEXT://[::1]:1", "PLAINTEXT://[::1]:1", "PLAINTEXT://[::1]:1", "PLAINTEXT"},
		{"any port", "listeners=PLAINTEXT://h:0,C://h:0\ncontroller.listener.names=C", "PLAINTEXT://h:0", "PLAINTEXT://h:0", "PLAINTEXT"},
		{"the listener that is there", "listeners=X://h:1\nlistener.security.protocol.map=X:PLAINTEXT", "X://h:1", "X://h:1", "X"},
		{"two", "listeners=A://h:1,B://h:2\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT\ninter.broker.listener.name=b", "A://h:1 B://h:2", "A://h:1 B://h:2", "B"},
		{"advertised elsewhere", "listeners=PLAINTEXT://:1\nadvertised.listeners=PLAINTEXT://out:9", "PLAINTEXT://:1", "PLAINTEXT://out:9", "PLAINTEXT"},
	} {
		b := newBroker(t, properties(t, "node.id=1\n"+c.text))
		if l, a := joinListeners(b.Listeners), joinListeners(b.Advertised); l != c.listeners || a != c.advertised || b.InterBrokerListener != c.interBroker {
			t.Errorf("%s: %s, advertised %s, between brokers %s", c.rule, l, a, b.InterBrokerListener)
		}
	}
}

func joinListeners(list []Listener) string {
	var out []string
	for _, l := range list {
		out = append(out, l.String())
	}
	return strings.Join(out, " ")
}

func TestNamesWithoutEffect(t *testing.T) {
	b := newBroker(t, properties(t, "node.id=1\nnum.io.threads=8\nlistener.name.plaintext.max.connections=7\nlistener.name.a.scram-sha-256.sasl.jaas.config=x\n"+
		"rsm.config.bucket=x\nsuper.users=User:a\nnum.network.threads=2\nunclean.leader.election.enable=true"))
	want := []string{"listener.name.a.scram-sha-256.sasl.jaas.config", "listener.name.plaintext.max.connections",
		"num.io.threads", "num.network.threads", "rsm.config.bucket", "super.users"}
	if !slices.Equal(b.WithoutEffect, want) {
		t.Errorf("%v", b.WithoutEffect)
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"num.partition":           "num.partitions",
		"log_retention_ms":        "log.retention.ms",
		"Log.Dirs":                "log.dirs",
		"auto.create.topic.enble": "auto.create.topics.enable",
		"mesage.max.bytse":        "message.max.bytes",
		"max.bytes.fetch":         "fetch.max.bytes",
		"a.b.c":                   "",
		"":                        "",
	} {
		if got := nearest(name, brokerNames); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestRowsAreSound(t *testing.T) {
	for _, rows := range [][]Setting{topicSettings, brokerSettings} {
		if !slices.IsSortedFunc(rows, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) }) {
			t.Error("rows are not in order")
		}
		for i := range rows {
			s := &rows[i]
			if _, err := s.parse(s.Default); !s.NoValue && err != nil {
				t.Errorf("default: %v", err)
			}
			if s.NoValue && s.Default != "" || s.Doc == "" || otherNames[s.Name] {
				t.Errorf("row %s", s.Name)
			}
			for _, name := range s.Synonyms {
				if brokerByName[name] == nil {
					t.Errorf("%s: no row for the synonym %s", s.Name, name)
				}
			}
		}
	}
}

func TestValuesAreWrittenAsKafkaDoes(t *testing.T) {
	for _, c := range []struct {
		kind       Type
		text, want string
	}{
		{Boolean, " TRUE ", "true"}, {Int, " +5 ", "5"}, {Long, "-0", "0"}, {List, " a , b,a ", "a,b"}, {List, "", ""}, {String, " x ", "x"},
		{Double, "0.5", "0.5"}, {Double, "1", "1.0"}, {Double, "1e10", "1.0E10"}, {Double, "1.25e-5", "1.25E-5"}, {Double, "0", "0.0"},
		{Double, "1.7976931348623157E308", "1.7976931348623157E308"}, {Short, "32767", "32767"},
	} {
		s := Setting{Name: "x", Type: c.kind}
		v, err := s.parse(c.text)
		if got := s.text(v); err != nil || got != c.want {
			t.Errorf("%v %q: %q, %v; want %q", c.kind, c.text, got, err, c.want)
		}
	}
}

func TestWithReplacesDynamicConfigs(t *testing.T) {
	b := newBroker(t, properties(t, "node.id=1\nmax.connections=10"))
	one := b.With(Dynamic{ClusterDefault: map[string]string{"max.connections": "20", "max.connections.per.ip.overrides": "h:3,[::1]:4"}})
	two := one.With(Dynamic{ClusterDefault: map[string]string{"max.connections": "20"}, Broker: map[string]string{"max.connections": "30"}})
	none := two.With(Dynamic{})
	if b.MaxConnections != 10 || one.MaxConnections != 20 || two.MaxConnections != 30 || none.MaxConnections != 10 {
		t.Errorf("%d %d %d %d", b.MaxConnections, one.MaxConnections, two.MaxConnections, none.MaxConnections)
	}
	if want := map[string]int32{"h": 3, "::1": 4}; !reflect.DeepEqual(one.MaxConnectionsByIP, want) || len(two.MaxConnectionsByIP) != 0 {
		t.Errorf("%v %v", one.MaxConnectionsByIP, two.MaxConnectionsByIP)
	}
	odd := b.With(Dynamic{Broker: map[string]string{"max.connections": "x", "num.partitions": "9", "no.such": "1", "listeners": "A://:1"}})
	if odd.MaxConnections != 10 || odd.NumPartitions != 1 {
		t.Errorf("what does not pass its row counts: %d %d", odd.MaxConnections, odd.NumPartitions)
	}
}

package oracle

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// versions are the ranges that Kafka 4.3 serves of the APIs that Moldau has.
var versions = map[int16][2]int16{
	0: {0, 13}, 1: {4, 18}, 2: {1, 11}, 3: {0, 13}, 8: {2, 10}, 9: {1, 10}, 10: {0, 6}, 11: {0, 9}, 12: {0, 4}, 13: {0, 5}, 14: {0, 5}, 15: {0, 6}, 16: {0, 5}, 18: {0, 4}, 19: {2, 7}, 20: {1, 6}, 21: {0, 2}, 22: {0, 5},
	23: {2, 4}, 29: {1, 3}, 30: {1, 3}, 31: {1, 3}, 32: {1, 4}, 33: {0, 2}, 34: {1, 2}, 35: {1, 5}, 37: {0, 3}, 42: {0, 2}, 43: {0, 2}, 44: {0, 1}, 45: {0, 1}, 46: {0, 0}, 47: {0, 0}, 55: {0, 2}, 57: {0, 2}, 60: {0, 2}, 61: {0, 0}, 64: {0, 0}, 68: {0, 1}, 69: {0, 1}, 74: {0, 1}, 75: {0, 0},
}

type pair struct{ key, version int16 }

// unknownTopicID is no topic's.
var unknownTopicID = [16]byte{0xde, 0xad, 1, 2, 3, 4, 0x40, 5, 0x80, 6, 7, 8, 9, 10, 11, 12}

// A suite is one run of the scenario against one broker. Every request travels on a connection of its own.
type suite struct {
	t       *testing.T
	address string
	d       dumper
	ids     map[string][16]byte // of the run's topics, by name
	entries []entry
	titles  map[string]bool
	valid   map[pair]int
	invalid map[pair]int
	last    map[pair][]byte // payload of the last valid request
	correl  int32
}

func newSuite(t *testing.T, address string) *suite {
	s := &suite{
		t: t, address: address, ids: map[string][16]byte{}, titles: map[string]bool{},
		valid: map[pair]int{}, invalid: map[pair]int{}, last: map[pair][]byte{}, correl: 1000,
	}
	prefix := fmt.Sprintf("o%012d-", time.Now().UnixNano()%1_000_000_000_000)
	s.d = dumper{prefix: prefix, node: -1, names: map[[16]byte]string{}}
	m := kmsg.NewMetadataRequest()
	m.SetVersion(9)
	m.Topics = []kmsg.MetadataRequestTopic{}
	resp := s.quiet(&m).(*kmsg.MetadataResponse)
	s.d.node = resp.Brokers[0].NodeID
	return s
}

// topic returns the real name of one of the suite's topics.
func (s *suite) topic(name string) string { return s.d.prefix + name }

// good asks what a well-behaved client asks and records the answer.
func (s *suite) good(version int16, what string, req kmsg.Request) kmsg.Response {
	s.t.Helper()
	req.SetVersion(version)
	p := pair{req.Key(), version}
	s.valid[p]++
	s.last[p] = payload(req, s.correl, clientID)
	return s.ask("valid: "+what, req)
}

// bad asks what a broker refuses and records how.
func (s *suite) bad(version int16, what string, req kmsg.Request) kmsg.Response {
	s.t.Helper()
	req.SetVersion(version)
	s.invalid[pair{req.Key(), version}]++
	return s.ask("invalid: "+what, req)
}

func (s *suite) ask(what string, req kmsg.Request) kmsg.Response {
	s.t.Helper()
	s.correl++
	resp, lines := s.exchange(req, payload(req, s.correl, clientID))
	s.add(req.Key(), fmt.Sprintf("v%d %s", req.GetVersion(), what), lines)
	return resp
}

// raw sends the payload of one frame as it is and records what comes back; req says how to read an answer.
func (s *suite) raw(req kmsg.Request, what string, payload []byte) kmsg.Response {
	s.t.Helper()
	s.invalid[pair{req.Key(), req.GetVersion()}]++
	resp, lines := s.exchange(req, payload)
	s.add(req.Key(), fmt.Sprintf("v%d invalid: %s", req.GetVersion(), what), lines)
	return resp
}

func (s *suite) add(key int16, title string, lines []line) {
	s.t.Helper()
	if at := fmt.Sprint(key, title); s.titles[at] {
		s.t.Fatalf("two entries of %s are called %q", kmsg.NameForKey(key), title)
	} else {
		s.titles[at] = true
	}
	s.entries = append(s.entries, entry{key, title, lines})
}

// exchange sends one frame on a new connection and returns the answer with its dump.
func (s *suite) exchange(req kmsg.Request, payload []byte) (kmsg.Response, []line) {
	start := time.Now()
	defer func() {
		if took := time.Since(start); took > time.Second {
			s.t.Logf("slow: %s v%d took %v: after %s", kmsg.NameForKey(req.Key()), req.GetVersion(), took, s.entries[len(s.entries)-1].title)
		}
	}()
	conn := dial(s.t, s.address)
	defer conn.Close()
	if _, err := conn.Write(frame(payload)); err != nil {
		return nil, []line{{path: errClosed.Error()}}
	}
	return s.await(conn, req)
}

// await reads the answer to req and dumps it.
func (s *suite) await(conn net.Conn, req kmsg.Request) (kmsg.Response, []line) {
	answer, err := receive(conn)
	if err != nil {
		return nil, []line{{path: err.Error()}}
	}
	resp, correlation, rest, err := decode(req, req.GetVersion(), answer)
	if err != nil {
		return nil, []line{{path: "undecodable: " + err.Error()}}
	}
	lines := s.d.dump(resp)
	switch req.Key() {
	case 18:
		lines = keepOnly(lines, ours)
	case 43:
		lines = keepOnly(lines, elected)
	case 35:
		lines = keepOnly(lines, s.d.ofThisRun)
	case 16:
		lines = keepOnly(lines, ofThisRunsGroups)
	case 74:
		lines = keepOnly(lines, listed)
	}
	if correlation != s.correl {
		lines = append(lines, line{path: "another correlation id"})
	}
	if len(rest) > 0 {
		lines = append(lines, line{path: "unread: " + string(rest)})
	}
	return resp, lines
}

// ours tells whether a line of an ApiVersions answer concerns an API that Moldau has.
func ours(path string) bool {
	inside, ok := strings.CutPrefix(path, "ApiKeys{")
	if !ok {
		return true
	}
	var key int16
	fmt.Sscanf(inside, "%d", &key)
	_, has := versions[key]
	return has
}

// listed tells whether a line of a ListConfigResources answer concerns the broker or the topics made for that.
func listed(path string) bool {
	inside, ok := strings.CutPrefix(path, "ConfigResources{")
	return !ok || strings.HasPrefix(inside, "<node>") || strings.HasPrefix(inside, "~listed")
}

// quiet asks without recording, for what the scenario needs to know.
func (s *suite) quiet(req kmsg.Request) kmsg.Response {
	s.t.Helper()
	s.correl++
	resp, lines := s.exchange(req, payload(req, s.correl, clientID))
	if resp == nil {
		s.t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), lines)
	}
	return resp
}

// make creates a topic without recording it and waits until it can be written to.
func (s *suite) make(name string, partitions int32, configs ...string) {
	s.t.Helper()
	req := kmsg.NewCreateTopicsRequest()
	req.SetVersion(5)
	req.TimeoutMillis = 30_000
	req.Topics = []kmsg.CreateTopicsRequestTopic{newTopic(s.topic(name), partitions, 1, configs...)}
	resp := s.quiet(&req).(*kmsg.CreateTopicsResponse)
	if code := resp.Topics[0].ErrorCode; code != 0 {
		s.t.Fatalf("topic %s: error %d", name, code)
	}
	s.learn(name, partitions)
}

// newTopic describes a topic to create; configs are names and values in turn.
func newTopic(name string, partitions int32, replicas int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replicas
	for pair := range slices.Chunk(configs, 2) {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = pair[0], &pair[1]
		t.Configs = append(t.Configs, c)
	}
	return t
}

// learn waits until a topic has leaders and remembers its id.
func (s *suite) learn(name string, partitions int32) {
	s.t.Helper()
	full := s.topic(name)
	for deadline := time.Now().Add(answerTimeout); ; {
		m := kmsg.NewMetadataRequest()
		m.SetVersion(10)
		m.Topics = []kmsg.MetadataRequestTopic{{Topic: &full}}
		t := s.quiet(&m).(*kmsg.MetadataResponse).Topics[0]
		if t.ErrorCode == 0 && len(t.Partitions) == int(partitions) && !slices.ContainsFunc(t.Partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return p.ErrorCode != 0 }) && s.led(name, partitions) {
			s.ids[name], s.d.names[t.TopicID] = t.TopicID, full
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("topic %s has no leaders", name)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// led tells whether every partition has its leader at work, which comes a little after the metadata say so.
func (s *suite) led(name string, partitions int32) bool {
	req := s.offsetsOf(name, 0, -1)
	for p := int32(1); p < partitions; p++ {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, s.offsetsOf(name, p, -1).Topics[0].Partitions[0])
	}
	for _, p := range s.quiet(at(5, req)).(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
		if p.ErrorCode != 0 {
			return false
		}
	}
	return true
}

// gone waits until a deleted topic is unknown.
func (s *suite) gone(name string) {
	s.t.Helper()
	full := s.topic(name)
	for deadline := time.Now().Add(answerTimeout); ; {
		m := kmsg.NewMetadataRequest()
		m.SetVersion(10)
		m.Topics = []kmsg.MetadataRequestTopic{{Topic: &full}}
		if s.quiet(&m).(*kmsg.MetadataResponse).Topics[0].ErrorCode == 3 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("topic %s is still there", name)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// settle waits until a config has its value: a broker takes it up when it has read the metadata log.
func (s *suite) settle(kind kmsg.ConfigResourceType, resource, name, value string) {
	s.t.Helper()
	for deadline := time.Now().Add(answerTimeout); ; {
		req := describe(kind, resource, name)
		req.SetVersion(1)
		for _, c := range s.quiet(req).(*kmsg.DescribeConfigsResponse).Resources[0].Configs {
			if c.Value != nil && *c.Value == value {
				return
			}
		}
		if time.Now().After(deadline) {
			s.t.Errorf("%s of %s did not become %s", name, resource, value)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

package oracle

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var recording = flag.Bool("record", false, "write the broker's answers to testdata instead of comparing them")

// reference says that MOLDAU_BOOTSTRAP is Apache Kafka 4.3.1 itself: no difference is expected then.
var reference = os.Getenv("ORACLE_REFERENCE") != ""

func bootstrap(t *testing.T) string {
	if address := os.Getenv("MOLDAU_BOOTSTRAP"); address != "" {
		return address
	}
	if *recording || reference {
		t.Fatal("MOLDAU_BOOTSTRAP has to name Apache Kafka")
	}
	return startBroker(t)
}

func TestEveryServedVersionAnswersAsKafka(t *testing.T) {
	s := newSuite(t, bootstrap(t))
	s.run()
	s.checkPairs()
	if *recording {
		writeGolden(t, s.entries)
		return
	}
	var all []difference
	golden := map[int16]map[string][]line{}
	for key := range versions {
		golden[key] = readGolden(t, key)
	}
	for _, e := range s.entries {
		theirs, ok := golden[e.key][e.title]
		if !ok {
			t.Errorf("%s %s: not recorded; run record.sh", kmsg.NameForKey(e.key), e.title)
			continue
		}
		delete(golden[e.key], e.title)
		if e.key == 32 {
			e, theirs = brokerNamesOfBoth(e, theirs)
		}
		all = append(all, compare(e, theirs)...)
	}
	for key, left := range golden {
		for title := range left {
			t.Errorf("%s %s: recorded, but no longer asked; run record.sh", kmsg.NameForKey(key), title)
		}
	}
	judge(t, all)
}

// run is the scenario. Its order is fixed: later parts read what earlier ones wrote.
func (s *suite) run() {
	s.apiVersions()
	s.createTopics()
	s.metadata()
	s.produce()
	s.fetch()
	s.fetchSessions()
	s.listOffsets()
	s.leaderEpochs()
	s.describeProducers()
	s.describeLogDirs()
	s.alterReplicaLogDirs()
	s.initProducerID()
	s.describeConfigs()
	s.alterConfigs()
	s.replaceConfigs()
	s.listConfigResources()
	s.acls()
	s.createPartitions()
	s.listReassignments()
	s.electLeaders()
	s.alterReassignments()
	s.updateFeatures()
	s.unregisterBroker()
	s.describeCluster()
	s.describeQuorum()
	s.describeTopicPartitions()
	s.deleteRecords()
	s.deleteTopics()
	s.groups()
	s.consumerGroups()
	s.truncated()
	s.unknown()
}

// checkPairs compares the pairs that the scenario asked with the versions that the broker advertises.
func (s *suite) checkPairs() {
	req := kmsg.NewPtrApiVersionsRequest()
	req.SetVersion(0)
	pairs := 0
	for _, k := range s.quiet(req).(*kmsg.ApiVersionsResponse).ApiKeys {
		want, served := versions[k.ApiKey]
		if !served {
			if !reference && !*recording {
				s.t.Errorf("%s is advertised, and nothing here asks it", kmsg.NameForKey(k.ApiKey))
			}
			continue
		}
		if got := [2]int16{k.MinVersion, k.MaxVersion}; got != want {
			s.t.Errorf("%s is advertised as %v, Kafka 4.3 has %v", kmsg.NameForKey(k.ApiKey), got, want)
		}
		for v := k.MinVersion; v <= k.MaxVersion; v++ {
			p := pair{k.ApiKey, v}
			if s.valid[p] == 0 || s.invalid[p] == 0 {
				s.t.Errorf("%s v%d: %d valid and %d invalid requests", kmsg.NameForKey(k.ApiKey), v, s.valid[p], s.invalid[p])
			}
			pairs++
		}
	}
	s.t.Logf("%d (API, version) pairs, %d exchanges", pairs, len(s.entries))
}

// truncated cuts every version's last valid request in half.
func (s *suite) truncated() {
	order := slices.SortedFunc(maps.Keys(s.last), func(a, b pair) int {
		if a.key != b.key {
			return int(a.key - b.key)
		}
		return int(a.version - b.version)
	})
	for _, p := range order {
		req := kmsg.RequestForKey(p.key)
		req.SetVersion(p.version)
		whole := s.last[p]
		start := len(header(p.key, p.version, 0, clientID, req.IsFlexible()))
		cut := whole[:start+(len(whole)-start)/2]
		if len(whole) == start { // nothing but a header
			cut = whole[:start/2]
		}
		s.raw(req, "cut in half", cut)
	}
}

// unknown sends frames that no API reads.
func (s *suite) unknown() {
	for key, r := range versions {
		if key == 18 {
			continue // answered, see apiVersions
		}
		req := kmsg.RequestForKey(key)
		req.SetVersion(r[1])
		body := req.AppendTo(header(key, r[1]+1, s.correl, clientID, req.IsFlexible()))
		s.rawOther(key, fmt.Sprintf("v%d unknown version", r[1]+1), body)
		if r[0] > 0 {
			s.rawOther(key, fmt.Sprintf("v%d version no longer served", r[0]-1), req.AppendTo(header(key, r[0]-1, s.correl, clientID, false)))
		}
	}
	for _, key := range []int16{-1, 4, 7, 999} {
		s.rawOther(18, fmt.Sprintf("unknown API %d", key), header(key, 0, s.correl, clientID, false))
	}
}

// rawOther records only whether the broker answered or closed.
func (s *suite) rawOther(key int16, title string, payload []byte) {
	conn := dial(s.t, s.address)
	defer conn.Close()
	conn.Write(frame(payload))
	word := "answered"
	if _, err := receive(conn); err != nil {
		word = err.Error()
	}
	s.add(key, title, []line{{path: word}})
}

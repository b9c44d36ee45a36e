package controller

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// testSchema knows a few configurations of topics, and of brokers the same with "log." in front.
type testSchema struct{}

func (testSchema) validate(name, value string) error {
	switch name {
	case "retention.ms", "min.insync.replicas":
		if _, err := strconv.Atoi(value); err != nil {
			return fmt.Errorf("%s is no number but %q", name, value)
		}
	case "cleanup.policy":
		for e := range strings.SplitSeq(value, ",") {
			if e = strings.TrimSpace(e); e != "delete" && e != "compact" && value != "" {
				return fmt.Errorf("%s has no %q", name, e)
			}
		}
	case "throttled.replicas", "unclean.leader.election.enable":
	default:
		return fmt.Errorf("%s is no configuration of a topic", name)
	}
	return nil
}

func (s testSchema) ValidateTopic(_ string, overrides map[string]string) error {
	for _, name := range sortedKeys(overrides) {
		if err := s.validate(name, overrides[name]); err != nil {
			return err
		}
	}
	return nil
}

func (s testSchema) ValidateBroker(clusterDefault bool, overrides map[string]string) error {
	for _, name := range sortedKeys(overrides) {
		switch topicName, isTopic := strings.CutPrefix(name, "log."); {
		case isTopic:
			if err := s.validate(topicName, overrides[name]); err != nil {
				return err
			}
		case name == minISRConfig:
		case name == "listeners" && clusterDefault:
			return fmt.Errorf("%s is a broker's own", name)
		case name == "num.partitions":
			return fmt.Errorf("%s cannot be altered while the broker runs", name)
		}
	}
	return nil
}

func (testSchema) ValidateGroup(overrides map[string]string) error {
	for _, name := range sortedKeys(overrides) {
		if name != "consumer.session.timeout.ms" {
			return fmt.Errorf("%s is no configuration of a group", name)
		}
	}
	return nil
}

func (testSchema) TopicConfigs(overrides map[string]string) []TopicConfig {
	var out []TopicConfig
	for _, d := range [][2]string{{"retention.ms", "7"}, {"min.insync.replicas", "1"}, {"cleanup.policy", "delete"}} {
		cfg := TopicConfig{Name: d[0], Value: &d[1], Source: sourceDefault}
		if v, ok := overrides[d[0]]; ok {
			cfg.Value, cfg.Source = &v, 1
		}
		out = append(out, cfg)
	}
	return out
}

func (testSchema) IsList(resourceType int8, name string) (list, known bool) {
	if resourceType == metadata.ResourceBroker {
		name = strings.TrimPrefix(name, "log.")
	}
	switch name {
	case "cleanup.policy", "throttled.replicas":
		return true, true
	case "retention.ms", "min.insync.replicas":
		return false, true
	}
	return false, false
}

func (testSchema) ListDefault(_ int8, name string) string {
	if strings.HasSuffix(name, "cleanup.policy") {
		return "delete"
	}
	return ""
}

func (testSchema) MinISR(overrides map[string]string, replicas int) int {
	if n, err := strconv.Atoi(overrides["min.insync.replicas"]); err == nil {
		return n
	}
	return metadata.DefaultMinISR(replicas)
}

func (testSchema) UncleanElection(overrides map[string]string) bool {
	return overrides["unclean.leader.election.enable"] == "true"
}

// testID has n in its first bytes, so that texts of identifiers in a test differ early.
func testID(n int) ids.UUID { return ids.UUID{0: byte(n >> 8), 1: byte(n), 15: 200} }

// newTestCore returns a Core of a cluster of the latest moldau.version that has nothing else.
func newTestCore(config CoreConfig) *Core {
	return coreOfLevel(config, metadata.LatestVersion)
}

func coreOfLevel(config CoreConfig, level int16) *Core {
	n := 0
	c := NewCore(config, testSchema{}, func() ids.UUID { n++; return testID(n) })
	d := metadata.NewDelta(nil)
	if err := d.Replay(&metadata.FeatureLevelRecord{Name: metadata.VersionFeature, FeatureLevel: level}); err != nil {
		panic(err)
	}
	c.Reset(d.Apply(0, 0))
	c.Lead(testTime)
	return c
}

var testConfig = CoreConfig{NumPartitions: 1, ReplicationFactor: 1, DeleteTopicEnable: true, SessionTimeout: 3 * time.Second}

// testTime is when the tests of Core begin.
var testTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// registration is what a process of a broker with these directories sends.
func registration(node, incarnation int, dirs ...ids.DirectoryID) *kmsg.BrokerRegistrationRequest {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.Version, req.BrokerID, req.IncarnationID = 4, int32(node), testID(incarnation)
	for _, f := range metadata.SupportedFeatures() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	for _, d := range dirs {
		req.LogDirs = append(req.LogDirs, d)
	}
	return req
}

// heartbeat is what the registered process of a broker sends that is at work, and has all metadata.
func heartbeat(c *Core, node int) *kmsg.BrokerHeartbeatRequest {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.CurrentMetadataOffset = int32(node), int64(c.committed.Offset)
	if b, ok := c.committed.Broker(ids.NodeID(node)); ok {
		req.BrokerEpoch = b.Epoch
	}
	return req
}

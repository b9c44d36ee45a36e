package controller

import (
	"fmt"
	"strconv"
	"strings"

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
	case "throttled.replicas":
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

// testID has n in its first bytes, so that texts of identifiers in a test differ early.
func testID(n int) ids.UUID { return ids.UUID{0: byte(n >> 8), 1: byte(n), 15: 200} }

func newTestCore(config CoreConfig) *Core {
	n := 0
	return NewCore(config, testSchema{}, func() ids.UUID { n++; return testID(n) })
}

var testConfig = CoreConfig{NumPartitions: 1, ReplicationFactor: 1, DeleteTopicEnable: true}

package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/metadata"
)

// Schema judges and lists configs for the controller. Its methods may be called by
// several goroutines at once.
type Schema struct {
	current func() *Broker
}

// NewSchema returns a Schema whose defaults are those of current, which returns the
// broker's configuration as it is now and may be called at any time.
func NewSchema(current func() *Broker) *Schema { return &Schema{current} }

// ValidateTopic judges everything that is set for a topic.
func (s *Schema) ValidateTopic(_ string, overrides map[string]string) error {
	if err := checkTopic(overrides); err != nil {
		return err
	}
	r := topicValues{overrides, &s.current().values}
	if least, most := r.number("min.compaction.lag.ms"), r.number("max.compaction.lag.ms"); least > most {
		return fmt.Errorf("min.compaction.lag.ms=%d is more than max.compaction.lag.ms=%d", least, most)
	}
	return nil
}

// ValidateBroker judges everything that is set dynamically for one broker, or for all
// of them where clusterDefault is true.
func (s *Schema) ValidateBroker(clusterDefault bool, overrides map[string]string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		errs = append(errs, checkDynamic(clusterDefault, name, overrides[name]))
	}
	if err := errors.Join(errs...); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

func checkDynamic(clusterDefault bool, name, text string) error {
	row := brokerByName[name]
	switch {
	case row == nil && withoutRow(name):
		return fmt.Errorf("%s has no effect in this version, so it cannot be set while brokers run", name)
	case row == nil:
		return unknown("broker", name, brokerNames)
	case row.Mode == ReadOnly:
		return fmt.Errorf("%s cannot be changed while brokers run; set it in the file and start the broker again", name)
	case row.Fixed:
		return fmt.Errorf("changing %s while brokers run is not built yet; set it in the file and start the broker again", name)
	case row.Mode == PerBroker && clusterDefault:
		return fmt.Errorf("%s cannot be set for all brokers; name a broker", name)
	}
	v, err := row.parse(text)
	if err != nil {
		return err
	}
	if name == "max.connections.per.ip.overrides" {
		if _, err := parseIPLimits(text); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return row.built(v)
}

// TopicConfig is one config of a new topic as CreateTopics answers it (KIP-525). Source
// is one of the Source constants.
type TopicConfig = struct {
	Name                string
	Value               *string
	Source              int8
	ReadOnly, Sensitive bool
}

// TopicConfigs lists every config of a topic for which overrides is set. Unlike
// DescribeConfigs it names the source of a default in another unit, log.retention.hours
// say (Java: KafkaConfigSchema.resolveEffectiveTopicConfig).
func (s *Schema) TopicConfigs(overrides map[string]string) []TopicConfig {
	b := s.current()
	r := topicValues{overrides, &b.values}
	var all []TopicConfig
	for i := range topicSettings {
		row := &topicSettings[i]
		_, own := overrides[row.Name]
		if row.Internal && !own {
			continue
		}
		c := TopicConfig{Name: row.Name, Source: SourceTopic}
		if parsed, set := r.get(row.Name); set {
			text := row.text(parsed)
			c.Value = &text
		}
		if !own {
			c.Source = b.values.source(row.Synonyms)
		}
		all = append(all, c)
	}
	return all
}

// source says where the strongest of the synonyms comes from.
func (v *values) source(synonyms []string) int8 {
	for _, from := range []struct {
		set    map[string]string
		source int8
	}{{v.dynamic.Broker, SourceBroker}, {v.dynamic.ClusterDefault, SourceClusterDefault}, {v.static, SourceStatic}} {
		for _, name := range synonyms {
			if _, ok := from.set[name]; ok {
				return from.source
			}
		}
	}
	return SourceDefault
}

// row returns the row of a name of a resource type of Kafka, nil where there is none.
func rowOf(resourceType int8, name string) *Setting {
	switch resourceType {
	case metadata.ResourceTopic:
		return topicByName[name]
	case metadata.ResourceBroker:
		return brokerByName[name]
	case metadata.ResourceGroup:
		return groupByName[name]
	}
	return nil
}

// IsList tells whether a config is a list, and whether its name is known at all.
func (s *Schema) IsList(resourceType int8, name string) (list, known bool) {
	row := rowOf(resourceType, name)
	if row == nil {
		return false, resourceType == metadata.ResourceBroker && withoutRow(name)
	}
	return row.Type == List, true
}

// MinISR is min.insync.replicas of a topic of that many replicas.
func (s *Schema) MinISR(overrides map[string]string, replicas int) int {
	r := topicValues{overrides, &s.current().values}
	t := Topic{minISR: r.minISR()}
	return t.MinISR(replicas)
}

// UncleanElection is unclean.leader.election.enable of a topic.
func (s *Schema) UncleanElection(overrides map[string]string) bool {
	enabled, _ := topicValues{overrides, &s.current().values}.get("unclean.leader.election.enable")
	return enabled.b
}

// ListDefault is what a list holds by default.
func (s *Schema) ListDefault(resourceType int8, name string) string {
	if row := rowOf(resourceType, name); row != nil && row.Type == List {
		return row.Default
	}
	return ""
}

package config

import (
	"maps"
	"slices"
	"strconv"
)

// Where a value comes from, with the numbers of the protocol (ConfigSource).
const (
	SourceTopic          int8 = 1
	SourceBroker         int8 = 2
	SourceClusterDefault int8 = 3
	SourceStatic         int8 = 4
	SourceDefault        int8 = 5
	SourceGroup          int8 = 8
)

// Described is one config as DescribeConfigs answers it.
type Described struct {
	Name      string
	Value     *string // nil where there is none, or it is sensitive
	Source    int8
	ReadOnly  bool
	Sensitive bool
	Type      Type
	Doc       string
	Synonyms  []Synonym // strongest first
}

// Synonym is one place that gives, or would give, a config its value.
type Synonym struct {
	Name   string
	Value  *string
	Source int8
}

// DescribeTopic lists every config of a topic of that many replicas.
func (b *Broker) DescribeTopic(overrides map[string]string, replicas int) []Described {
	r := topicValues{overrides, &b.values}
	topic := b.Topic(overrides)
	var all []Described
	for i := range topicSettings {
		row := &topicSettings[i]
		_, own := overrides[row.Name]
		if row.Internal && !own {
			continue
		}
		d := row.describe()
		if parsed, set := r.get(row.Name); set {
			d.setValue(row.text(parsed))
		}
		if len(row.Synonyms) > 0 {
			d.Synonyms = b.values.synonyms(row.Synonyms[0])
		}
		if own {
			d.Synonyms = slices.Insert(d.Synonyms, 0, Synonym{row.Name, d.Value, SourceTopic})
		}
		if row.Name == minISR && !r.explicit(minISR) {
			d.setValue(strconv.Itoa(topic.MinISR(replicas)))
			d.Synonyms = []Synonym{{minISR, d.Value, SourceDefault}}
		}
		d.setSource()
		all = append(all, d)
	}
	return all
}

// DescribeBroker lists every config of this broker that has a row.
func (b *Broker) DescribeBroker() []Described {
	all := make([]Described, 0, len(brokerSettings))
	for i := range brokerSettings {
		row := &brokerSettings[i]
		if row.Internal {
			continue
		}
		d := row.describe()
		d.ReadOnly = row.Mode == ReadOnly
		if parsed, set := b.values.get(row.Name); set {
			d.setValue(row.text(parsed))
		}
		d.Synonyms = b.values.synonyms(row.Name)
		d.setSource()
		all = append(all, d)
	}
	return all
}

// DescribeGroup lists every config of a group for which overrides is set.
func (b *Broker) DescribeGroup(overrides map[string]string) []Described {
	var all []Described
	for i := range groupSettings {
		row := &groupSettings[i]
		d := row.describe()
		text, own := overrides[row.Name]
		if !own {
			parsed, _ := b.values.get(row.Synonyms[0])
			text = row.text(parsed)
		}
		d.setValue(text)
		d.Synonyms = b.values.synonyms(row.Synonyms[0])
		if own {
			d.Synonyms = slices.Insert(d.Synonyms, 0, Synonym{row.Name, d.Value, SourceGroup})
		}
		d.setSource()
		all = append(all, d)
	}
	return all
}

// DescribeClusterDefault lists what is set for all brokers.
func (b *Broker) DescribeClusterDefault() []Described {
	set := b.values.dynamic.ClusterDefault
	var all []Described
	for _, name := range slices.Sorted(maps.Keys(set)) {
		row := brokerByName[name]
		if row == nil {
			continue
		}
		d := row.describe()
		d.ReadOnly = row.Mode == ReadOnly
		if parsed, err := row.parse(set[name]); err == nil {
			d.setValue(row.text(parsed))
		}
		d.Synonyms = slices.DeleteFunc(b.values.synonyms(name), func(s Synonym) bool { return s.Source != SourceClusterDefault })
		d.setSource()
		all = append(all, d)
	}
	return all
}

func (s *Setting) describe() Described {
	return Described{Name: s.Name, Type: s.Type, Sensitive: s.Type == Password, Doc: s.Doc}
}

func (d *Described) setValue(text string) {
	if !d.Sensitive {
		d.Value = &text
	}
}

func (d *Described) setSource() {
	d.Source = SourceDefault
	if len(d.Synonyms) > 0 {
		d.Source = d.Synonyms[0].Source
	}
}

// synonyms lists the places that give a broker's config its value: all dynamic ones of
// this broker, then of all brokers, then static, then defaults. Those in front of the
// first that has the very name are dropped, as Kafka does, so that a value which only a
// synonym in another unit gives is said to be a default (Java: ConfigHelper.configSynonyms).
func (v *values) synonyms(name string) []Synonym {
	row := brokerByName[name]
	names := row.Synonyms
	if names == nil {
		names = []string{name}
	}
	var all []Synonym
	add := func(name, text string, source int8) {
		s := Synonym{Name: name, Source: source}
		if row.Type != Password {
			s.Value = &text
		}
		all = append(all, s)
	}
	for _, from := range []struct {
		set    map[string]string
		source int8
	}{{v.dynamic.Broker, SourceBroker}, {v.dynamic.ClusterDefault, SourceClusterDefault}, {v.static, SourceStatic}} {
		for _, n := range names {
			if text, ok := from.set[n]; ok {
				add(n, text, from.source)
			}
		}
	}
	for _, n := range names {
		if r := brokerByName[n]; !r.NoValue {
			add(n, r.Default, SourceDefault)
		}
	}
	first := slices.IndexFunc(all, func(s Synonym) bool { return s.Name == name })
	if first < 0 {
		return nil
	}
	return all[first:]
}

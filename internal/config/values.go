package config

import (
	"maps"
	"slices"
)

// Dynamic is what the metadata holds for brokers. Neither map is changed.
type Dynamic struct {
	ClusterDefault map[string]string // of all brokers
	Broker         map[string]string // of this broker
}

// values are the texts of broker settings by where they come from.
type values struct {
	static  map[string]string
	dynamic Dynamic

	// merged is what counts. A dynamic setting sets aside its static synonyms: with
	// log.retention.ms set dynamically a static log.retention.hours does not even show
	// (Java: DynamicBrokerConfig.overrideProps).
	merged map[string]string
}

// merge makes merged of the others. What does not pass its row is left out: it was
// stored by a version with another table.
func (v *values) merge() {
	v.merged = maps.Clone(v.static)
	if v.merged == nil {
		v.merged = make(map[string]string)
	}
	for _, layer := range []map[string]string{v.dynamic.ClusterDefault, v.dynamic.Broker} {
		for name, text := range layer {
			row := brokerByName[name]
			if row == nil || row.Mode == ReadOnly || row.Fixed {
				continue
			}
			if parsed, err := row.parse(text); err != nil || row.built(parsed) != nil {
				continue
			}
			for _, synonym := range row.Synonyms {
				delete(v.merged, synonym)
			}
			v.merged[name] = text
		}
	}
}

// get returns the value of a setting, its default where nothing is set; set is false
// where that leaves nothing.
func (v *values) get(name string) (parsed value, set bool) {
	row := brokerByName[name]
	if text, ok := v.merged[name]; ok {
		if parsed, err := row.parse(text); err == nil {
			return parsed, true
		}
	}
	if row.NoValue {
		return value{}, false
	}
	parsed, _ = row.parse(row.Default)
	return parsed, true
}

// explicit tells whether a setting is set and not its default.
func (v *values) explicit(name string) bool {
	_, ok := v.merged[name]
	return ok
}

func (v *values) number(name string) int64 {
	parsed, _ := v.get(name)
	return parsed.n
}

func (v *values) double(name string) float64 {
	parsed, _ := v.get(name)
	return parsed.f
}

func (v *values) flag(name string) bool {
	parsed, _ := v.get(name)
	return parsed.b
}

func (v *values) str(name string) string {
	parsed, _ := v.get(name)
	return parsed.s
}

func (v *values) list(name string) []string {
	parsed, _ := v.get(name)
	return slices.Clone(parsed.list)
}

// unitMs is how many milliseconds a unit has; 1 for what is no time.
func unitMs(unit string) int64 {
	switch unit {
	case "hours":
		return 3600 * 1000
	case "minutes":
		return 60 * 1000
	}
	return 1
}

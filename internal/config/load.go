package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// ReadFile reads YAML where the file's name ends in .yaml or .yml, else properties.
func ReadFile(file string, content []byte) ([]Entry, error) {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".yaml", ".yml":
		return ReadYAML(file, content)
	}
	return ReadProperties(file, content)
}

// envPrefix begins the variables of the environment that are settings.
const envPrefix = "MOLDAU_"

// ReadEnviron turns MOLDAU_LOG_DIRS=x into log.dirs=x. Names in reserved, given without
// the prefix, are for others and left alone.
func ReadEnviron(environ []string, reserved ...string) []Entry {
	var entries []Entry
	for _, e := range environ {
		variable, value, ok := strings.Cut(e, "=")
		name, ours := strings.CutPrefix(variable, envPrefix)
		if !ok || !ours || name == "" || slices.Contains(reserved, name) {
			continue
		}
		name = strings.ReplaceAll(strings.ToLower(name), "_", ".")
		entries = append(entries, Entry{Name: name, Value: value, Where: "environment variable " + variable})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}

// ReadOverrides reads NAME=VALUE arguments of --override.
func ReadOverrides(args []string) ([]Entry, error) {
	var entries []Entry
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("--override %s: write it as NAME=VALUE", arg)
		}
		entries = append(entries, Entry{Name: name, Value: value, Where: "--override"})
	}
	return entries, nil
}

// New makes the configuration of a broker from layers of entries; a later layer wins.
// Its error names everything that is wrong, each with its place.
func New(layers ...[]Entry) (*Broker, error) {
	l := loader{entries: make(map[string]Entry)}
	for _, layer := range layers {
		l.add(layer)
	}
	l.nodeID()
	static := l.checkEntries()
	if err := errors.Join(l.errs...); err != nil {
		return nil, err
	}
	b := &Broker{values: values{static: static}, where: make(map[string]string)}
	b.WithoutEffect, b.Warnings = l.withoutEffect, l.warnings
	for name, e := range l.entries {
		b.where[name] = e.Where
	}
	b.values.merge()
	if err := b.resolve(); err != nil {
		return nil, err
	}
	return b, nil
}

// loader gathers what New is given.
type loader struct {
	entries       map[string]Entry
	withoutEffect []string
	warnings      []string
	errs          []error
}

// add lays one source over what is there. A name that a source gives twice has the last
// of its values, as in Kafka, and a warning.
func (l *loader) add(layer []Entry) {
	seen := make(map[string]string)
	for _, e := range layer {
		if first, twice := seen[e.Name]; twice {
			l.warnings = append(l.warnings, fmt.Sprintf("%s: %s was already given at %s; this one counts", e.Where, e.Name, first))
		}
		seen[e.Name] = e.Where
		l.entries[e.Name] = e
	}
}

// nodeID makes broker.id, the older name, mean node.id.
func (l *loader) nodeID() {
	old, ok := l.entries["broker.id"]
	if !ok {
		return
	}
	delete(l.entries, "broker.id")
	if now, both := l.entries["node.id"]; both && strings.TrimSpace(now.Value) != strings.TrimSpace(old.Value) {
		l.errs = append(l.errs, fmt.Errorf("%s: broker.id=%s is not node.id=%s (%s); delete broker.id", old.Where, old.Value, now.Value, now.Where))
		return
	}
	l.entries["node.id"] = Entry{Name: "node.id", Value: old.Value, Where: old.Where}
}

// checkEntries judges each entry alone and returns the values of those that have rows.
func (l *loader) checkEntries() map[string]string {
	static := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(l.entries)) {
		e := l.entries[name]
		if err := l.checkEntry(e); err != nil {
			l.errs = append(l.errs, fmt.Errorf("%s: %w", e.Where, err))
			continue
		}
		if brokerByName[name] != nil {
			static[name] = e.Value
		}
	}
	return static
}

func (l *loader) checkEntry(e Entry) error {
	row := brokerByName[e.Name]
	switch {
	case row == nil && !withoutRow(e.Name):
		return unknown("broker", e.Name, brokerNames)
	case row == nil:
		if err := refuseUnsafe(e.Name, e.Value); err != nil {
			return err
		}
		l.withoutEffect = append(l.withoutEffect, e.Name)
		return nil
	}
	v, err := row.parse(e.Value)
	if err != nil {
		return err
	}
	if err := row.built(v); err != nil {
		return err
	}
	if row.NoEffect {
		l.withoutEffect = append(l.withoutEffect, e.Name)
	}
	return nil
}

// built refuses a value that asks for what is not built yet.
func (s *Setting) built(v value) error {
	if s.NotBuilt != "" && s.text(v) != s.Default {
		return fmt.Errorf("%s=%s: %s is not built yet; only %s is", s.Name, s.text(v), s.NotBuilt, s.Default)
	}
	return nil
}

// unsafe are names without a row whose values promise what is not kept: what they may
// be set to all the same, and what is missing.
var unsafe = map[string]struct{ harmless, missing string }{
	"alter.config.policy.class.name":   {"", "policies are not built yet, so nothing would hold clients to it"},
	"authorizer.class.name":            {"", "access control is not built yet, so everyone could do everything"},
	"client.quota.callback.class":      {"", "quotas are not built yet"},
	"config.providers":                 {"", "values from config providers are not built yet, so ${...} would stay as it is"},
	"cordoned.log.dirs":                {"", "cordoning is not built yet, so new partitions would still go there"},
	"create.topic.policy.class.name":   {"", "policies are not built yet, so nothing would hold clients to it"},
	"remote.log.storage.system.enable": {"false", "tiered storage is not built yet"},
	"sasl.enabled.mechanisms":          {"", "authentication is not built yet, so nobody would be asked who they are"},
	"ssl.client.auth":                  {"none", "encryption and authentication are not built yet"},
}

func refuseUnsafe(name, value string) error {
	base := name
	if rest, ok := listenerOverride(name); ok {
		base = rest
		if row := brokerByName[rest]; row != nil {
			_, err := row.parse(value)
			return err
		}
	}
	u, ok := unsafe[base]
	if value = strings.TrimSpace(value); !ok || value == "" || strings.EqualFold(value, u.harmless) {
		return nil
	}
	return fmt.Errorf("%s=%s: %s; delete the line to run without it", name, value, u.missing)
}

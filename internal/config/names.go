package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The rows by name.
var (
	brokerByName = byName(brokerSettings)
	topicByName  = byName(topicSettings)
	groupByName  = byName(groupSettings)
	otherNames   = nameSet(kafkaNames)
	brokerNames  = slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(brokerByName)), kafkaNames...)))
	topicNames   = slices.Sorted(maps.Keys(topicByName))
	groupNames   = slices.Sorted(maps.Keys(groupByName))
)

func byName(rows []Setting) map[string]*Setting {
	m := make(map[string]*Setting, len(rows))
	for i := range rows {
		m[rows[i].Name] = &rows[i]
	}
	return m
}

func nameSet(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, name := range names {
		m[name] = true
	}
	return m
}

// kafkaPrefixes begin the names that Kafka hands to plug-ins.
var kafkaPrefixes = []string{"rsm.config.", "rlmm.config.", "config.providers."}

const listenerPrefix = "listener.name."

// removedNames are names that older Kafkas had, and what became of them.
var removedNames = map[string]string{
	"zookeeper.connect":                       "there is no ZooKeeper any more; controller.quorum.voters took its place",
	"inter.broker.protocol.version":           "features took its place",
	"log.message.format.version":              "every record has the format of version 2",
	"log.message.downconversion.enable":       "records are never converted to older formats",
	"log.message.timestamp.difference.max.ms": "log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms took its place",
	"broker.id.generation.enable":             "node.id is always given",
	"reserved.broker.max.id":                  "node.id is always given",
	"control.plane.listener.name":             "controller.listener.names took its place",
	"offsets.commit.required.acks":            "commits always wait for all in-sync replicas",
	"auto.include.jmx.reporter":               "metric.reporters took its place",
	"group.coordinator.new.enable":            "there is one coordinator only",
}

// withoutRow tells whether name is one of Kafka's that no row describes.
func withoutRow(name string) bool {
	if otherNames[name] {
		return true
	}
	for _, prefix := range kafkaPrefixes {
		if strings.HasPrefix(name, prefix) && len(name) > len(prefix) {
			return true
		}
	}
	rest, ok := listenerOverride(name)
	return ok && (otherNames[rest] || brokerByName[rest] != nil)
}

// listenerOverride returns the setting that a listener.name.LISTENER. form overrides
// for one listener; a SASL mechanism may stand before it.
func listenerOverride(name string) (rest string, ok bool) {
	after, ok := strings.CutPrefix(name, listenerPrefix)
	if !ok {
		return "", false
	}
	listener, rest, ok := strings.Cut(after, ".")
	if !ok || listener == "" {
		return "", false
	}
	if mechanism, setting, ok := strings.Cut(rest, "."); ok && mechanism != "sasl" && strings.HasPrefix(setting, "sasl.") {
		rest = setting
	}
	return rest, true
}

// unknown says that nobody knows name, and what may have been meant.
func unknown(kind, name string, known []string) error {
	if why, ok := removedNames[name]; ok || strings.HasPrefix(name, "zookeeper.") {
		if !ok {
			why = removedNames["zookeeper.connect"]
		}
		return fmt.Errorf("%s was removed from Apache Kafka (%s); delete it", name, why)
	}
	if near := nearest(name, known); near != "" {
		return fmt.Errorf("unknown %s config name %s; did you mean %s?", kind, name, near)
	}
	return fmt.Errorf("unknown %s config name %s; docs/configuration.md lists all", kind, name)
}

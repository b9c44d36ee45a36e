package controller

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/metadata"
)

const (
	topicNameBytesMax = 249
	// metadataTopic cannot be made by a client: it is the controller's own log.
	metadataTopic = "__cluster_metadata"
)

// checkTopicName refuses what cannot name a topic, for it also names a directory.
func checkTopicName(name string) *Refusal {
	switch {
	case name == "":
		return refuse(kerr.InvalidTopicException, "a topic name must not be empty")
	case name == "." || name == "..":
		return refuse(kerr.InvalidTopicException, "%q names a directory and cannot name a topic", name)
	case len(name) > topicNameBytesMax:
		return refuse(kerr.InvalidTopicException, "a topic name of %d characters is too long, at most %d are allowed", len(name), topicNameBytesMax)
	}
	for i := range len(name) {
		if !isTopicNameByte(name[i]) {
			return refuse(kerr.InvalidTopicException, "topic name %q has characters other than ASCII letters, digits, '.', '_' and '-'", name)
		}
	}
	return nil
}

func isTopicNameByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '.' || b == '_' || b == '-'
}

// collidingTopic finds a topic whose name equals name once '.' and '_' are the same,
// as they are in names of metrics. It walks the ordered names: for each '.' or '_' of
// name it looks whether topics begin with either, so no index of its own is needed.
func collidingTopic(img *metadata.Image, name string) (string, bool) {
	return findColliding(img, "", name)
}

// findColliding looks among the topics that begin with prefix for one that goes on like rest.
func findColliding(img *metadata.Image, prefix, rest string) (string, bool) {
	i := strings.IndexAny(rest, "._")
	if i < 0 {
		full := prefix + rest
		_, ok := img.Topic(full)
		return full, ok
	}
	for _, c := range [2]string{".", "_"} {
		next := prefix + rest[:i] + c
		if !anyTopicBegins(img, next) {
			continue
		}
		if found, ok := findColliding(img, next, rest[i+1:]); ok {
			return found, true
		}
	}
	return "", false
}

func anyTopicBegins(img *metadata.Image, prefix string) bool {
	for t := range img.TopicsFrom(prefix) {
		return strings.HasPrefix(t.Name, prefix)
	}
	return false
}

// Package suites holds the versions of the packages whose own tests run.sh has run against a broker.
package suites

import (
	_ "github.com/segmentio/kafka-go" // its tests
	_ "github.com/twmb/franz-go/pkg/kgo"
)

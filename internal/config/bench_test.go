package config

import "testing"

// BenchmarkTopic resolves what a broker asks for once a topic at a start.
func BenchmarkTopic(b *testing.B) {
	broker, err := New([]Entry{{Name: "node.id", Value: "1"}})
	if err != nil {
		b.Fatal(err)
	}
	overrides := map[string]string{"retention.ms": "1000", "segment.bytes": "2000000"}
	b.ReportAllocs()
	for b.Loop() {
		broker.Topic(overrides)
	}
}

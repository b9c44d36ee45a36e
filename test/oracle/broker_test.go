package oracle

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/moldau/moldau/internal/broker"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/vfs"
)

// properties are those that test/kafka/kafka.sh gives the Apache Kafka whose answers are recorded.
const properties = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:19993
listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:19993
advertised.listeners=PLAINTEXT://127.0.0.1:19992
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=%s
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
`

// startBroker starts the broker of this tree in this process, on an empty directory, and returns its address; it ends
// with the test.
func startBroker(t *testing.T) string {
	t.Helper()
	entries, err := config.ReadProperties("server.properties", fmt.Appendf(nil, properties, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(cfg, broker.Deps{FS: vfs.OS, Listen: net.Listen, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b.Addr()
}

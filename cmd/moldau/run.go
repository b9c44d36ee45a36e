package main

import (
	"context"
	"log/slog"
	"net"

	"github.com/moldau/moldau/internal/broker"
	"github.com/moldau/moldau/internal/cli"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/server"
	"github.com/moldau/moldau/internal/vfs"
)

func deps(logger *slog.Logger) broker.Deps {
	listen := func(_, address string) (net.Listener, error) { return server.Listen(context.Background(), address) }
	return broker.Deps{FS: vfs.OS, Listen: listen, Dial: new(net.Dialer).DialContext, Logger: logger}
}

func startBroker(ctx context.Context, cfg *config.Broker, logger *slog.Logger) (cli.Broker, error) {
	b, err := broker.New(cfg, deps(logger))
	if err != nil {
		return nil, err
	}
	if err := b.Start(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

func adoptTopics(ctx context.Context, cfg *config.Broker, logger *slog.Logger, dir string) ([]cli.Adopted, error) {
	adopted, err := broker.Adopt(ctx, cfg, deps(logger), dir)
	var out []cli.Adopted
	for _, a := range adopted {
		out = append(out, cli.Adopted(a))
	}
	return out, err
}

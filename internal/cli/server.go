package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/moldau/moldau/internal/config"
)

// stopTimeout bounds a clean stop; what is not closed by then is recovered at the next start.
const stopTimeout = 30 * time.Second

// gcPercent trades memory for time: a broker's heap is small and its garbage comes fast.
const gcPercent = 400

// reservedEnv are the variables with our prefix that are no settings of brokers.
var reservedEnv = []string{strings.TrimPrefix(brokersEnv, "MOLDAU_")}

// configFlags say where the configuration of a broker comes from.
type configFlags struct {
	file      string
	overrides []string
}

func (f *configFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "the file of settings: Kafka's server.properties, or YAML (.yaml, .yml)")
	_ = cmd.MarkFlagFilename("config", "properties", "yaml", "yml")
	f.addOverrides(cmd)
}

func (f *configFlags) addOverrides(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.overrides, "override", nil, "a setting that counts more than the file, NAME=VALUE; may be repeated")
}

// load reads the settings of the file, over them those of the environment, over them
// those that the command itself gives, and over all --override.
func (f *configFlags) load(p *Program, given []config.Entry) (*config.Broker, error) {
	var fromFile []config.Entry
	if f.file != "" {
		content, err := os.ReadFile(f.file)
		if err != nil {
			return nil, fmt.Errorf("cannot read the settings: %w; name a file that is there and readable with --config", err)
		}
		if fromFile, err = config.ReadFile(f.file, content); err != nil {
			return nil, wrongSettings(err)
		}
	}
	overrides, err := config.ReadOverrides(f.overrides)
	if err != nil {
		return nil, usagef("%v", err)
	}
	cfg, err := config.New(fromFile, config.ReadEnviron(p.Environ, reservedEnv...), given, overrides)
	if err != nil {
		return nil, wrongSettings(err)
	}
	return cfg, nil
}

// wrongSettings puts every problem on a line of its own.
func wrongSettings(err error) error {
	if lines := err.Error(); strings.Contains(lines, "\n") {
		return fmt.Errorf("the settings have several problems:\n  %s", strings.ReplaceAll(lines, "\n", "\n  "))
	}
	return err
}

func (p *Program) server() *cobra.Command {
	var cfgFlags configFlags
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run a broker or a controller with a configuration file",
		Long: `Run a node: a broker, a controller or both, as process.roles says. The file may be the server.properties of Apache Kafka as it is, or YAML. Variables of the
environment count more than the file (MOLDAU_LOG_DIRS for log.dirs), --override more than both.
An empty data directory is made ready by itself. SIGTERM stops cleanly.`,
		Example: "  moldau server --config server.properties --override log.dirs=/data",
		Args:    names(0, 0, "no arguments"),
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			logger, err := logs.logger(p)
			if err != nil {
				return err
			}
			cfg, err := cfgFlags.load(p, nil)
			if err != nil {
				return err
			}
			return p.serve(cmd.Context(), cfg, logger, func(b Broker) error {
				logger.Info("ready", "address", b.Addr())
				return nil
			})
		}),
	}
	cfgFlags.add(cmd)
	logs.add(cmd, "info")
	return cmd
}

// serve runs a broker until ctx is done. ready is called once it serves.
func (p *Program) serve(ctx context.Context, cfg *config.Broker, logger *slog.Logger, ready func(Broker) error) error {
	if v, _ := p.getenv("GOGC"); v == "" {
		debug.SetGCPercent(gcPercent)
	}
	if len(cfg.WithoutEffect) > 0 {
		logger.Info("settings without effect yet", "names", strings.Join(cfg.WithoutEffect, ","))
	}
	for _, w := range cfg.Warnings {
		logger.Warn(w)
	}
	b, err := p.StartBroker(ctx, cfg, logger)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) { // a node may wait long for the others, and be told not to
			logger.Info("stopped before it was ready", "err", err)
			return nil
		}
		return err
	}
	runErr := ready(b)
	if runErr == nil {
		select {
		case <-ctx.Done():
			logger.Info("stopping")
		case why := <-b.Failed():
			runErr = fmt.Errorf("the broker cannot go on: %w", why)
		}
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := b.Stop(stopping); err != nil {
		return errors.Join(runErr, fmt.Errorf("the broker did not stop cleanly: %w; the next start recovers its logs", err))
	}
	if runErr == nil {
		logger.Info("stopped")
	}
	return runErr
}

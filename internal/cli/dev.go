package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/moldau/moldau/internal/config"
)

const devHost = "127.0.0.1"

// devFlags are those of dev.
type devFlags struct {
	port  int
	nodes int
	data  string
	configFlags
	logs logFlags
}

func (p *Program) dev() *cobra.Command {
	var flags devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a broker on this machine, no configuration needed",
		Long: `Run a broker for development at 127.0.0.1:9092. Its data is in a temporary directory that goes when it stops,
or in --data, which stays. With --nodes 3 it is a cluster of three processes, at this port and those after it.`,
		Args: names(0, 0, "no arguments"),
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			logger, err := flags.logs.logger(p)
			if err != nil {
				return err
			}
			if flags.port < 0 || flags.port > 65535 {
				return usagef("--port %d: it must be between 0 and 65535", flags.port)
			}
			if strings.Contains(flags.data, ",") {
				return usagef("--data %s: a comma separates directories in the settings; name one without", flags.data)
			}
			if err := flags.checkNodes(); err != nil {
				return err
			}
			dir, remove, err := flags.dataDir()
			if err != nil {
				return err
			}
			defer remove()
			if flags.nodes > 1 {
				return p.devCluster(cmd.Context(), &flags, dir)
			}
			cfg, err := flags.load(p, devSettings(flags.port, dir))
			if err != nil {
				return err
			}
			err = p.serve(cmd.Context(), cfg, logger, func(b Broker) error {
				return printWelcome(p.Stdout, []string{b.Addr()}, strings.Join(cfg.LogDirs, ", "), cfg.LogDirs[0] != dir || flags.data != "")
			})
			if errors.Is(err, syscall.EADDRINUSE) {
				err = fmt.Errorf("%w; --port names another", err)
			}
			return err
		}),
	}
	cmd.Flags().IntVar(&flags.port, "port", 9092, "the port to listen on; 0 lets the system choose")
	cmd.Flags().IntVar(&flags.nodes, "nodes", 1, "how many nodes: 1, 3 or 5")
	cmd.Flags().StringVar(&flags.data, "data", "", "a directory for the data, which stays when the broker stops")
	_ = cmd.MarkFlagDirname("data")
	flags.addOverrides(cmd)
	flags.logs.add(cmd, "warn")
	return cmd
}

// dataDir returns the directory of the data and what to do with it at the end.
func (f *devFlags) dataDir() (dir string, remove func(), err error) {
	if f.data != "" {
		dir, err = filepath.Abs(f.data)
		return dir, func() {}, err
	}
	if dir, err = os.MkdirTemp("", "moldau-dev-"); err != nil {
		return "", nil, fmt.Errorf("making a directory for the data: %w; name one with --data", err)
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}

// devSettings are those of a broker that nobody configured. They count more than the
// environment: what is meant for a server must not lend its data to dev.
func devSettings(port int, dir string) []config.Entry {
	return []config.Entry{
		devSetting("node.id", "1"),
		devSetting("listeners", "PLAINTEXT://"+devAddress(port)),
		devSetting("log.dirs", dir),
	}
}

func devSetting(name, value string) config.Entry {
	return config.Entry{Name: name, Value: value, Where: "moldau dev"}
}

func devAddress(port int) string { return net.JoinHostPort(devHost, strconv.Itoa(port)) }

var welcome = template.Must(template.New("welcome").Parse(`Moldau is ready at {{.Addr}}
Data is in {{.Dir}}{{if .Stays}}, and stays there{{else}}, and goes when this stops (Ctrl-C){{end}}

  moldau   echo hello | moldau put words{{.Flag}} && moldau cat words -e{{.Flag}}
  kcat     echo hello | kcat -b {{.Addr}} -t words -P && kcat -b {{.Addr}} -t words -C -e
  Python   from confluent_kafka import Producer
           p = Producer({"bootstrap.servers": "{{.Addr}}"}); p.produce("words", "hello"); p.flush()
  Go       client, err := kgo.NewClient(kgo.SeedBrokers({{.Seeds}}), kgo.ConsumeTopics("words"))
`))

// printWelcome says where the brokers are and how to talk to them.
func printWelcome(w io.Writer, addrs []string, dir string, stays bool) error {
	addr, flag := strings.Join(addrs, ","), ""
	if addr != defaultBrokers {
		flag = " -b " + addr
	}
	return welcome.Execute(w, struct {
		Addr, Seeds, Dir, Flag string
		Stays                  bool
	}{addr, `"` + strings.Join(addrs, `", "`) + `"`, dir, flag, stays})
}

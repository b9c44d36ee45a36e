package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/moldau/moldau/internal/config"
)

// adoptedTopic is one element of topic adopt -o json.
type adoptedTopic struct {
	Name       string `json:"name"`
	ID         string `json:"id"`
	Partitions int    `json:"partitions"`
}

func (p *Program) topicAdopt() *cobra.Command {
	var cfgFlags configFlags
	var output outputFlag
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "adopt DIR",
		Short: "Register partitions that were copied from a stopped Kafka",
		Long: `Register the partition directories (TOPIC-0, TOPIC-1, ...) in DIR that came from a stopped Apache Kafka, under
the id in their partition.metadata. DIR is a data directory of the broker that --config describes, or,
without --config, the --data directory of moldau dev. The broker must be stopped.`,
		Example: `  cp -r /kafka-logs/orders-* /data && moldau topic adopt /data --config server.properties`,
		Args:    names(1, 1, "one directory"),
		RunE: run(func(cmd *cobra.Command, args []string) error {
			logger, err := logs.logger(p)
			if err != nil {
				return err
			}
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			var given []config.Entry
			if cfgFlags.file == "" {
				given = devSettings(0, dir)
			}
			cfg, err := cfgFlags.load(p, given)
			if err != nil {
				return err
			}
			adopted, err := p.AdoptTopics(cmd.Context(), cfg, logger, dir)
			if err != nil {
				return fmt.Errorf("adopting the topics in %s: %w", dir, err)
			}
			return p.printAdopted(adopted, &output)
		}),
	}
	cfgFlags.add(cmd)
	output.add(cmd, "table", "json")
	logs.add(cmd, "warn")
	return cmd
}

func (p *Program) printAdopted(adopted []Adopted, output *outputFlag) error {
	list := []adoptedTopic{}
	for _, a := range adopted {
		list = append(list, adoptedTopic{a.Topic, a.ID.String(), a.Partitions})
	}
	if output.json() {
		return printJSON(p.Stdout, list)
	}
	tab := newTable(p.Stdout, "NAME", "ID", "PARTITIONS")
	for _, a := range list {
		tab.row(a.Name, a.ID, a.Partitions)
	}
	return tab.flush()
}

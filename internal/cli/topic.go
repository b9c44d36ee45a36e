package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
)

func (p *Program) topic() *cobra.Command {
	return group("topic", "List, create, describe, remove and adopt topics",
		p.topicList(), p.topicCreate(), p.topicDescribe(), p.topicRemove(), p.topicAdopt())
}

// listedTopic is one element of topic ls -o json.
type listedTopic struct {
	Name       string `json:"name"`
	ID         string `json:"id"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	Internal   bool   `json:"internal"`
}

// topicID writes an id as Kafka does; "" where the broker gives none.
func topicID(id kadm.TopicID) string {
	if u := ids.UUID(id); !u.IsZero() {
		return u.String()
	}
	return ""
}

func (p *Program) topicList() *cobra.Command {
	client, output, internal := clientFlags{p: p}, outputFlag{}, false
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List topics",
		Args:    names(0, 0, "no arguments"),
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			return client.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
				topics, err := admin.ListTopicsWithInternal(ctx)
				if err != nil {
					return fmt.Errorf("listing topics: %w", err)
				}
				if !internal {
					topics.FilterInternal()
				}
				return p.printTopics(topics.Sorted(), &output)
			})
		}),
	}
	client.add(cmd)
	output.add(cmd, "table", "json")
	cmd.Flags().BoolVar(&internal, "internal", false, "list the broker's own topics too")
	return cmd
}

func (p *Program) printTopics(topics []kadm.TopicDetail, output *outputFlag) error {
	list := []listedTopic{}
	for _, t := range topics {
		list = append(list, listedTopic{t.Topic, topicID(t.ID), len(t.Partitions), t.Partitions.NumReplicas(), t.IsInternal})
	}
	if output.json() {
		return printJSON(p.Stdout, list)
	}
	tab := newTable(p.Stdout, "NAME", "PARTITIONS", "REPLICAS")
	for _, t := range list {
		tab.row(t.Name, t.Partitions, t.Replicas)
	}
	return tab.flush()
}

// createFlags are those of topic create.
type createFlags struct {
	partitions  int32
	replicas    int16
	configs     []string
	ifNotExists bool
	dryRun      bool
}

func (p *Program) topicCreate() *cobra.Command {
	client, output, flags := clientFlags{p: p}, outputFlag{}, createFlags{}
	cmd := &cobra.Command{
		Use:   "create NAME...",
		Short: "Create topics",
		Long: `Create topics. Each replica of a partition is on a broker of its own. Three stand the loss of any one of these, with what was
acknowledged to acks=all; moldau topic describe says what is promised.`,
		Example: "  moldau topic create orders -p 8 -c retention.ms=86400000\n  moldau topic create payments -p 8 -r 3",
		Args:    names(1, -1, "at least one topic"),
		RunE: run(func(cmd *cobra.Command, names []string) error {
			configs, err := keyValues("--config", flags.configs)
			if err != nil {
				return err
			}
			if flags.partitions < 1 && flags.partitions != -1 || flags.replicas < 1 && flags.replicas != -1 {
				return usagef("--partitions and --replicas must be 1 or more, or -1 for the broker's default")
			}
			return client.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
				create := admin.CreateTopics
				if flags.dryRun {
					create = admin.ValidateCreateTopics
				}
				created, err := create(ctx, flags.partitions, flags.replicas, configs, names...)
				if err != nil {
					return fmt.Errorf("creating topics: %w", err)
				}
				return p.printCreated(created.Sorted(), &flags, &output)
			})
		}),
	}
	client.add(cmd)
	output.add(cmd, "table", "json")
	cmd.Flags().Int32VarP(&flags.partitions, "partitions", "p", -1, "how many partitions; -1 is the broker's num.partitions")
	cmd.Flags().Int16VarP(&flags.replicas, "replicas", "r", -1, "how many replicas; -1 is the broker's default.replication.factor")
	cmd.Flags().StringArrayVarP(&flags.configs, "config", "c", nil, "a config of the topic, NAME=VALUE; may be repeated")
	cmd.Flags().BoolVar(&flags.ifNotExists, "if-not-exists", false, "a topic that is there already is no error")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "only check whether they could be created")
	return cmd
}

// keyValues reads NAME=VALUE arguments of a flag.
func keyValues(flag string, args []string) (map[string]*string, error) {
	m := make(map[string]*string)
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, usagef("%s %s: write it as NAME=VALUE", flag, arg)
		}
		if _, twice := m[name]; twice {
			return nil, usagef("%s %s: %s is given twice", flag, arg, name)
		}
		m[name] = &value
	}
	return m, nil
}

// createdTopic is one element of topic create -o json.
type createdTopic struct {
	Name       string `json:"name"`
	ID         string `json:"id,omitempty"` // this and the next two only where it was created
	Partitions int32  `json:"partitions,omitempty"`
	Replicas   int16  `json:"replicas,omitempty"`
	Existed    bool   `json:"existed"`
}

func (p *Program) printCreated(topics []kadm.CreateTopicResponse, flags *createFlags, output *outputFlag) error {
	var errs []error
	list := []createdTopic{}
	for _, t := range topics {
		existed := errors.Is(t.Err, kerr.TopicAlreadyExists)
		if t.Err != nil && !(existed && flags.ifNotExists) {
			errs = append(errs, topicProblem(t.Topic, t.Err, t.ErrMessage))
			continue
		}
		c := createdTopic{Name: t.Topic, Existed: existed}
		if !existed {
			c.ID, c.Partitions, c.Replicas = topicID(t.ID), t.NumPartitions, t.ReplicationFactor
		}
		list = append(list, c)
	}
	if output.json() {
		errs = append(errs, printJSON(p.Stdout, list))
	} else if len(list) > 0 {
		tab := newTable(p.Stdout, "NAME", "PARTITIONS", "REPLICAS", "RESULT")
		for _, t := range list {
			result := "created"
			switch {
			case t.Existed:
				tab.row(t.Name, "-", "-", "was there already")
				continue
			case flags.dryRun:
				result = "could be created"
			}
			tab.row(t.Name, t.Partitions, t.Replicas, result)
		}
		errs = append(errs, tab.flush())
	}
	return errors.Join(errs...)
}

func (p *Program) topicRemove() *cobra.Command {
	client, output, ifExists := clientFlags{p: p}, outputFlag{}, false
	cmd := &cobra.Command{
		Use:     "rm NAME...",
		Aliases: []string{"delete"},
		Short:   "Delete topics and all their records",
		Args:    names(1, -1, "at least one topic"),
		RunE: run(func(cmd *cobra.Command, names []string) error {
			return client.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
				deleted, err := admin.DeleteTopics(ctx, names...)
				if err != nil {
					return fmt.Errorf("deleting topics: %w", err)
				}
				return p.printDeleted(deleted, ifExists, &output)
			})
		}),
	}
	client.add(cmd)
	output.add(cmd, "table", "json")
	cmd.ValidArgsFunction = client.completeTopics
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "a topic that is not there is no error")
	return cmd
}

// deletedTopic is one element of topic rm -o json.
type deletedTopic struct {
	Name    string `json:"name"`
	Existed bool   `json:"existed"`
}

func (p *Program) printDeleted(topics kadm.DeleteTopicResponses, ifExists bool, output *outputFlag) error {
	var errs []error
	list := []deletedTopic{}
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		t := topics[name]
		missing := errors.Is(t.Err, kerr.UnknownTopicOrPartition)
		if t.Err != nil && !(missing && ifExists) {
			errs = append(errs, topicProblem(name, t.Err, t.ErrMessage))
			continue
		}
		list = append(list, deletedTopic{name, !missing})
	}
	if output.json() {
		errs = append(errs, printJSON(p.Stdout, list))
	} else if len(list) > 0 {
		tab := newTable(p.Stdout, "NAME", "RESULT")
		for _, t := range list {
			result := "deleted"
			if !t.Existed {
				result = "was not there"
			}
			tab.row(t.Name, result)
		}
		errs = append(errs, tab.flush())
	}
	return errors.Join(errs...)
}

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describedTopic is one element of topic describe -o json.
type describedTopic struct {
	Name       string               `json:"name"`
	ID         string               `json:"id"`
	Internal   bool                 `json:"internal"`
	Partitions []describedPartition `json:"partitions"`
	Configs    []describedConfig    `json:"configs"`
	Durability string               `json:"durability"`
	Promises   []promise            `json:"promises"`
	Compaction *compaction          `json:"compaction,omitempty"`
}

type describedPartition struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"` // -1 for none
	LeaderEpoch int32   `json:"leader_epoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Offline     []int32 `json:"offline"`
}

type describedConfig struct {
	Name   string  `json:"name"`
	Value  *string `json:"value"`
	Source string  `json:"source"`
}

func (p *Program) topicDescribe() *cobra.Command {
	client, output, all := clientFlags{p: p}, outputFlag{}, false
	cmd := &cobra.Command{
		Use:   "describe NAME...",
		Short: "Show partitions, configs, what an acknowledgement promises and what compaction does",
		Args:  names(1, -1, "at least one topic"),
		RunE: run(func(cmd *cobra.Command, names []string) error {
			return client.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
				topics, err := describeTopics(ctx, admin, names, all)
				if len(topics) > 0 {
					err = errors.Join(err, p.printDescribed(topics, &output))
				}
				return err
			})
		}),
	}
	client.add(cmd)
	output.add(cmd, "table", "json")
	cmd.ValidArgsFunction = client.completeTopics
	cmd.Flags().BoolVarP(&all, "all", "a", false, "show the configs that are defaults too")
	return cmd
}

// describeTopics returns those topics that can be described, and the errors of the others.
func describeTopics(ctx context.Context, admin *kadm.Client, names []string, all bool) ([]describedTopic, error) {
	details, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("reading metadata: %w", err)
	}
	var errs []error
	var found []string
	for _, name := range names {
		if d := details[name]; d.Err != nil {
			errs = append(errs, topicProblem(name, d.Err, ""))
		} else {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil, errors.Join(errs...)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, found...)
	if err != nil {
		return nil, errors.Join(append(errs, fmt.Errorf("reading configs: %w", err))...)
	}
	var topics []describedTopic
	for _, name := range found {
		c, err := configs.On(name, nil)
		if err == nil {
			err = c.Err
		}
		if err != nil {
			errs = append(errs, topicProblem(name, err, c.ErrMessage))
			continue
		}
		topics = append(topics, describeTopic(details[name], c.Configs, all))
	}
	return topics, errors.Join(errs...)
}

func describeTopic(d kadm.TopicDetail, configs []kadm.Config, all bool) describedTopic {
	t := describedTopic{Name: d.Topic, ID: topicID(d.ID), Internal: d.IsInternal, Configs: []describedConfig{}}
	for _, p := range d.Partitions.Sorted() {
		t.Partitions = append(t.Partitions, describedPartition{p.Partition, p.Leader, p.LeaderEpoch, orEmpty(p.Replicas), orEmpty(p.ISR), orEmpty(p.OfflineReplicas)})
	}
	values := make(map[string]string)
	for _, c := range configs {
		values[c.Key] = c.MaybeValue()
		if all || c.Source != kmsg.ConfigSourceDefaultConfig {
			t.Configs = append(t.Configs, describedConfig{c.Key, c.Value, c.Source.String()})
		}
	}
	t.Durability = durability(values)
	t.Promises = promises(values, d.Partitions.NumReplicas())
	t.Compaction = compactionOf(values)
	return t
}

func orEmpty(nodes []int32) []int32 {
	if nodes == nil {
		return []int32{}
	}
	return nodes
}

// sourceWords says where a config comes from, for people.
var sourceWords = map[string]string{
	"DYNAMIC_TOPIC_CONFIG":          "topic",
	"DYNAMIC_BROKER_CONFIG":         "broker, set while running",
	"DYNAMIC_DEFAULT_BROKER_CONFIG": "all brokers, set while running",
	"STATIC_BROKER_CONFIG":          "broker's file",
	"DEFAULT_CONFIG":                "default",
}

func (p *Program) printDescribed(topics []describedTopic, output *outputFlag) error {
	if output.json() {
		return printJSON(p.Stdout, topics)
	}
	for i := range topics {
		if i > 0 {
			fmt.Fprintln(p.Stdout)
		}
		if err := p.printDescribedTopic(&topics[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *Program) printDescribedTopic(t *describedTopic) error {
	fmt.Fprintf(p.Stdout, "Topic %s, id %s\n\n", t.Name, t.ID)
	tab := newTable(p.Stdout, "PARTITION", "LEADER", "REPLICAS", "IN SYNC")
	for _, part := range t.Partitions {
		leader := "none"
		if part.Leader >= 0 {
			leader = fmt.Sprint(part.Leader)
		}
		tab.row(part.Partition, leader, nodeList(part.Replicas), nodeList(part.ISR))
	}
	if err := tab.flush(); err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout)
	if len(t.Configs) == 0 {
		fmt.Fprintln(p.Stdout, "All configs are defaults.")
	} else {
		tab = newTable(p.Stdout, "CONFIG", "VALUE", "SET BY")
		for _, c := range t.Configs {
			value := "(hidden)"
			if c.Value != nil {
				value = *c.Value
			}
			words := sourceWords[c.Source]
			if words == "" {
				words = c.Source
			}
			tab.row(c.Name, value, words)
		}
		if err := tab.flush(); err != nil {
			return err
		}
	}
	fmt.Fprintf(p.Stdout, "\nWhat an acknowledgement promises (ack.durability %s):\n", t.Durability)
	tab = newTable(p.Stdout, "ACKS", "ANSWERED WHEN", "SURVIVES")
	for _, row := range t.Promises {
		tab.row(row.Acks, row.Answered, row.Survives)
	}
	if err := tab.flush(); err != nil || t.Compaction == nil {
		return err
	}
	fmt.Fprintln(p.Stdout, "\nWhat compaction does:")
	tab = newTable(p.Stdout, "KEEPS", "CLEANED WHEN", "TOMBSTONES")
	tab.row(t.Compaction.Keeps, t.Compaction.Cleaned, t.Compaction.Tombstones)
	return tab.flush()
}

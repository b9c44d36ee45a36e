package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (p *Program) partition() *cobra.Command {
	return group("partition", "See where partitions are and who leads them, and have the preferred leaders lead again", p.partitionList(), p.partitionLeader())
}

// listedPartition is one element of partition ls -o json.
type listedPartition struct {
	Topic       string  `json:"topic"`
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"` // -1 for none
	LeaderEpoch int32   `json:"leader_epoch"`
	Replicas    []int32 `json:"replicas"` // the first is the preferred leader
	ISR         []int32 `json:"isr"`
	ELR         []int32 `json:"elr"` // of those not in sync, who has all that is committed (KIP-966)
	LastELR     []int32 `json:"last_known_elr"`
}

// partitionFilter says which partitions are listed: those for which one of the conditions that are set holds, or all.
type partitionFilter struct {
	underReplicated, leaderless, notPreferred bool
}

func (f *partitionFilter) takes(p *listedPartition) bool {
	if *f == (partitionFilter{}) {
		return true
	}
	return f.underReplicated && len(p.ISR) < len(p.Replicas) ||
		f.leaderless && p.Leader < 0 ||
		f.notPreferred && len(p.Replicas) > 0 && p.Leader != p.Replicas[0]
}

func (p *Program) partitionList() *cobra.Command {
	client, output, filter, internal := clientFlags{p: p}, outputFlag{}, partitionFilter{}, false
	cmd := &cobra.Command{
		Use:     "ls [TOPIC...]",
		Aliases: []string{"list"},
		Short:   "List partitions: their leaders, their replicas and which of these are in sync",
		Long: `List the partitions of all topics, or of those that are named. ELR are the replicas that are not in sync and have nevertheless
all that is committed: one of them may lead when no replica is in sync. Of several flags one has to fit.`,
		Example: "  moldau partition ls --under-replicated --leaderless",
		Args:    names(0, -1, ""),
		RunE: run(func(cmd *cobra.Command, names []string) error {
			return client.answering(cmd.Context(), func(ctx context.Context, _ *kgo.Client, broker kmsg.Requestor) error {
				all, err := describePartitions(ctx, broker, names, internal)
				list := []listedPartition{}
				for i := range all {
					if filter.takes(&all[i]) {
						list = append(list, all[i])
					}
				}
				if len(all) > 0 || err == nil {
					err = errors.Join(err, p.printPartitions(list, &output))
				}
				return err
			})
		}),
	}
	client.add(cmd)
	output.add(cmd, "table", "json")
	cmd.ValidArgsFunction = client.completeTopics
	cmd.Flags().BoolVar(&filter.underReplicated, "under-replicated", false, "those with replicas that are not in sync")
	cmd.Flags().BoolVar(&filter.leaderless, "leaderless", false, "those without a leader")
	cmd.Flags().BoolVar(&filter.notPreferred, "not-preferred", false, "those that another than their first replica leads")
	cmd.Flags().BoolVar(&internal, "internal", false, "list those of the broker's own topics too")
	return cmd
}

// describePartitions returns the partitions of the named topics, of all where none is named, and the errors of those that
// cannot be described.
func describePartitions(ctx context.Context, broker kmsg.Requestor, names []string, internal bool) ([]listedPartition, error) {
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	var list []listedPartition
	var errs []error
	if len(names) == 0 {
		all, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, broker)
		if err != nil {
			return nil, fmt.Errorf("listing topics: %w", err)
		}
		for _, t := range all.Topics {
			if internal || !t.IsInternal {
				names = append(names, topicName(t))
			}
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	names = slices.Clone(names)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		t := kmsg.NewDescribeTopicPartitionsRequestTopic()
		t.Topic = name
		req.Topics = append(req.Topics, t)
	}
	for {
		resp, err := req.RequestWith(ctx, broker)
		if err != nil {
			return list, errors.Join(append(errs, fmt.Errorf("describing partitions: %w", err))...)
		}
		for i := range resp.Topics {
			t := &resp.Topics[i]
			if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
				errs = append(errs, topicProblem(*t.Topic, err, ""))
				continue
			}
			for _, p := range t.Partitions {
				list = append(list, listedPartition{*t.Topic, p.Partition, p.LeaderID, p.LeaderEpoch, orEmpty(p.Replicas), orEmpty(p.ISR),
					orEmpty(p.EligibleLeaderReplicas), orEmpty(p.LastKnownELR)})
			}
		}
		next := resp.NextCursor
		if next == nil {
			return list, errors.Join(errs...)
		}
		cursor := kmsg.NewDescribeTopicPartitionsRequestCursor()
		cursor.Topic, cursor.Partition = next.Topic, next.Partition
		req.Cursor = &cursor
	}
}

func (p *Program) printPartitions(list []listedPartition, output *outputFlag) error {
	if output.json() {
		return printJSON(p.Stdout, list)
	}
	tab := newTable(p.Stdout, "TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC", "ELR")
	for i := range list {
		l := &list[i]
		tab.row(l.Topic, l.Partition, leaderWord(l.Leader), l.LeaderEpoch, nodeList(l.Replicas), nodeList(l.ISR), nodeList(l.ELR))
	}
	return tab.flush()
}

func leaderWord(leader int32) string {
	if leader < 0 {
		return "none"
	}
	return strconv.Itoa(int(leader))
}

// electedPartition is one element of partition leader -o json.
type electedPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Elected   bool   `json:"elected"` // false where the preferred replica led already
}

func (p *Program) partitionLeader() *cobra.Command {
	client, output, all := clientFlags{p: p}, outputFlag{}, false
	cmd := &cobra.Command{
		Use:   "leader TOPIC[:PARTITION]...",
		Short: "Have the first replica of partitions lead them again",
		Long: `Have the first replica of each partition, its preferred leader, lead it again, where it is in sync. The cluster does so by itself
too (auto.leader.rebalance.enable).`,
		Example: "  moldau partition leader orders payments:3\n  moldau partition leader --all",
		Args:    names(0, -1, ""),
		RunE: run(func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usagef("it takes at least one TOPIC[:PARTITION], or --all")
			}
			return client.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
				set, err := partitionsOf(ctx, admin, args)
				if err != nil || len(set) == 0 {
					return err
				}
				elected, err := admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, set)
				if err != nil {
					return fmt.Errorf("electing leaders: %w", err)
				}
				return p.printElected(elected, &output)
			})
		}),
	}
	client.add(cmd)
	output.add(cmd, "table", "json")
	cmd.ValidArgsFunction = client.completeTopics
	cmd.Flags().BoolVar(&all, "all", false, "the partitions of all topics")
	return cmd
}

// partitionsOf reads TOPIC[:PARTITION] arguments, of which none stands for everything.
func partitionsOf(ctx context.Context, admin *kadm.Client, args []string) (kadm.TopicsSet, error) {
	set := kadm.TopicsSet{}
	var whole []string
	for _, arg := range args {
		name, number, one := strings.Cut(arg, ":") // no topic's name has a colon
		if !one {
			whole = append(whole, name)
			continue
		}
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || n < 0 {
			return nil, usagef("%s: write it as TOPIC or TOPIC:PARTITION", arg)
		}
		set.Add(name, int32(n))
	}
	if len(args) > 0 && len(whole) == 0 {
		return set, nil
	}
	topics, err := admin.ListTopicsWithInternal(ctx, whole...)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			return nil, topicProblem(t.Topic, t.Err, "")
		}
		for _, p := range t.Partitions {
			set.Add(t.Topic, p.Partition)
		}
	}
	return set, nil
}

// elections lists the results in no order.
func elections(results kadm.ElectLeadersResults) iter.Seq[kadm.ElectLeadersResult] {
	return func(yield func(kadm.ElectLeadersResult) bool) {
		for _, t := range results {
			for _, r := range t {
				if !yield(r) {
					return
				}
			}
		}
	}
}

func byPartition(a, b kadm.ElectLeadersResult) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

func (p *Program) printElected(results kadm.ElectLeadersResults, output *outputFlag) error {
	list := []electedPartition{}
	var errs []error
	for _, t := range slices.SortedFunc(elections(results), byPartition) {
		switch {
		case t.Err == nil:
			list = append(list, electedPartition{t.Topic, t.Partition, true})
		case errors.Is(t.Err, kerr.ElectionNotNeeded):
			list = append(list, electedPartition{t.Topic, t.Partition, false})
		default:
			errs = append(errs, topicProblem(fmt.Sprintf("%s:%d", t.Topic, t.Partition), t.Err, t.ErrMessage))
		}
	}
	if output.json() {
		return errors.Join(append(errs, printJSON(p.Stdout, list))...)
	}
	if len(list) > 0 {
		tab := newTable(p.Stdout, "TOPIC", "PARTITION", "RESULT")
		for _, e := range list {
			result := "the preferred replica leads now"
			if !e.Elected {
				result = "it led already"
			}
			tab.row(e.Topic, e.Partition, result)
		}
		errs = append(errs, tab.flush())
	}
	return errors.Join(errs...)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// health is cluster health -o json.
type health struct {
	Healthy         bool                `json:"healthy"`
	ClusterID       string              `json:"cluster_id"`
	Controller      int32               `json:"controller"` // -1 for none
	Brokers         int                 `json:"brokers"`    // that are up
	Topics          int                 `json:"topics"`
	Partitions      int                 `json:"partitions"`
	MissingBrokers  []int32             `json:"missing_brokers"`
	SilentVoters    []int32             `json:"silent_voters"`
	WithoutLeader   []troubledPartition `json:"without_leader"` // each partition is in the first of these three that fits
	UnderMinISR     []troubledPartition `json:"under_min_isr"`
	UnderReplicated []troubledPartition `json:"under_replicated"`
	Problems        []problem           `json:"problems"`
}

type troubledPartition struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"`
	Replicas  []int32 `json:"replicas"`
	ISR       []int32 `json:"isr"`
	MinISR    int     `json:"min_isr"`
}

func (t troubledPartition) String() string {
	return t.Topic + "-" + strconv.Itoa(int(t.Partition))
}

// problem is what is wrong and what to do about it.
type problem struct {
	What string `json:"what"`
	Do   string `json:"do"`
}

func (p *Program) clusterHealth() *cobra.Command {
	client, output := clientFlags{p: p}, outputFlag{}
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Say whether a cluster is well, what is wrong and what to do about it",
		Long: `Say whether there is a controller, whether brokers are missing, and whether partitions have no leader, too few replicas in
sync for acks=all, or fewer than they should have. The exit status is 1 where something is wrong.`,
		Args: names(0, 0, "no arguments"),
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			return client.answering(cmd.Context(), func(ctx context.Context, client *kgo.Client, broker kmsg.Requestor) error {
				v, broker, err := viewCluster(ctx, client, broker)
				if err != nil {
					return err
				}
				minISR, err := describeMinISR(ctx, broker, v.topics)
				if err != nil {
					return err
				}
				return p.printHealth(judge(v, minISR), &output)
			})
		}),
	}
	client.add(cmd)
	output.add(cmd, "table", "json")
	return cmd
}

// minISRBatch is how many topics one request asks about.
const minISRBatch = 1000

// describeMinISR returns min.insync.replicas of the topics. One that has gone meanwhile, or that this client may not
// describe, is left out.
func describeMinISR(ctx context.Context, broker kmsg.Requestor, topics []kmsg.MetadataResponseTopic) (map[string]int, error) {
	minISR := make(map[string]int)
	for batch := range slices.Chunk(topics, minISRBatch) {
		req := kmsg.NewPtrDescribeConfigsRequest()
		for _, t := range batch {
			r := kmsg.NewDescribeConfigsRequestResource()
			r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, topicName(t), []string{"min.insync.replicas"}
			req.Resources = append(req.Resources, r)
		}
		resp, err := req.RequestWith(ctx, broker)
		if err != nil {
			return nil, fmt.Errorf("reading configs: %w", err)
		}
		for _, r := range resp.Resources {
			for _, c := range r.Configs {
				if c.Value == nil {
					continue
				}
				if n, err := strconv.Atoi(*c.Value); err == nil {
					minISR[r.ResourceName] = n
				}
			}
		}
	}
	return minISR, nil
}

func topicName(t kmsg.MetadataResponseTopic) string {
	if t.Topic == nil {
		return ""
	}
	return *t.Topic
}

// judge finds what is wrong in a cluster.
func judge(v *clusterView, minISR map[string]int) *health {
	h := &health{ClusterID: v.id, Controller: -1, Topics: len(v.topics), MissingBrokers: []int32{}, SilentVoters: []int32{},
		WithoutLeader: []troubledPartition{}, UnderMinISR: []troubledPartition{}, UnderReplicated: []troubledPartition{}, Problems: []problem{}}
	h.judgeQuorum(v)
	for _, b := range v.brokers() {
		if b.State == brokerUp {
			h.Brokers++
			continue
		}
		h.MissingBrokers = append(h.MissingBrokers, b.ID)
	}
	switch n := len(h.MissingBrokers); {
	case n == 1:
		h.wrong(fmt.Sprintf("broker %d is missing", h.MissingBrokers[0]), "start it, or see in its log why it cannot take part")
	case n > 1:
		h.wrong(fmt.Sprintf("%d brokers are missing: %s", n, nodeList(h.MissingBrokers)), "start them, or see in their logs why they cannot take part")
	}
	for _, t := range v.topics {
		h.Partitions += len(t.Partitions)
		for _, p := range t.Partitions {
			h.judgePartition(troubledPartition{topicName(t), p.Partition, p.Leader, orEmpty(p.Replicas), orEmpty(p.ISR), minISR[topicName(t)]})
		}
	}
	h.judgePartitions()
	h.Healthy = len(h.Problems) == 0
	return h
}

func (h *health) wrong(what, do string) {
	h.Problems = append(h.Problems, problem{what, do})
}

func (h *health) judgeQuorum(v *clusterView) {
	if v.quorumErr != nil || v.quorum == nil || v.quorum.Leader < 0 {
		what := "no controller: nothing is created, no partition gets another leader, and brokers and leaders are told as they were before"
		if v.quorumErr != nil {
			what += fmt.Sprintf(" (%v)", v.quorumErr)
		}
		h.wrong(what, "start nodes of controller.quorum.voters until most of them are there")
		return
	}
	h.Controller, h.SilentVoters = v.quorum.Leader, v.quorum.silent()
	voters, silent := len(v.quorum.Voters), len(h.SilentVoters)
	if silent == 0 {
		return
	}
	what := fmt.Sprintf("voters of the quorum that are not heard of: %s (%d of %d)", nodeList(h.SilentVoters), silent, voters)
	if silent >= (voters-1)/2 {
		what += "; without one more there is no controller"
	}
	h.wrong(what, "start them, or see in their logs why they cannot take part")
}

// judgePartition puts a partition into the first list that fits.
func (h *health) judgePartition(p troubledPartition) {
	switch {
	case p.Leader < 0:
		h.WithoutLeader = append(h.WithoutLeader, p)
	case len(p.ISR) < p.MinISR:
		h.UnderMinISR = append(h.UnderMinISR, p)
	case len(p.ISR) < len(p.Replicas):
		h.UnderReplicated = append(h.UnderReplicated, p)
	}
}

// judgePartitions says what the lists of partitions mean.
func (h *health) judgePartitions() {
	if len(h.WithoutLeader) > 0 {
		h.wrong(some(h.WithoutLeader, "no leader"), h.startReplicas(h.WithoutLeader, "see in the log of the controller why it elects none"))
	}
	var few, behind []troubledPartition
	for _, p := range h.UnderMinISR {
		if len(p.Replicas) < p.MinISR {
			few = append(few, p)
		} else {
			behind = append(behind, p)
		}
	}
	if len(few) > 0 {
		h.wrong(some(few, "fewer replicas than min.insync.replicas (acks=all is refused)"), "lower min.insync.replicas of these topics, or give them more replicas")
	}
	if len(behind) > 0 {
		h.wrong(some(behind, "fewer in sync than min.insync.replicas (acks=all is refused)"), h.startReplicas(behind, catchingUp))
	}
	if len(h.UnderReplicated) > 0 {
		h.wrong(some(h.UnderReplicated, "replicas that are not in sync"), h.startReplicas(h.UnderReplicated, catchingUp))
	}
}

const catchingUp = "wait until the replicas have caught up; where one does not, see the log of its broker"

// startReplicas names the missing brokers that hold some of the partitions, or is otherwise where none of theirs is missing.
func (h *health) startReplicas(partitions []troubledPartition, otherwise string) string {
	var start []int32
	for _, id := range h.MissingBrokers {
		if slices.ContainsFunc(partitions, func(p troubledPartition) bool { return slices.Contains(p.Replicas, id) }) {
			start = append(start, id)
		}
	}
	switch len(start) {
	case 0:
		return otherwise
	case 1:
		return fmt.Sprintf("start broker %d, which holds replicas of them", start[0])
	}
	return fmt.Sprintf("start the brokers %s, which hold replicas of them", nodeList(start))
}

// namedPartitions is how many partitions a sentence names.
const namedPartitions = 5

// some says what partitions have, and names the first of them.
func some(partitions []troubledPartition, have string) string {
	text := "1 partition has " + have + ": "
	if len(partitions) > 1 {
		text = fmt.Sprintf("%d partitions have %s: ", len(partitions), have)
	}
	for i, p := range partitions[:min(len(partitions), namedPartitions)] {
		if i > 0 {
			text += ", "
		}
		text += p.String()
	}
	if more := len(partitions) - namedPartitions; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// printHealth ends with errSilent where something is wrong.
func (p *Program) printHealth(h *health, output *outputFlag) error {
	var verdict error
	if !h.Healthy {
		verdict = errSilent
	}
	if output.json() {
		return errors.Join(printJSON(p.Stdout, h), verdict)
	}
	word, controller := "Healthy", "no controller"
	if !h.Healthy {
		word = "NOT healthy"
	}
	if h.Controller >= 0 {
		controller = fmt.Sprintf("controller %d", h.Controller)
	}
	fmt.Fprintf(p.Stdout, "%s: %s, brokers up: %d, topics: %d, partitions: %d\n", word, controller, h.Brokers, h.Topics, h.Partitions)
	for _, w := range h.Problems {
		fmt.Fprintf(p.Stdout, "\n- %s\n  To do: %s\n", w.What, w.Do)
	}
	return verdict
}

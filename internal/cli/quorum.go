package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (p *Program) quorum() *cobra.Command {
	return group("quorum", "Look at the nodes that decide about a cluster", p.quorumStatus())
}

// quorumStatus is quorum status -o json.
type quorumStatus struct {
	Leader        int32        `json:"leader"` // -1 for none
	Epoch         int32        `json:"epoch"`
	HighWatermark int64        `json:"high_watermark"`
	Voters        []quorumNode `json:"voters"`
	Observers     []quorumNode `json:"observers"`
}

type quorumNode struct {
	ID          int32  `json:"id"`
	DirectoryID string `json:"directory_id"` // "" where the broker gives none, as the address is
	Address     string `json:"address"`      // of the controller listener
	LogEnd      int64  `json:"log_end_offset"`
	HeardMs     int64  `json:"heard_ms"`     // by the leader's clock; -1 for never
	CaughtUpMs  int64  `json:"caught_up_ms"` // likewise
}

// newest is when the leader has last heard of anybody, itself included: now, by its own clock.
func (q *quorumStatus) newest() int64 {
	at := int64(-1)
	for _, n := range slices.Concat(q.Voters, q.Observers) {
		at = max(at, n.HeardMs)
	}
	return at
}

// voterSilence is how long the leader may not have heard of a voter that is there: Apache Kafka's asks every 500 ms, Moldau's
// answers more often.
const voterSilence = 5 * time.Second

// silent lists the voters that the leader does not hear of, none where it tells no times.
func (q *quorumStatus) silent() []int32 {
	list := []int32{}
	newest := q.newest()
	for _, n := range q.Voters {
		if newest >= 0 && n.ID != q.Leader && newest-n.HeardMs > voterSilence.Milliseconds() { // never is long ago
			list = append(list, n.ID)
		}
	}
	return list
}

func (p *Program) quorumStatus() *cobra.Command {
	client, output := clientFlags{p: p}, outputFlag{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show who leads the quorum, who votes and who follows, and how far each is",
		Args:  names(0, 0, "no arguments"),
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			return client.answering(cmd.Context(), func(ctx context.Context, client *kgo.Client, broker kmsg.Requestor) error {
				members, err := describeMembers(ctx, broker)
				if err != nil {
					return err
				}
				q, err := describeQuorum(ctx, client, members)
				if err != nil {
					return fmt.Errorf("the quorum cannot be described: %w; moldau cluster health says which brokers are there", err)
				}
				return p.printQuorum(q, &output)
			})
		}),
	}
	client.add(cmd)
	output.add(cmd, "table", "json")
	return cmd
}

// describeQuorum asks all brokers at once, in half of the time that is left: one may not know who leads, or not be let through
// to it, or stand still. It asks over connections of its own, as an answer that does not come holds up those behind it.
func describeQuorum(ctx context.Context, client *kgo.Client, members *kmsg.DescribeClusterResponse) (*quorumStatus, error) {
	own, err := kgo.NewClient(client.Opts()...)
	if err != nil {
		return nil, err
	}
	defer own.Close()
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	if err := own.Ping(ctx); err != nil {
		return nil, err
	}
	var asked []int32
	for _, b := range members.Brokers {
		if !b.IsFenced { // one that is cannot know better
			asked = append(asked, b.NodeID)
		}
	}
	if len(asked) == 0 {
		return nil, errors.New("every broker is fenced")
	}
	q, err := first(ctx, asked, func(ctx context.Context, id int32) (*quorumStatus, error) {
		q, err := describeQuorumAt(ctx, own.Broker(int(id)))
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("no answer in time")
		}
		if err != nil {
			return nil, fmt.Errorf("broker %d: %w", id, err)
		}
		return q, nil
	}, nil)
	if err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return q, err
}

func describeQuorumAt(ctx context.Context, broker kmsg.Requestor) (*quorumStatus, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic, partition := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, broker)
	if err != nil {
		return nil, err
	}
	if err := brokerError(resp.ErrorCode, resp.ErrorMessage); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, errors.New("the answer is about another partition")
	}
	p := &resp.Topics[0].Partitions[0]
	if err := brokerError(p.ErrorCode, p.ErrorMessage); err != nil {
		return nil, err
	}
	addresses := make(map[int32]string)
	for _, n := range resp.Nodes {
		if len(n.Listeners) > 0 {
			addresses[n.NodeID] = net.JoinHostPort(n.Listeners[0].Host, strconv.Itoa(int(n.Listeners[0].Port)))
		}
	}
	return &quorumStatus{p.LeaderID, p.LeaderEpoch, p.HighWatermark, quorumNodes(p.CurrentVoters, addresses), quorumNodes(p.Observers, addresses)}, nil
}

func quorumNodes(states []kmsg.DescribeQuorumResponseTopicPartitionReplicaState, addresses map[int32]string) []quorumNode {
	nodes := []quorumNode{}
	for _, s := range states {
		nodes = append(nodes, quorumNode{s.ReplicaID, topicID(kadm.TopicID(s.ReplicaDirectoryID)), addresses[s.ReplicaID], s.LogEndOffset, s.LastFetchTimestamp, s.LastCaughtUpTimestamp})
	}
	slices.SortFunc(nodes, func(a, b quorumNode) int { return int(a.ID) - int(b.ID) })
	return nodes
}

// brokerError is the error of an answer, with what the broker says about it.
func brokerError(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err != nil && message != nil && *message != "" {
		return fmt.Errorf("%s (%s)", *message, kafkaName(err))
	}
	return err
}

func (p *Program) printQuorum(q *quorumStatus, output *outputFlag) error {
	if output.json() {
		return printJSON(p.Stdout, q)
	}
	leader := "No node leads"
	if q.Leader >= 0 {
		leader = fmt.Sprintf("Node %d leads", q.Leader)
	}
	fmt.Fprintf(p.Stdout, "%s, epoch %d, high watermark %d\n\n", leader, q.Epoch, q.HighWatermark)
	tab := newTable(p.Stdout, "NODE", "ROLE", "ADDRESS", "LOG END", "BEHIND", "HEARD OF")
	for _, n := range q.Voters {
		role := "voter"
		if n.ID == q.Leader {
			role = "leader"
		}
		q.row(tab, n, role)
	}
	for _, n := range q.Observers {
		q.row(tab, n, "observer")
	}
	return tab.flush()
}

func (q *quorumStatus) row(tab *table, n quorumNode, role string) {
	address := n.Address
	if address == "" {
		address = "-"
	}
	end, behind := "-", "-"
	if n.LogEnd >= 0 {
		end = strconv.FormatInt(n.LogEnd, 10)
		if at := slices.IndexFunc(q.Voters, func(v quorumNode) bool { return v.ID == q.Leader }); at >= 0 {
			behind = strconv.FormatInt(max(0, q.Voters[at].LogEnd-n.LogEnd), 10)
		}
	}
	heard := "never"
	switch {
	case n.ID == q.Leader:
		heard = "now"
	case n.HeardMs >= 0:
		heard = fmt.Sprintf("%v ago", time.Duration(q.newest()-n.HeardMs)*time.Millisecond)
	}
	tab.row(n.ID, role, address, end, behind, heard)
}

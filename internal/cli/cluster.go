package cli

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (p *Program) cluster() *cobra.Command {
	return group("cluster", "See whether a cluster is well, and list its brokers", p.clusterHealth(), p.clusterBrokers())
}

// clusterView is what the brokers say about their cluster.
type clusterView struct {
	id        string
	members   []kmsg.DescribeClusterResponseBroker // fenced ones too where the broker tells them (KIP-1073)
	quorum    *quorumStatus                        // nil where no broker can say
	quorumErr error                                // why
	topics    []kmsg.MetadataResponseTopic
}

// viewCluster asks broker, and then the leader of the quorum where that is a broker too: another may have been cut off and
// not know it. It returns whom it has asked last.
func viewCluster(ctx context.Context, client *kgo.Client, broker kmsg.Requestor) (*clusterView, kmsg.Requestor, error) {
	members, err := describeMembers(ctx, broker)
	if err != nil {
		return nil, nil, err
	}
	var v clusterView
	v.quorum, v.quorumErr = describeQuorum(ctx, client, members)
	if v.quorum != nil && slices.ContainsFunc(members.Brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return b.NodeID == v.quorum.Leader && !b.IsFenced }) {
		broker = client.Broker(int(v.quorum.Leader))
		if members, err = describeMembers(ctx, broker); err != nil {
			return nil, nil, err
		}
	}
	v.id, v.members = members.ClusterID, members.Brokers
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, broker)
	if err != nil {
		return nil, nil, fmt.Errorf("reading metadata: %w", err)
	}
	v.topics = resp.Topics
	return &v, broker, nil
}

// describeMembers lists the brokers that are registered, by their ids.
func describeMembers(ctx context.Context, broker kmsg.Requestor) (*kmsg.DescribeClusterResponse, error) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeFencedBrokers = true
	resp, err := req.RequestWith(ctx, broker)
	if err == nil {
		err = brokerError(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, fmt.Errorf("listing the brokers: %w", err)
	}
	slices.SortFunc(resp.Brokers, func(a, b kmsg.DescribeClusterResponseBroker) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return resp, nil
}

// listedBroker is one element of cluster brokers -o json.
type listedBroker struct {
	ID         int32  `json:"id"`
	Address    string `json:"address"` // "" where the broker is not registered
	Rack       string `json:"rack"`
	State      string `json:"state"`
	Controller bool   `json:"controller"` // it leads the quorum
	Leads      int    `json:"leads"`      // partitions
	Replicas   int    `json:"replicas"`
	InSync     int    `json:"in_sync"`
}

// The states of a broker.
const (
	brokerUp      = "up"
	brokerFenced  = "fenced"  // registered, and the controller does not hear of it
	brokerMissing = "missing" // replicas are assigned to it, and it is not registered, or fenced on a broker that does not list such
)

// brokers lists those that are registered and those that hold replicas, by their ids.
func (v *clusterView) brokers() []*listedBroker {
	byID := make(map[int32]*listedBroker)
	for _, m := range v.members {
		b := &listedBroker{ID: m.NodeID, Address: net.JoinHostPort(m.Host, strconv.Itoa(int(m.Port))), State: brokerUp}
		if m.Rack != nil {
			b.Rack = *m.Rack
		}
		if m.IsFenced {
			b.State = brokerFenced
		}
		byID[m.NodeID] = b
	}
	broker := func(id int32) *listedBroker {
		if byID[id] == nil {
			byID[id] = &listedBroker{ID: id, State: brokerMissing}
		}
		return byID[id]
	}
	for _, t := range v.topics {
		for _, p := range t.Partitions {
			for _, id := range p.Replicas {
				broker(id).Replicas++
			}
			for _, id := range p.ISR {
				broker(id).InSync++
			}
			if p.Leader >= 0 {
				broker(p.Leader).Leads++
			}
		}
	}
	list := []*listedBroker{}
	for _, b := range byID {
		b.Controller = v.quorum != nil && b.ID == v.quorum.Leader
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b *listedBroker) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

func (p *Program) clusterBrokers() *cobra.Command {
	client, output := clientFlags{p: p}, outputFlag{}
	cmd := &cobra.Command{
		Use:   "brokers",
		Short: "List the brokers with their state and what they hold",
		Args:  names(0, 0, "no arguments"),
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			return client.answering(cmd.Context(), func(ctx context.Context, client *kgo.Client, broker kmsg.Requestor) error {
				v, _, err := viewCluster(ctx, client, broker)
				if err != nil {
					return err
				}
				if v.quorumErr != nil {
					fmt.Fprintf(p.Stderr, "no controller answers, so this may be old: %v\n", v.quorumErr)
				}
				return p.printBrokers(v, &output)
			})
		}),
	}
	client.add(cmd)
	output.add(cmd, "table", "json")
	return cmd
}

func (p *Program) printBrokers(v *clusterView, output *outputFlag) error {
	brokers := v.brokers()
	if output.json() {
		return printJSON(p.Stdout, brokers)
	}
	tab := newTable(p.Stdout, "ID", "ADDRESS", "RACK", "STATE", "LEADS", "REPLICAS", "IN SYNC")
	for _, b := range brokers {
		state := b.State
		if b.Controller {
			state += ", controller"
		}
		tab.row(b.ID, orDash(b.Address), orDash(b.Rack), state, b.Leads, b.Replicas, b.InSync)
	}
	if err := tab.flush(); err != nil {
		return err
	}
	if v.quorum != nil && v.quorum.Leader >= 0 && !slices.ContainsFunc(brokers, func(b *listedBroker) bool { return b.Controller }) {
		fmt.Fprintf(p.Stdout, "\nThe controller is node %d, which is no broker; moldau quorum status lists the voters.\n", v.quorum.Leader)
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

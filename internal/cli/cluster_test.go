package cli

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// threeBrokers is a cluster that is well: brokers 1 to 3, each a voter, 2 the controller, and the topic t of two
// partitions of three replicas.
func threeBrokers() *clusterView {
	v := &clusterView{id: "c", quorum: &quorumStatus{Leader: 2, Epoch: 5, HighWatermark: 40}}
	for id := int32(1); id <= 3; id++ {
		v.members = append(v.members, kmsg.DescribeClusterResponseBroker{NodeID: id, Host: "127.0.0.1", Port: 9091 + id})
		v.quorum.Voters = append(v.quorum.Voters, quorumNode{ID: id, LogEnd: 41 - int64(id), HeardMs: 100_000 - int64(id), CaughtUpMs: 99_000})
	}
	topic := kmsg.MetadataResponseTopic{Topic: kmsg.StringPtr("t")}
	for partition := range int32(2) {
		topic.Partitions = append(topic.Partitions, kmsg.MetadataResponseTopicPartition{
			Partition: partition, Leader: partition + 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}})
	}
	v.topics = []kmsg.MetadataResponseTopic{topic}
	return v
}

// TestHealth: each thing that can be wrong is said, with what to do, and what is well is not.
func TestHealth(t *testing.T) {
	const logs = "start it, or see in its log why it cannot take part"
	for _, c := range []struct {
		rule   string
		change func(v *clusterView)
		minISR int
		want   []problem
	}{
		{"all is well", func(*clusterView) {}, 2, nil},
		{"a fenced broker, in sync nowhere", func(v *clusterView) {
			v.members[2].IsFenced = true
			for i := range v.topics[0].Partitions {
				v.topics[0].Partitions[i].ISR = []int32{1, 2}
			}
		}, 2, []problem{{"broker 3 is missing", logs}, {"2 partitions have replicas that are not in sync: t-0, t-1", "start broker 3, which holds replicas of them"}}},
		{"a broker that is not registered", func(v *clusterView) {
			v.members = v.members[:2]
			v.topics[0].Partitions[1].ISR = []int32{2}
		}, 2, []problem{{"broker 3 is missing", logs}, {"1 partition has fewer in sync than min.insync.replicas (acks=all is refused): t-1", "start broker 3, which holds replicas of them"}}},
		{"no leader", func(v *clusterView) {
			v.members[0].IsFenced, v.members[2].IsFenced = true, true
			p := &v.topics[0].Partitions[0]
			p.Leader, p.ISR, p.Replicas = -1, []int32{3}, []int32{3}
			v.topics[0].Partitions[1].Replicas, v.topics[0].Partitions[1].ISR = []int32{2}, []int32{2}
		}, 1, []problem{{"2 brokers are missing: 1,3", "start them, or see in their logs why they cannot take part"}, {"1 partition has no leader: t-0", "start broker 3, which holds replicas of them"}}},
		{"no leader although all are there", func(v *clusterView) { v.topics[0].Partitions[0].Leader = -1 }, 2,
			[]problem{{"1 partition has no leader: t-0", "see in the log of the controller why it elects none"}}},
		{"a replica that is behind", func(v *clusterView) { v.topics[0].Partitions[0].ISR = []int32{1, 3} }, 2,
			[]problem{{"1 partition has replicas that are not in sync: t-0", catchingUp}}},
		{"a config that asks for too much", func(*clusterView) {}, 4,
			[]problem{{"2 partitions have fewer replicas than min.insync.replicas (acks=all is refused): t-0, t-1", "lower min.insync.replicas of these topics, or give them more replicas"}}},
		{"nobody who knows a controller", func(v *clusterView) { v.quorum, v.quorumErr = nil, errors.New("broker 1: b") }, 2,
			[]problem{{"no controller: nothing is created, no partition gets another leader, and brokers and leaders are told as they were before (broker 1: b)", "start nodes of controller.quorum.voters until most of them are there"}}},
		{"a quorum without a leader", func(v *clusterView) { v.quorum.Leader = -1 }, 2,
			[]problem{{"no controller: nothing is created, no partition gets another leader, and brokers and leaders are told as they were before", "start nodes of controller.quorum.voters until most of them are there"}}},
		{"a voter that was never heard of", func(v *clusterView) { v.quorum.Voters[0].HeardMs = -1 }, 2,
			[]problem{{"voters of the quorum that are not heard of: 1 (1 of 3); without one more there is no controller", "start them, or see in their logs why they cannot take part"}}},
		{"one of five voters, silent for long", func(v *clusterView) {
			v.quorum.Voters = append(v.quorum.Voters, quorumNode{ID: 4, HeardMs: 94_999}, quorumNode{ID: 5, HeardMs: 94_998})
		}, 2, []problem{{"voters of the quorum that are not heard of: 5 (1 of 5)", "start them, or see in their logs why they cannot take part"}}},
		{"a broker that tells no times", func(v *clusterView) {
			for i := range v.quorum.Voters {
				v.quorum.Voters[i].HeardMs = -1
			}
		}, 2, nil},
	} {
		v := threeBrokers()
		c.change(v)
		h := judge(v, map[string]int{"t": c.minISR})
		if !slices.Equal(h.Problems, c.want) {
			t.Errorf("%s: %q\nwant %q", c.rule, h.Problems, c.want)
		}
		var out bytes.Buffer
		err := (&Program{Stdout: &out}).printHealth(h, &outputFlag{})
		if well := len(c.want) == 0; h.Healthy != well || (err == nil) != well || !well && !errors.Is(err, errSilent) {
			t.Errorf("%s: healthy %v, %v", c.rule, h.Healthy, err)
		}
		for _, w := range c.want {
			if !bytes.Contains(out.Bytes(), []byte("\n- "+w.What+"\n  To do: "+w.Do+"\n")) {
				t.Errorf("%s: printed %s", c.rule, out.String())
			}
		}
	}
}

// TestHealthInOneLine: what is well fits into one line.
func TestHealthInOneLine(t *testing.T) {
	var out bytes.Buffer
	p := &Program{Stdout: &out}
	if err := p.printHealth(judge(threeBrokers(), nil), &outputFlag{}); err != nil || out.String() != "Healthy: controller 2, brokers up: 3, topics: 1, partitions: 2\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestPartitionsAreNamed: a sentence names some, and JSON all.
func TestPartitionsAreNamed(t *testing.T) {
	v := threeBrokers()
	for partition := int32(2); partition < 7; partition++ {
		v.topics[0].Partitions = append(v.topics[0].Partitions, kmsg.MetadataResponseTopicPartition{Partition: partition, Leader: 1, Replicas: []int32{1, 2}, ISR: []int32{1}})
	}
	v.topics[0].Partitions[1].ISR = nil
	h := judge(v, nil)
	if want := "6 partitions have replicas that are not in sync: t-1, t-2, t-3, t-4, t-5 and 1 more"; len(h.Problems) != 1 || h.Problems[0].What != want || len(h.UnderReplicated) != 6 {
		t.Errorf("%v, %d", h.Problems, len(h.UnderReplicated))
	}
}

func TestBrokersTable(t *testing.T) {
	v := threeBrokers()
	v.members[0].Rack, v.members[0].IsFenced, v.members = kmsg.StringPtr("a"), true, v.members[:2]
	v.topics[0].Partitions[0].Leader = -1
	v.topics[0].Partitions[0].ISR = []int32{2}
	var out bytes.Buffer
	if err := (&Program{Stdout: &out}).printBrokers(v, &outputFlag{}); err != nil {
		t.Fatal(err)
	}
	want := `ID ADDRESS RACK STATE LEADS REPLICAS IN SYNC
1 127.0.0.1:9092 a fenced 0 2 1
2 127.0.0.1:9093 - up, controller 1 2 2
3 - - missing 0 2 1
`
	if got := squeeze(out.String()); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	// A controller that is no broker is in no row.
	v.quorum.Leader = 7
	out.Reset()
	if err := (&Program{Stdout: &out}).printBrokers(v, &outputFlag{}); err != nil || !strings.Contains(out.String(), "\nThe controller is node 7, which is no broker;") || strings.Contains(out.String(), "up, controller") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestQuorumTable(t *testing.T) {
	q := threeBrokers().quorum
	q.Voters[0].Address, q.Voters[2].HeardMs = "127.0.0.1:9143", -1
	q.Observers = []quorumNode{{ID: 9, LogEnd: -1, HeardMs: 99_000}}
	var out bytes.Buffer
	p := &Program{Stdout: &out}
	if err := p.printQuorum(q, &outputFlag{}); err != nil {
		t.Fatal(err)
	}
	want := `Node 2 leads, epoch 5, high watermark 40

NODE ROLE ADDRESS LOG END BEHIND HEARD OF
1 voter 127.0.0.1:9143 40 0 0s ago
2 leader - 39 0 now
3 voter - 38 1 never
9 observer - - - 999ms ago
`
	if got := squeeze(out.String()); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	out.Reset()
	if err := p.printQuorum(&quorumStatus{Leader: -1}, &outputFlag{}); err != nil || !bytes.HasPrefix(out.Bytes(), []byte("No node leads, epoch 0")) {
		t.Errorf("%q, %v", out.String(), err)
	}
}

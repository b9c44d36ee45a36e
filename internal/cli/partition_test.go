package cli

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func TestPartitionFilter(t *testing.T) {
	well := listedPartition{Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}}
	moved := listedPartition{Leader: 2, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}}
	behind := listedPartition{Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}}
	dead := listedPartition{Leader: -1, Replicas: []int32{1}, ISR: []int32{}}
	for _, c := range []struct {
		filter partitionFilter
		want   [4]bool // of those above, in this order
	}{
		{partitionFilter{}, [4]bool{true, true, true, true}},
		{partitionFilter{underReplicated: true}, [4]bool{false, false, true, true}},
		{partitionFilter{leaderless: true}, [4]bool{false, false, false, true}},
		{partitionFilter{notPreferred: true}, [4]bool{false, true, false, true}},
		{partitionFilter{underReplicated: true, notPreferred: true}, [4]bool{false, true, true, true}},
	} {
		for i, p := range []*listedPartition{&well, &moved, &behind, &dead} {
			if got := c.filter.takes(p); got != c.want[i] {
				t.Errorf("%+v takes %+v: %v", c.filter, *p, got)
			}
		}
	}
}

func TestPartitionsTable(t *testing.T) {
	var out bytes.Buffer
	err := (&Program{Stdout: &out}).printPartitions([]listedPartition{
		{Topic: "t", Partition: 0, Leader: 2, LeaderEpoch: 7, Replicas: []int32{1, 2, 3}, ISR: []int32{2, 3}},
		{Topic: "t", Partition: 1, Leader: -1, LeaderEpoch: 8, Replicas: []int32{1, 2, 3}, ELR: []int32{1}},
	}, &outputFlag{})
	const want = `TOPIC  PARTITION  LEADER  EPOCH  REPLICAS  IN SYNC  ELR
t      0          2       7      1,2,3     2,3      none
t      1          none    8      1,2,3     none     1
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestElected: those that are elected, that need not be and that cannot be, in order.
func TestElected(t *testing.T) {
	var out bytes.Buffer
	err := (&Program{Stdout: &out}).printElected(kadm.ElectLeadersResults{"b": {
		1: {Topic: "b", Partition: 1, Err: kerr.PreferredLeaderNotAvailable, ErrMessage: "broker 3 is not in sync"},
		0: {Topic: "b", Partition: 0, Err: kerr.ElectionNotNeeded},
	}, "a": {10: {Topic: "a", Partition: 10}}}, &outputFlag{})
	const want = `TOPIC  PARTITION  RESULT
a      10         the preferred replica leads now
b      0          it led already
`
	const refused = `topic "b:1": broker 3 is not in sync (PREFERRED_LEADER_NOT_AVAILABLE)`
	if err == nil || err.Error() != refused || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}

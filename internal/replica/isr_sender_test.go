package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/partition"
)

// TestMoreChangesThanOneRequestMayName: the rest follows at once, not with the next look for who lags.
func TestMoreChangesThanOneRequestMayName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, partition.DurabilityOS)
		defer c.stop()
		leader := c.members[0]
		leader.sender.Stop()
		c.topic(1, 1, 1)
		for n := range int32(3) {
			c.elect(n, 1, 2)
		}
		c.cut(2, true)
		for n := range int32(3) {
			if _, err := c.produce(1, n, 1, 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * lagMax)

		s := NewISRSender(ISRSenderConfig{Node: 1, BrokerEpoch: func() int64 { return 1 }, Controller: leader, LagMax: time.Hour, Logger: c.logger})
		s.batchMax = 1
		for n := range int32(3) {
			s.Want(c.partition(1, n))
		}
		s.Start(leader.Table)
		defer s.Stop()
		synctest.Wait()
		for n := range int32(3) {
			if in := c.inSync(n); in != 1 {
				t.Errorf("partition %d has %d in sync, and the follower that cannot be reached lags", n, in)
			}
		}
	})
}

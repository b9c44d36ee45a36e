package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicHeartbeat is Java's default interval of the classic protocol.
const classicHeartbeat = 3 * time.Second

// generations counts how many members have the assignment of a generation.
type generations struct {
	sync.Mutex
	synced map[int32]int
	done   chan struct{}
}

func (g *generations) sync(n int32) {
	g.Lock()
	defer g.Unlock()
	if g.synced[n]++; g.synced[n] == *count {
		close(g.done)
	}
}

// classics has n members of the classic protocol join one group.
func classics() error {
	if _, err := makeTopic("groups", *parts); err != nil {
		return err
	}
	all := &generations{synced: make(map[int32]int), done: make(chan struct{})}
	failed := make(chan error, *count)
	stop := make(chan struct{})
	defer close(stop)
	at := begin()
	for range *count {
		c, err := dial()
		if err != nil {
			return err
		}
		go func() {
			if err := classicMember(c, all, stop); err != nil {
				failed <- err
			}
		}()
	}
	select {
	case err := <-failed:
		return err
	case <-all.done:
	case <-time.After(2 * time.Minute):
		return fmt.Errorf("the group does not settle: %v", all.synced)
	}
	return at.report(fmt.Sprintf("%d members of the classic protocol settled", *count))
}

func classicMember(c *conn, all *generations, stop <-chan struct{}) error {
	var id string
	for {
		join := kmsg.NewPtrJoinGroupRequest()
		join.Group, join.MemberID, join.ProtocolType = "many-classic", id, "consumer"
		join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 45_000, 60_000
		join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: make([]byte, 30)}}
		joined, err := ask[*kmsg.JoinGroupResponse](c, 9, join)
		if err != nil {
			return err
		}
		switch joined.ErrorCode {
		case 79: // MEMBER_ID_REQUIRED
			id = joined.MemberID
			continue
		case 27: // REBALANCE_IN_PROGRESS
			continue
		case 0:
		default:
			return fmt.Errorf("join: error %d", joined.ErrorCode)
		}
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Group, sync.MemberID, sync.Generation = "many-classic", id, joined.Generation
		sync.ProtocolType, sync.Protocol = joined.ProtocolType, joined.Protocol
		for _, m := range joined.Members {
			sync.GroupAssignment = append(sync.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.MemberID, MemberAssignment: make([]byte, 40)})
		}
		synced, err := ask[*kmsg.SyncGroupResponse](c, 5, sync)
		if err != nil {
			return err
		}
		if synced.ErrorCode == 27 {
			continue
		}
		if synced.ErrorCode != 0 {
			return fmt.Errorf("sync: error %d", synced.ErrorCode)
		}
		all.sync(joined.Generation)
		if again, err := heartbeats(c, id, joined.Generation, stop); err != nil || !again {
			return err
		}
	}
}

// heartbeats lets the session go on until the member is to join again.
func heartbeats(c *conn, id string, generation int32, stop <-chan struct{}) (again bool, err error) {
	for {
		select {
		case <-stop:
			return false, nil
		case <-time.After(classicHeartbeat):
		}
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation = "many-classic", id, generation
		resp, err := ask[*kmsg.HeartbeatResponse](c, 4, req)
		switch {
		case err != nil:
			return false, err
		case resp.ErrorCode == 27:
			return true, nil
		case resp.ErrorCode != 0:
			return false, fmt.Errorf("heartbeat: error %d", resp.ErrorCode)
		}
	}
}

package controller

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// runCluster runs the commands that several brokers and the clock need:
//
//	start      lines of a broker, incarnation=N, dirs=N, rack=R, clean, epoch=N: one registers
//	beat       lines of a broker, fence, shutdown, behind, epoch=N: one sends a heartbeat
//	pass       time=D alive=(1,2): time passes while some send heartbeats
//	stand-still time=D: time passes while the controller stands still
//	gone       lines of a broker, epoch=N
//	lead       another controller begins
//	alter      by=N epoch=N, lines of TOPIC-PARTITION isr=1,2:EPOCH leader-epoch=N partition-epoch=N recovering
//	show       prints brokers and partitions
func (s *script) runCluster(t *testing.T, d *datadriven.TestData, lines []string) bool {
	switch d.Cmd {
	case "start":
		s.start(t, lines)
	case "beat":
		s.beat(t, lines)
	case "pass":
		var alive []int32
		for i := range d.CmdArgs {
			if d.CmdArgs[i].Key == "alive" {
				alive = nodeList(t, strings.Join(d.CmdArgs[i].Vals, ","))
			}
		}
		s.pass(t, duration(t, d), alive)
	case "stand-still":
		s.now = s.now.Add(duration(t, d))
		s.look()
	case "gone":
		for _, line := range lines {
			id, args := fields(t, line)
			node, _ := strconv.Atoi(id)
			s.core.Gone(ids.NodeID(node), int64(number(t, args, "epoch", s.epoch(node))), s.now)
			s.look()
		}
	case "lead":
		s.core.Reset(s.core.committed)
		s.core.Lead(s.now)
	case "place":
		s.place(t, d, lines)
	case "alter":
		s.alter(t, d, lines)
	case "show":
		s.show()
	default:
		return false
	}
	return true
}

func duration(t *testing.T, d *datadriven.TestData) time.Duration {
	var text string
	d.ScanArgs(t, "time", &text)
	out, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *script) epoch(node int) int {
	if b, ok := s.core.committed.Broker(ids.NodeID(node)); ok {
		return int(b.Epoch)
	}
	return 0
}

func (s *script) start(t *testing.T, lines []string) {
	for _, line := range lines {
		id, args := fields(t, line)
		node, err := strconv.Atoi(id)
		if err != nil {
			t.Fatal(err)
		}
		req := registration(node, number(t, args, "incarnation", 500+node), testID(number(t, args, "dirs", 600+node)))
		req.LogDirs = append(req.LogDirs, dirIDs(t, args["more"])...)
		if args["rack"] != nil {
			req.Rack = &args["rack"][0]
		}
		if args["clean"] != nil {
			req.PreviousBrokerEpoch = int64(number(t, args, "epoch", s.epoch(node)))
		}
		if args["old-release"] != nil {
			req.Features = nil
		}
		recs, refusal := s.core.BrokerRegistration(req, s.now)
		code, message := refusal.wire()
		s.result("broker "+id, code, message)
		s.accept(recs)
	}
}

func (s *script) beat(t *testing.T, lines []string) {
	for _, line := range lines {
		id, args := fields(t, line)
		node, _ := strconv.Atoi(id)
		req := heartbeat(s.core, node)
		req.BrokerEpoch = int64(number(t, args, "epoch", s.epoch(node)))
		req.WantFence, req.WantShutdown = args["fence"] != nil, args["shutdown"] != nil
		req.OfflineLogDirs = dirIDs(t, args["offline"])
		SetFullLogDirs(req, directories(dirIDs(t, args["full"])))
		if args["behind"] != nil {
			req.CurrentMetadataOffset = req.BrokerEpoch - 1
		}
		resp, recs := s.core.BrokerHeartbeat(req, s.now)
		s.printf("broker %d:", node)
		if resp.ErrorCode != 0 {
			s.printf(" %v", kerr.TypedErrorForCode(resp.ErrorCode).Message)
		}
		for _, is := range []struct {
			what string
			is   bool
		}{{"caught up", resp.IsCaughtUp}, {"fenced", resp.IsFenced}, {"may stop", resp.ShouldShutdown}} {
			if is.is {
				s.printf(" %s;", is.what)
			}
		}
		s.printf("\n")
		s.accept(recs)
	}
}

// pass lets time pass in the steps of a controller's loop.
func (s *script) pass(t *testing.T, d time.Duration, alive []int32) {
	const step = 100 * time.Millisecond
	for ; d > 0; d -= step {
		s.now = s.now.Add(step)
		for _, node := range alive {
			resp, recs := s.core.BrokerHeartbeat(heartbeat(s.core, int(node)), s.now)
			if resp.ErrorCode != 0 {
				t.Fatalf("broker %d: %d", node, resp.ErrorCode)
			}
			s.accept(recs)
		}
		s.look()
	}
}

func (s *script) look() {
	s.core.Look(s.now)
	for {
		d := s.core.Expire(s.now)
		if len(d.Records) == 0 {
			d = s.core.Relieve()
		}
		if len(d.Records) == 0 {
			d = s.core.Balance(s.now)
		}
		if len(d.Records) == 0 {
			return
		}
		s.printf("%v: %s\n", s.now.Sub(testTime), d.Why)
		s.accept(d.Records)
	}
}

// dirIDs reads the numbers of directories, and lost.
func dirIDs(t *testing.T, texts []string) (dirs [][16]byte) {
	for _, text := range texts {
		if text == "lost" {
			dirs = append(dirs, metadata.LostDirectory)
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, testID(n))
	}
	return dirs
}

func (s *script) place(t *testing.T, d *datadriven.TestData, lines []string) {
	var by int
	d.ScanArgs(t, "by", &by)
	req := kmsg.NewPtrAssignReplicasToDirsRequest()
	req.BrokerID, req.BrokerEpoch = int32(by), int64(s.epoch(by))
	if d.HasArg("epoch") {
		d.ScanArgs(t, "epoch", &req.BrokerEpoch)
	}
	for _, line := range lines {
		name, args := fields(t, line)
		at := strings.LastIndexByte(name, '-')
		partition, _ := strconv.Atoi(name[at+1:])
		topic := kmsg.AssignReplicasToDirsRequestDirectoryTopic{TopicID: testID(99)}
		if now, ok := s.core.pending.Topic(name[:at]); ok {
			topic.TopicID = now.ID
		}
		topic.Partitions = []kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{{Partition: int32(partition)}}
		req.Directories = append(req.Directories, kmsg.AssignReplicasToDirsRequestDirectory{
			ID: dirIDs(t, args["dir"])[0], Topics: []kmsg.AssignReplicasToDirsRequestDirectoryTopic{topic},
		})
	}
	resp, recs := s.core.AssignReplicasToDirs(req)
	if resp.ErrorCode != 0 {
		s.printf("%v\n", kerr.TypedErrorForCode(resp.ErrorCode).Message)
	}
	for i, dir := range resp.Directories {
		p := dir.Topics[0].Partitions[0]
		text := "ok"
		if p.ErrorCode != 0 {
			text = kerr.TypedErrorForCode(p.ErrorCode).Message
		}
		s.printf("%s: %s\n", lines[i], text)
	}
	s.accept(recs)
}

func (s *script) alter(t *testing.T, d *datadriven.TestData, lines []string) {
	var by int
	d.ScanArgs(t, "by", &by)
	req := kmsg.NewPtrAlterPartitionRequest()
	req.Version, req.BrokerID, req.BrokerEpoch = 3, int32(by), int64(s.epoch(by))
	if d.HasArg("epoch") {
		d.ScanArgs(t, "epoch", &req.BrokerEpoch)
	}
	for _, line := range lines {
		name, args := fields(t, line)
		at := strings.LastIndexByte(name, '-')
		partition, _ := strconv.Atoi(name[at+1:])
		p := kmsg.NewAlterPartitionRequestTopicPartition()
		p.Partition = int32(partition)
		topic := kmsg.AlterPartitionRequestTopic{TopicID: testID(99)}
		if now, ok := s.core.pending.Topic(name[:at]); ok {
			topic.TopicID = now.ID
			if partition < len(now.Partitions) {
				p.LeaderEpoch, p.PartitionEpoch = int32(now.Partitions[partition].LeaderEpoch), now.Partitions[partition].PartitionEpoch
			}
		}
		p.LeaderEpoch = int32(number(t, args, "leader-epoch", int(p.LeaderEpoch)))
		p.PartitionEpoch = int32(number(t, args, "partition-epoch", int(p.PartitionEpoch)))
		p.LeaderRecoveryState = int8(len(args["recovering"]))
		p.NewEpochISR = s.isr(t, strings.Join(args["isr"], ""))
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
	}
	resp, recs := s.core.AlterPartition(req)
	if resp.ErrorCode != 0 {
		s.printf("%v\n", kerr.TypedErrorForCode(resp.ErrorCode).Message)
	}
	for i, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if p.ErrorCode != 0 {
				s.printf("%d-%d: %v\n", i, p.Partition, kerr.TypedErrorForCode(p.ErrorCode).Message)
				continue
			}
			s.printf("%d-%d: leader %d epoch %d isr %v partition epoch %d\n", i, p.Partition, p.LeaderID, p.LeaderEpoch, p.ISR, p.PartitionEpoch)
		}
	}
	s.accept(recs)
}

// isr reads members as 1,2:7 with the epoch of a broker where it is not the registered one.
func (s *script) isr(t *testing.T, text string) (isr []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) {
	for m := range strings.SplitSeq(text, ",") {
		id, epoch, stated := strings.Cut(m, ":")
		node, err := strconv.Atoi(id)
		if err != nil {
			t.Fatal(err)
		}
		member := kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: int32(node), BrokerEpoch: int64(s.epoch(node))}
		if stated {
			if member.BrokerEpoch, err = strconv.ParseInt(epoch, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		isr = append(isr, member)
	}
	return isr
}

func (s *script) show() {
	for b := range s.core.pending.Brokers() {
		s.printf("broker %d epoch %d", b.ID, b.Epoch)
		if b.Fenced {
			s.printf(" fenced")
		}
		if b.InControlledShutdown {
			s.printf(" leaving")
		}
		s.printf("\n")
	}
	for topic := range s.core.pending.Topics() {
		for i := range topic.Partitions {
			s.printf("%s-%d %s\n", topic.Name, i, partitionText(&topic.Partitions[i]))
		}
	}
}

func partitionText(p *metadata.Partition) string {
	text := fmt.Sprintf("%v leader %d epoch %d,%d isr %v", p.Replicas, p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.ISR)
	if p.ELR != nil {
		text += fmt.Sprintf(" elr %v", p.ELR)
	}
	if p.LastKnownELR != nil {
		text += fmt.Sprintf(" last known %v", p.LastKnownELR)
	}
	return text
}

// What a session is worth does not depend on which of several that are over is looked at first.
func TestExpireDecidesOnEveryBroker(t *testing.T) {
	c := coreWithBrokers(t, 5)
	var fenced []ids.NodeID
	for d := c.Expire(testTime.Add(testConfig.SessionTimeout)); len(d.Records) > 0; d = c.Expire(testTime.Add(testConfig.SessionTimeout)) {
		fenced = append(fenced, d.Records[0].(*metadata.BrokerChangeRecord).BrokerID)
		mustAccept(t, c, d.Records)
		c.Commit(c.pending, true)
	}
	if !slices.Equal(fenced, []ids.NodeID{1, 2, 3, 4, 5}) {
		t.Fatalf("fenced %v", fenced)
	}
}

// A decision that is dropped, as the quorum did not take it, is made again.
func TestDroppedFenceIsDecidedAgain(t *testing.T) {
	c := coreWithBrokers(t, 2)
	late := testTime.Add(testConfig.SessionTimeout)
	for range 3 {
		d := c.Expire(late)
		if len(d.Records) != 1 {
			t.Fatalf("%+v", d)
		}
		mustAccept(t, c, d.Records)
		c.Reset(c.committed)
	}
}

// A registration in flight has an epoch that is only a guess: an entry without records,
// a leader's first, may come before it. No record may name it.
func TestGuessedEpochsAreNotUsed(t *testing.T) {
	c := coreWithBrokers(t, 1)
	restart := registration(1, 950, testID(800))
	now := testTime.Add(testConfig.SessionTimeout)
	recs, refusal := c.BrokerRegistration(restart, now)
	if refusal != nil {
		t.Fatal(refusal)
	}
	mustAccept(t, c, recs)
	guess, _ := c.pending.Broker(1)
	beat := heartbeat(c, 1)
	if resp, recs := c.BrokerHeartbeat(beat, now); resp.ErrorCode != kerr.StaleBrokerEpoch.Code || recs != nil {
		t.Fatalf("the incarnation before: %+v %v", resp, recs)
	}
	d := metadata.NewDelta(c.committed)
	for _, rec := range recs {
		if err := d.Replay(rec); err != nil {
			t.Fatal(err)
		}
	}
	img := d.Apply(c.committed.Offset+2, 1)
	c.Commit(img, false)
	beat = heartbeat(c, 1)
	if beat.BrokerEpoch == guess.Epoch {
		t.Fatal("the guess was right")
	}
	if resp, recs := c.BrokerHeartbeat(beat, now); resp.ErrorCode != 0 || !resp.IsFenced || recs != nil {
		t.Fatalf("while the guess stands: %+v %v", resp, recs)
	}
	c.Gone(1, guess.Epoch, now)
	c.Commit(img, true)
	if resp, recs := c.BrokerHeartbeat(beat, now); resp.ErrorCode != 0 || resp.IsFenced || len(recs) != 1 {
		t.Fatalf("once it is known: %+v %v", resp, recs)
	}
}

// Below moldau.version 2 a lone broker works as it always did, with records that an
// earlier release reads, and another may not join.
func TestLevelOne(t *testing.T) {
	c := coreOfLevel(testConfig, 1)
	level := func(recs []metadata.Record) {
		t.Helper()
		for _, rec := range recs {
			if metadata.Level(rec) > 1 {
				t.Errorf("%T %+v", rec, rec)
			}
		}
		mustAccept(t, c, recs)
		c.Commit(c.pending, true)
	}
	recs, refusal := c.BrokerRegistration(registration(1, 500, testID(600)), testTime)
	if refusal != nil {
		t.Fatal(refusal)
	}
	level(recs)
	resp, recs := c.BrokerHeartbeat(heartbeat(c, 1), testTime)
	if b, _ := c.committed.Broker(1); resp.ErrorCode != 0 || resp.IsFenced || b.Fenced {
		t.Fatalf("%+v %+v", resp, b)
	}
	level(recs)
	_, recs = c.CreateTopics(&kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{newTopic("a", 2, 1)}})
	level(recs)
	if d := c.Expire(testTime.Add(time.Hour)); len(d.Records) != 0 {
		t.Errorf("%+v", d)
	}
	b, _ := c.committed.Broker(1)
	if err := c.Accept([]metadata.Record{&metadata.BrokerChangeRecord{BrokerID: 1, BrokerEpoch: b.Epoch}}, c.pending.Offset+1, 1); err == nil {
		t.Error("a record of level 2 was accepted")
	}
	alter, recs := c.AlterPartition(&kmsg.AlterPartitionRequest{BrokerID: 1, BrokerEpoch: 1})
	if alter.ErrorCode != kerr.UnsupportedVersion.Code || recs != nil {
		t.Errorf("%+v", alter)
	}
	leave := heartbeat(c, 1)
	leave.WantShutdown = true
	if resp, recs := c.BrokerHeartbeat(leave, testTime); !resp.ShouldShutdown || len(recs) != 0 {
		t.Errorf("%+v %v", resp, recs)
	}
	if _, refusal := c.BrokerRegistration(registration(2, 501, testID(601)), testTime); refusal == nil || refusal.Code != kerr.UnsupportedVersion {
		t.Errorf("a second broker: %v", refusal)
	}
	recs, refusal = c.BrokerRegistration(registration(1, 502, testID(600)), testTime.Add(time.Minute))
	if refusal != nil || len(recs) != 3 {
		t.Fatalf("%v %v", recs, refusal)
	}
	level(recs)
}

// TestRegistrationSentAgain: a process that repeats its registration while the first is on its way keeps the one epoch that it is told.
func TestRegistrationSentAgain(t *testing.T) {
	c := newTestCore(testConfig)
	register := func(incarnation int) []metadata.Record {
		t.Helper()
		recs, refusal := c.BrokerRegistration(registration(1, incarnation, testID(600)), testTime)
		if refusal != nil {
			t.Fatal(refusal)
		}
		if len(recs) > 0 {
			mustAccept(t, c, recs)
		}
		return recs
	}
	register(500)
	if recs := register(500); len(recs) > 0 {
		t.Errorf("the registration on its way is followed by %v", recs)
	}
	c.Commit(c.pending, true)
	first, _ := c.committed.Broker(1)
	register(500)
	c.Commit(c.pending, true)
	if again, _ := c.committed.Broker(1); again.Epoch != first.Epoch {
		t.Errorf("broker epoch %d becomes %d", first.Epoch, again.Epoch)
	}
}

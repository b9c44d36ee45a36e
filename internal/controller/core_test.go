package controller

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// TestDecisions runs testdata/decisions: each request with the response and the records that it
// gets. Response codes are those that Apache Kafka 4.3.1 gave to the same requests.
func TestDecisions(t *testing.T) {
	datadriven.Walk(t, "testdata/decisions", func(t *testing.T, path string) {
		s := &script{core: newTestCore(testConfig), now: testTime}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			s.run(t, d)
			return s.out.String()
		})
	})
}

// script runs one file of testdata.
type script struct {
	core *Core
	now  time.Time
	out  bytes.Buffer
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format, args...) }

func (s *script) run(t *testing.T, d *datadriven.TestData) {
	version := int16(7)
	if d.HasArg("version") {
		var v int
		d.ScanArgs(t, "version", &v)
		version = int16(v)
	}
	lines := strings.Split(strings.TrimSpace(d.Input), "\n")
	if d.Input == "" {
		lines = nil
	}
	validateOnly := d.HasArg("validate-only")
	switch d.Cmd {
	case "config":
		s.core.config.DeleteTopicEnable = !d.HasArg("no-deletion")
		if d.HasArg("balance") {
			var interval string
			d.ScanArgs(t, "balance", &interval)
			s.core.config.BalanceInterval, _ = time.ParseDuration(interval)
		}
		if d.HasArg("no-level") {
			s.core = coreOfLevel(testConfig, 0)
		}
	case "bootstrap":
		s.accept(s.core.Bootstrap("cluster", []metadata.Voter{{NodeID: 1, DirectoryID: testID(1 << 9)}}))
	case "register":
		s.register(t, lines)
	case "fence":
		s.fence(t, lines)
	case "create-topics":
		s.createTopics(t, version, validateOnly, lines)
	case "delete-topics":
		s.deleteTopics(t, min(version, 6), lines)
	case "create-partitions":
		s.createPartitions(t, validateOnly, lines)
	case "elect":
		s.elect(t, version, d.HasArg("all"), lines)
	case "change":
		s.change(t, lines)
	case "reassign":
		s.reassign(t, version, d.HasArg("fixed"), lines)
	case "update-features":
		s.updateFeatures(t, validateOnly, lines)
	case "unregister":
		s.unregister(t, lines)
	case "alter-configs":
		s.alterConfigs(t, validateOnly, lines)
	case "replace-configs":
		s.replaceConfigs(t, validateOnly, lines)
	case "producer-ids":
		s.producerIDs(t, lines)
	case "adopt":
		s.adopt(t, lines)
	default:
		if !s.runCluster(t, d, lines) {
			t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
		}
	}
}

// accept prints recs, in short where they are many, and makes them committed.
func (s *script) accept(recs []metadata.Record) {
	for i, rec := range recs {
		if i == 12 && len(recs) > 20 {
			s.printf("  ... %d records\n", len(recs))
			break
		}
		s.printf("  + %s\n", recordText(rec))
	}
	if len(recs) == 0 {
		return
	}
	offset := s.core.pending.Offset + 1
	if err := s.core.Accept(recs, offset, 1); err != nil {
		s.printf("  cannot be replayed: %v\n", err)
		return
	}
	s.core.Commit(s.core.pending, true)
}

func recordText(rec metadata.Record) string {
	short := func(id ids.UUID) string { return id.String()[:4] }
	switch r := rec.(type) {
	case *metadata.TopicRecord:
		return fmt.Sprintf("topic %s id %s", r.Name, short(r.TopicID))
	case *metadata.PartitionRecord:
		return fmt.Sprintf("partition %d of %s replicas %v isr %v leader %d epoch %d dirs %v",
			r.PartitionID, short(r.TopicID), r.Replicas, r.ISR, r.Leader, r.LeaderEpoch, shortIDs(r.Directories))
	case *metadata.PartitionChangeRecord:
		text := fmt.Sprintf("change partition %d of %s leader %d", r.PartitionID, short(r.TopicID), r.Leader)
		if r.ISR != nil {
			text += fmt.Sprintf(" isr %v", r.ISR)
		}
		if r.ELR != nil {
			text += fmt.Sprintf(" elr %v", r.ELR)
		}
		if r.LastKnownELR != nil {
			text += fmt.Sprintf(" last known %v", r.LastKnownELR)
		}
		if r.Directories != nil {
			text += fmt.Sprintf(" dirs %v", shortIDs(r.Directories))
		}
		return text
	case *metadata.RemoveTopicRecord:
		return fmt.Sprintf("remove topic %s", short(r.TopicID))
	case *metadata.ConfigRecord:
		if r.Value == nil {
			return fmt.Sprintf("config %d %q: %s removed", r.Resource.Type, r.Resource.Name, r.Name)
		}
		return fmt.Sprintf("config %d %q: %s=%s", r.Resource.Type, r.Resource.Name, r.Name, shorten(*r.Value))
	case *metadata.RegisterBrokerRecord:
		return fmt.Sprintf("broker %d incarnation %s epoch %d dirs %d fenced %v clean %v", r.BrokerID, short(r.IncarnationID), r.BrokerEpoch, len(r.LogDirs), r.Fenced, r.CleanShutdown)
	case *metadata.BrokerChangeRecord:
		text := fmt.Sprintf("BrokerChangeRecord&{BrokerID:%d BrokerEpoch:%d Fenced:%v InControlledShutdown:%v}", r.BrokerID, r.BrokerEpoch, r.Fenced, r.InControlledShutdown)
		if r.OfflineDirs != nil || r.FullDirs != nil {
			text += fmt.Sprintf(" offline %v full %v", shortIDs(r.OfflineDirs), shortIDs(r.FullDirs))
		}
		return text
	case *metadata.ClusterRecord:
		return fmt.Sprintf("cluster %s of %d voters", r.ClusterID, len(r.Voters))
	}
	return strings.TrimPrefix(fmt.Sprintf("%T%+v", rec, rec), "*metadata.")
}

// shortIDs names directories by what distinguishes those of tests.
func shortIDs(list []ids.DirectoryID) []string {
	var out []string
	for _, id := range list {
		switch id {
		case metadata.LostDirectory:
			out = append(out, "lost")
		case metadata.UnassignedDirectory:
			out = append(out, "unassigned")
		default:
			out = append(out, id.String()[:4])
		}
	}
	return out
}

func shorten(s string) string {
	if len(s) > 60 {
		return fmt.Sprintf("%s... (%d)", s[:40], len(s))
	}
	return s
}

// fields splits a line at spaces; %xNxS in a word stands for S, N times.
func fields(t *testing.T, line string) (first string, args map[string][]string) {
	args = make(map[string][]string)
	for i, word := range strings.Fields(line) {
		if pre, rest, ok := strings.Cut(word, "%x"); ok {
			count, text, _ := strings.Cut(rest, "x")
			n, err := strconv.Atoi(count)
			if err != nil {
				t.Fatal(err)
			}
			word = pre + strings.Repeat(text, n)
		}
		if i == 0 {
			if first = word; word == `""` {
				first = ""
			}
			continue
		}
		key, value, _ := strings.Cut(word, "=")
		args[key] = append(args[key], value)
	}
	return first, args
}

func number(t *testing.T, args map[string][]string, key string, def int) int {
	if args[key] == nil {
		return def
	}
	n, err := strconv.Atoi(args[key][0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func nodeList(t *testing.T, s string) []int32 {
	out := []int32{}
	for e := range strings.SplitSeq(s, ",") {
		if e == "" {
			continue
		}
		n, err := strconv.Atoi(e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, int32(n))
	}
	return out
}

func (s *script) result(what string, code int16, message *string) {
	text := "ok"
	if code != 0 {
		text = fmt.Sprintf("%d %s", code, shorten100(*message))
	} else if message != nil {
		text = "ok, yet says " + *message
	}
	s.printf("%s: %s\n", what, text)
}

func shorten100(s string) string {
	if len(s) > 200 {
		return s[:60] + "..." + s[len(s)-60:]
	}
	return s
}

func (s *script) register(t *testing.T, lines []string) {
	for _, line := range lines {
		id, args := fields(t, line)
		node, _ := strconv.Atoi(id)
		req := registration(node, number(t, args, "incarnation", 500))
		if args["cluster"] != nil {
			req.ClusterID = args["cluster"][0]
		}
		if b, ok := s.core.committed.Broker(ids.NodeID(node)); ok && args["clean"] != nil {
			req.PreviousBrokerEpoch = b.Epoch
		}
		for _, dir := range nodeList(t, strings.Join(args["dirs"], "")) {
			if dir == 0 {
				req.LogDirs = append(req.LogDirs, ids.ZeroUUID)
			} else {
				req.LogDirs = append(req.LogDirs, testID(int(dir)))
			}
		}
		s.now = s.now.Add(testConfig.SessionTimeout) // the process before is long gone
		recs, refusal := s.core.BrokerRegistration(req, s.now)
		code, message := refusal.wire()
		s.result("broker "+id, code, message)
		s.accept(recs)
		if refusal == nil {
			s.unfence(t, node)
		}
	}
}

// unfence has a broker unfenced, as part of the entry before.
func (s *script) unfence(t *testing.T, node int) {
	_, recs := s.core.BrokerHeartbeat(heartbeat(s.core, node), s.now)
	if err := s.core.Accept(recs, s.core.pending.Offset, 1); err != nil {
		t.Fatal(err)
	}
	s.core.Commit(s.core.pending, true)
}

func (s *script) fence(t *testing.T, lines []string) {
	for _, line := range lines {
		id, _ := strconv.Atoi(line)
		b, ok := s.core.pending.Broker(ids.NodeID(id))
		if !ok {
			t.Fatalf("no broker %s", line)
		}
		s.accept([]metadata.Record{&metadata.RegisterBrokerRecord{BrokerID: b.ID, IncarnationID: b.Incarnation, BrokerEpoch: b.Epoch, LogDirs: b.Dirs, Fenced: true}})
	}
}

func (s *script) createTopics(t *testing.T, version int16, validateOnly bool, lines []string) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.ValidateOnly = version, validateOnly
	for _, line := range lines {
		topic := kmsg.NewCreateTopicsRequestTopic()
		name, args := fields(t, line)
		topic.Topic = name
		topic.NumPartitions = int32(number(t, args, "partitions", -1))
		topic.ReplicationFactor = int16(number(t, args, "rf", -1))
		for _, a := range args["assign"] {
			p, nodes, _ := strings.Cut(a, ":")
			assignment := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			n, _ := strconv.Atoi(p)
			assignment.Partition, assignment.Replicas = int32(n), nodeList(t, nodes)
			topic.ReplicaAssignment = append(topic.ReplicaAssignment, assignment)
		}
		for i := range number(t, args, "assign-many", 0) {
			topic.ReplicaAssignment = append(topic.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(i), Replicas: []int32{1}})
		}
		for _, c := range args["config"] {
			cfg := kmsg.NewCreateTopicsRequestTopicConfig()
			name, value, ok := strings.Cut(c, ":")
			if cfg.Name = name; ok {
				cfg.Value = &value
			}
			topic.Configs = append(topic.Configs, cfg)
		}
		req.Topics = append(req.Topics, topic)
	}
	resp, recs := s.core.CreateTopics(req)
	for _, topic := range resp.Topics {
		s.result(shorten(topic.Topic), topic.ErrorCode, topic.ErrorMessage)
		if topic.ErrorCode == 0 {
			s.printf("  id %s partitions %d rf %d", ids.UUID(topic.TopicID).String()[:4], topic.NumPartitions, topic.ReplicationFactor)
			for _, c := range topic.Configs {
				s.printf(" %s=%s(%d)", c.Name, *c.Value, c.Source)
			}
			s.printf("\n")
		} else if topic.NumPartitions != -1 || topic.ReplicationFactor != -1 || topic.Configs == nil || topic.TopicID != [16]byte{} {
			s.printf("  a refused topic tells %+v\n", topic)
		}
	}
	s.accept(recs)
}

func (s *script) topicID(t *testing.T, text string) ids.TopicID {
	if text == "" {
		return ids.ZeroUUID
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return testID(n)
}

func (s *script) deleteTopics(t *testing.T, version int16, lines []string) {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version = version
	for _, line := range lines {
		name, args := fields(t, line)
		if version < 6 {
			req.TopicNames = append(req.TopicNames, name)
			continue
		}
		topic := kmsg.NewDeleteTopicsRequestTopic()
		if name != "-" {
			topic.Topic = &name
		}
		topic.TopicID = s.topicID(t, strings.Join(args["id"], ""))
		req.Topics = append(req.Topics, topic)
	}
	resp, recs := s.core.DeleteTopics(req)
	for _, topic := range resp.Topics {
		name := "-"
		if topic.Topic != nil {
			name = fmt.Sprintf("%q", *topic.Topic)
		}
		s.result(fmt.Sprintf("%s id %s", name, ids.UUID(topic.TopicID).String()[:4]), topic.ErrorCode, topic.ErrorMessage)
	}
	s.accept(recs)
}

func (s *script) createPartitions(t *testing.T, validateOnly bool, lines []string) {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.ValidateOnly = validateOnly
	for _, line := range lines {
		topic := kmsg.NewCreatePartitionsRequestTopic()
		name, args := fields(t, line)
		topic.Topic, topic.Count = name, int32(number(t, args, "count", 0))
		if args["assign-none"] != nil {
			topic.Assignment = []kmsg.CreatePartitionsRequestTopicAssignment{}
		}
		for _, a := range args["assign"] {
			topic.Assignment = append(topic.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: nodeList(t, a)})
		}
		req.Topics = append(req.Topics, topic)
	}
	resp, recs := s.core.CreatePartitions(req)
	for _, topic := range resp.Topics {
		s.result(topic.Topic, topic.ErrorCode, topic.ErrorMessage)
	}
	s.accept(recs)
}

// alterConfigs reads lines of a type, a name and alterations: key=value, key+=value,
// key-=value, !key, ?N:key or ?N:key=value for operation N.
func (s *script) alterConfigs(t *testing.T, validateOnly bool, lines []string) {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = validateOnly
	for _, line := range lines {
		words := strings.Fields(line)
		typ, err := strconv.Atoi(words[0])
		if err != nil {
			t.Fatal(err)
		}
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(typ), strings.Trim(words[1], `"`)
		for _, word := range words[2:] {
			if n, ok := strings.CutPrefix(word, "many="); ok {
				count, _ := strconv.Atoi(n)
				for i := range count {
					r.Configs = append(r.Configs, alteration(fmt.Sprintf("k%d=v", i)))
				}
				continue
			}
			r.Configs = append(r.Configs, alteration(word))
		}
		req.Resources = append(req.Resources, r)
	}
	resp, recs := s.core.IncrementalAlterConfigs(1, req)
	for _, r := range resp.Resources {
		s.result(fmt.Sprintf("%d %q", r.ResourceType, r.ResourceName), r.ErrorCode, r.ErrorMessage)
	}
	s.accept(recs)
}

// replaceConfigs reads lines of a type, a name and configurations: key=value, or !key for a null.
func (s *script) replaceConfigs(t *testing.T, validateOnly bool, lines []string) {
	req := kmsg.NewPtrAlterConfigsRequest()
	req.ValidateOnly = validateOnly
	for _, line := range lines {
		words := strings.Fields(line)
		typ, err := strconv.Atoi(words[0])
		if err != nil {
			t.Fatal(err)
		}
		r := kmsg.NewAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(typ), strings.Trim(words[1], `"`)
		for _, word := range words[2:] {
			a := alteration(word)
			r.Configs = append(r.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: a.Name, Value: a.Value})
		}
		req.Resources = append(req.Resources, r)
	}
	resp, recs := s.core.AlterConfigs(1, req)
	for _, r := range resp.Resources {
		s.result(fmt.Sprintf("%d %q", r.ResourceType, r.ResourceName), r.ErrorCode, r.ErrorMessage)
	}
	s.accept(recs)
}

func alteration(word string) (c kmsg.IncrementalAlterConfigsRequestResourceConfig) {
	if name, ok := strings.CutPrefix(word, "!"); ok {
		return kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: name, Op: opDelete}
	}
	if rest, ok := strings.CutPrefix(word, "?"); ok {
		op, name, _ := strings.Cut(rest, ":")
		n, _ := strconv.Atoi(op)
		c.Op = kmsg.IncrementalAlterConfigOp(n)
		if name, value, ok := strings.Cut(name, "="); ok {
			c.Name, c.Value = name, &value
			return c
		}
		c.Name = name
		return c
	}
	name, value, _ := strings.Cut(word, "=")
	if count, text, ok := strings.Cut(value, "%x"); ok {
		n, _ := strconv.Atoi(count)
		value = strings.Repeat(text, n)
	}
	value = strings.ReplaceAll(value, "_", " ")
	c.Value = &value
	switch {
	case strings.HasSuffix(name, "+"):
		c.Name, c.Op = strings.TrimSuffix(name, "+"), opAppend
	case strings.HasSuffix(name, "-"):
		c.Name, c.Op = strings.TrimSuffix(name, "-"), opSubtract
	default:
		c.Name = name
	}
	return c
}

func (s *script) producerIDs(t *testing.T, lines []string) {
	for _, line := range lines {
		id, args := fields(t, line)
		node, _ := strconv.Atoi(id)
		first, count, recs, refusal := s.core.AllocateProducerIDs(ids.NodeID(node), int64(number(t, args, "epoch", 0)))
		code, message := refusal.wire()
		s.result(fmt.Sprintf("%d from %d", count, first), code, message)
		s.accept(recs)
	}
}

func (s *script) adopt(t *testing.T, lines []string) {
	for _, line := range lines {
		name, args := fields(t, line)
		a := &AdoptTopic{Name: name, ID: s.topicID(t, strings.Join(args["id"], "")), Node: ids.NodeID(number(t, args, "node", 1))}
		for _, e := range nodeList(t, strings.Join(args["epochs"], "")) {
			a.LatestEpochs = append(a.LatestEpochs, ids.LeaderEpoch(e))
		}
		for range number(t, args, "epochs-many", 0) {
			a.LatestEpochs = append(a.LatestEpochs, ids.NoLeaderEpoch)
		}
		recs, refusal := s.core.AdoptTopic(a)
		code, message := refusal.wire()
		s.result(name, code, message)
		s.accept(recs)
	}
}

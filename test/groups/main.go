// Command groups asks a broker for groups of many members, many groups and many committed offsets, in raw requests, and says
// what they cost. It is run by run.sh.
//
//	groups consumer|classic|many|commit|fetch -bootstrap HOST:PORT -pid PID
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	bootstrap = flag.String("bootstrap", "127.0.0.1:9092", "the broker")
	pid       = flag.Int("pid", 0, "its process, whose CPU and memory are told")
	count     = flag.Int("n", 1000, "members, groups or offsets")
	limit     = flag.Duration("limit", 0, "how long it may take; 0 for as long as it does")
	cpuLimit  = flag.Duration("cpu", 0, "how much CPU of the broker it may take; 0 for any")
	parts     = flag.Int("partitions", 2000, "partitions of the topic")
)

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("groups"))

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("say what to do: consumer, classic, many, commit or fetch"))
	}
	modes := map[string]func() error{"consumer": consumers, "classic": classics, "many": manyGroups, "commit": commitOffsets, "fetch": fetchOffsets}
	mode := modes[os.Args[1]]
	_ = flag.CommandLine.Parse(os.Args[2:])
	if mode == nil {
		fail(fmt.Errorf("no mode %s", os.Args[1]))
	}
	fail(mode())
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "groups:", err)
		os.Exit(1)
	}
}

// conn is one connection, with one request at a time.
type conn struct {
	net.Conn
	correlation int32
	buf         []byte
}

func dial() (*conn, error) {
	c, err := net.DialTimeout("tcp", *bootstrap, 10*time.Second)
	return &conn{Conn: c}, err
}

// ask sends a request of a version and reads its answer.
func ask[T kmsg.Response](c *conn, version int16, req kmsg.Request) (answer T, err error) {
	req.SetVersion(version)
	c.correlation++
	c.buf = formatter.AppendRequest(c.buf[:0], req, c.correlation)
	if _, err := c.Write(c.buf); err != nil {
		return answer, err
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return answer, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, body); err != nil {
		return answer, err
	}
	body = body[4:] // the correlation id
	resp := req.ResponseKind()
	if resp.IsFlexible() {
		body = body[1:] // no tags
	}
	if err := resp.ReadFrom(body); err != nil {
		return answer, err
	}
	return resp.(T), nil
}

// makeTopic makes a topic, and the topic of the coordinator, and returns the id.
func makeTopic(name string, partitions int) (id [16]byte, err error) {
	c, err := dial()
	if err != nil {
		return id, err
	}
	defer c.Close()
	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 60_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, int32(partitions), 1
	create.Topics = append(create.Topics, t)
	made, err := ask[*kmsg.CreateTopicsResponse](c, 7, create)
	if err != nil {
		return id, err
	}
	if code := made.Topics[0].ErrorCode; code != 0 && code != 36 { // it is there already
		return id, fmt.Errorf("topic %s: error %d", name, code)
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorKeys = []string{"groups"}
		found, err := ask[*kmsg.FindCoordinatorResponse](c, 4, find)
		if err != nil {
			return id, err
		}
		meta := kmsg.NewPtrMetadataRequest()
		meta.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
		seen, err := ask[*kmsg.MetadataResponse](c, 12, meta)
		if err != nil {
			return id, err
		}
		if found.Coordinators[0].ErrorCode == 0 && seen.Topics[0].ErrorCode == 0 && len(seen.Topics[0].Partitions) == partitions {
			return seen.Topics[0].TopicID, nil
		}
	}
	return id, fmt.Errorf("topic %s and its coordinator are not there", name)
}

// cost measures the broker from its making to report.
type cost struct {
	began time.Time
	cpu   time.Duration
	rss   int64
}

func begin() cost { return cost{time.Now(), brokerCPU(), brokerRSS()} }

// report prints what it took, and says where that is more than may be.
func (c cost) report(what string) error {
	took, cpu := time.Since(c.began), brokerCPU()-c.cpu
	fmt.Printf("%s: %.2f s, broker %.2f s of CPU, %+.1f MB\n", what, took.Seconds(), cpu.Seconds(), float64(brokerRSS()-c.rss)/1e6)
	if *limit > 0 && took > *limit {
		return fmt.Errorf("%s took %v, %v were allowed", what, took, *limit)
	}
	if *cpuLimit > 0 && cpu > *cpuLimit {
		return fmt.Errorf("%s took %v of CPU, %v were allowed", what, cpu, *cpuLimit)
	}
	return nil
}

// brokerCPU is user and system time, in ticks of 10 ms.
func brokerCPU() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", *pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func brokerRSS() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", *pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// javaHash is where a group is: what Kafka's Utils.abs makes of the hash of its name, modulo 50.
func javaHash(s string) int32 {
	var h int32
	for _, b := range []byte(s) {
		h = 31*h + int32(b)
	}
	if h < 0 {
		return max(-h, 0) // the least number has none of its own
	}
	return h
}

// namesOfOne returns n names of groups that are all in one partition of __consumer_offsets.
func namesOfOne(n int) []string {
	var names []string
	for i := 0; len(names) < n; i++ {
		if name := fmt.Sprintf("offsets-%d", i); javaHash(name)%50 == 7 {
			names = append(names, name)
		}
	}
	return names
}

const offsetsPerGroup = 100

// commitOffsets commits n offsets in groups of one partition of the coordinator's.
func commitOffsets() error {
	id, err := makeTopic("offsets", offsetsPerGroup)
	if err != nil {
		return err
	}
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.Close()
	at := begin()
	for _, name := range namesOfOne(*count / offsetsPerGroup) {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.Generation = name, -1
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.TopicID = "offsets", id
		for p := range int32(offsetsPerGroup) {
			t.Partitions = append(t.Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: p, Offset: int64(p) + 1, LeaderEpoch: -1})
		}
		req.Topics = append(req.Topics, t)
		resp, err := ask[*kmsg.OffsetCommitResponse](c, 9, req)
		if err != nil {
			return err
		}
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
			return fmt.Errorf("commit of group %s: error %d", name, code)
		}
	}
	return at.report(fmt.Sprintf("%d offsets committed", *count))
}

// fetchOffsets reads the offsets of the last group of commitOffsets, and waits until it can.
func fetchOffsets() error {
	names := namesOfOne(*count / offsetsPerGroup)
	last := names[len(names)-1]
	for at := begin(); ; time.Sleep(5 * time.Millisecond) {
		if time.Since(at.began) > time.Minute {
			return fmt.Errorf("offsets of group %s cannot be had", last)
		}
		c, err := dial()
		if err != nil {
			continue
		}
		req := kmsg.NewPtrOffsetFetchRequest()
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = last
		req.Groups = append(req.Groups, g)
		resp, err := ask[*kmsg.OffsetFetchResponse](c, 9, req)
		c.Close()
		if err != nil || resp.Groups[0].ErrorCode != 0 {
			continue
		}
		have := resp.Groups[0].Topics[0].Partitions
		if len(have) != offsetsPerGroup || slices.ContainsFunc(have, func(p kmsg.OffsetFetchResponseGroupTopicPartition) bool { return p.Offset != int64(p.Partition)+1 }) {
			return fmt.Errorf("group %s has %v", last, have)
		}
		return at.report("the offsets read after a start")
	}
}

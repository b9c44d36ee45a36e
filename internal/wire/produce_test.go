package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
)

// some returns up to n bytes of any value, of a length that is often 0 and now and
// then crosses the sizes at which a varint grows.
func some(r *rand.Rand, n int) []byte {
	p := make([]byte, []int{0, 1, r.IntN(n), 126, 127, 128}[r.IntN(6)])
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func randomProduceRequest(r *rand.Rand, version int16) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(version)
	if r.IntN(2) == 0 {
		req.TransactionID = kmsg.StringPtr(string(some(r, 300)))
	}
	req.Acks, req.TimeoutMillis = int16(r.Uint32()), int32(r.Uint32())
	for range r.IntN(4) {
		topic := kmsg.NewProduceRequestTopic()
		if version >= produceTopicIDs {
			topic.TopicID = ids.NewUUID()
		} else {
			topic.Topic = string(some(r, 250))
		}
		for range r.IntN(5) {
			part := kmsg.NewProduceRequestTopicPartition()
			part.Partition = int32(r.Uint32())
			if r.IntN(5) > 0 {
				part.Records = some(r, 20000)
			}
			if r.IntN(5) == 0 {
				part.UnknownTags.Set(uint32(r.IntN(1000)), some(r, 200))
			}
			topic.Partitions = append(topic.Partitions, part)
		}
		if r.IntN(5) == 0 {
			topic.UnknownTags.Set(3, some(r, 200))
		}
		req.Topics = append(req.Topics, topic)
	}
	if r.IntN(5) == 0 {
		req.UnknownTags.Set(9, some(r, 200))
	}
	return req
}

// walk reads a view into kmsg's type.
func walk(view *ProduceRequest) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = view.Version, view.Acks, view.TimeoutMs
	if view.TransactionalID != nil {
		req.TransactionID = kmsg.StringPtr(string(view.TransactionalID))
	}
	for topics := view.Topics(); topics.Next(); {
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic, topic.TopicID = string(topics.Name), topics.ID
		for parts := topics.Partitions(); parts.Next(); {
			part := kmsg.NewProduceRequestTopicPartition()
			part.Partition, part.Records = parts.Partition, parts.Records
			topic.Partitions = append(topic.Partitions, part)
		}
		req.Topics = append(req.Topics, topic)
	}
	return req
}

// sameProduce compares all that a view shows: tags are skipped by it.
func sameProduce(a, b *kmsg.ProduceRequest) bool {
	sameString := func(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
	return sameString(a.TransactionID, b.TransactionID) && a.Acks == b.Acks && a.TimeoutMillis == b.TimeoutMillis &&
		slices.EqualFunc(a.Topics, b.Topics, func(a, b kmsg.ProduceRequestTopic) bool {
			return a.Topic == b.Topic && a.TopicID == b.TopicID &&
				slices.EqualFunc(a.Partitions, b.Partitions, func(a, b kmsg.ProduceRequestTopicPartition) bool {
					return a.Partition == b.Partition && bytes.Equal(a.Records, b.Records) && (a.Records == nil) == (b.Records == nil)
				})
		})
}

func TestProduceRequestIsWhatKmsgWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for version := int16(3); version <= 13; version++ {
		for i := range 100 {
			req := randomProduceRequest(r, version)
			body := req.AppendTo(nil)
			view, err := ReadProduceRequest(version, body)
			if err != nil {
				t.Fatalf("v%d: %v", version, err)
			}
			if got := walk(&view); !sameProduce(got, req) || view.TopicCount() != len(req.Topics) {
				t.Fatalf("v%d: %+v, want %+v", version, got, req)
			}
			if again := walk(&view); !sameProduce(again, req) {
				t.Fatalf("v%d: the second walk differs", version)
			}
			for n := range len(body) { // every prefix is refused as a whole
				if i > 10 || n > 200 && n < len(body)-200 {
					continue
				}
				if _, err := ReadProduceRequest(version, body[:n]); !errors.Is(err, ErrMalformed) {
					t.Fatalf("v%d: %d of %d bytes: %v", version, n, len(body), err)
				}
			}
		}
	}
}

func TestProduceRequestRefusesClaims(t *testing.T) {
	for _, version := range []int16{3, 9, 13} {
		flexible := version >= produceFlexible
		head := []byte{0xff, 0xff}
		if flexible {
			head = []byte{0}
		}
		head = AppendInt32(AppendInt16(head, -1), 1000)
		for _, claim := range []int{-1, -2, 1<<31 - 1, -1 << 31, 1 << 20} {
			body := appendArrayLen(slices.Clone(head), flexible, claim)
			body = append(body, make([]byte, 100)...)
			if _, err := ReadProduceRequest(version, body); !errors.Is(err, ErrMalformed) {
				t.Errorf("v%d: %d topics: %v", version, claim, err)
			}
		}
	}
}

func TestProduceRequestAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for version := int16(3); version <= 13; version++ {
		body := randomProduceRequest(r, version).AppendTo(nil)
		sum := 0
		n := testing.AllocsPerRun(100, func() {
			view, err := ReadProduceRequest(version, body)
			if err != nil {
				t.Fatal(err)
			}
			for topics := view.Topics(); topics.Next(); {
				for parts := topics.Partitions(); parts.Next(); {
					sum += len(parts.Records)
				}
			}
		})
		if n != 0 {
			t.Errorf("v%d: %v allocations", version, n)
		}
	}
}

// FuzzProduceRequest: no panic; what is accepted, kmsg accepts and reads the same;
// the view can be walked whole and holds no more records than the body has bytes.
func FuzzProduceRequest(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for version := int16(3); version <= 13; version++ {
		f.Add(version, randomProduceRequest(r, version).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 3 || version > 13 {
			return
		}
		view, err := ReadProduceRequest(version, body)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		theirs := kmsg.NewPtrProduceRequest()
		theirs.SetVersion(version)
		if err := theirs.ReadFrom(bytes.Clone(body)); err != nil {
			t.Fatalf("v%d: kmsg refuses %x: %v", version, body, err)
		}
		ours := walk(&view)
		if !sameProduce(ours, theirs) {
			t.Fatalf("v%d %x: %+v, kmsg %+v", version, body, ours, theirs)
		}
		sum := 0
		for i := range ours.Topics {
			for j := range ours.Topics[i].Partitions {
				sum += len(ours.Topics[i].Partitions[j].Records)
			}
		}
		if sum > len(body) || len(ours.Topics) != view.TopicCount() {
			t.Fatalf("%d bytes of records in %d", sum, len(body))
		}
	})
}

func randomNodes(r *rand.Rand) []NodeEndpoint {
	var nodes []NodeEndpoint
	for range r.IntN(3) * r.IntN(80) {
		n := NodeEndpoint{ID: ids.NodeID(r.Uint32()), Host: string(some(r, 200)), Port: int32(r.Uint32())}
		if r.IntN(2) == 0 {
			rack := string(some(r, 30))
			n.Rack = &rack
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func randomLeader(r *rand.Rand) LeaderIDAndEpoch {
	return LeaderIDAndEpoch{Known: r.IntN(2) == 0, ID: ids.NodeID(r.Int32N(1000)), Epoch: ids.LeaderEpoch(r.Int32N(1000))}
}

func message(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func TestProduceResponseIsWhatKmsgWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for version := int16(3); version <= 13; version++ {
		for range 100 {
			want := kmsg.NewPtrProduceResponse()
			want.SetVersion(version)
			topics := r.IntN(4)
			got := AppendProduceResponse([]byte("prefix"), version, topics)
			for range topics {
				name, id, parts := string(some(r, 250)), ids.NewUUID(), r.IntN(5)
				topic := kmsg.NewProduceResponseTopic()
				topic.Topic, topic.TopicID = name, id
				got = AppendProduceTopic(got, version, name, id, parts)
				for range parts {
					ours, theirs := randomProducePartition(r, version)
					got = AppendProducePartition(got, version, ours)
					topic.Partitions = append(topic.Partitions, theirs)
				}
				got = AppendProduceTopicEnd(got, version)
				want.Topics = append(want.Topics, topic)
			}
			nodes := randomNodes(r)
			want.ThrottleMillis = int32(r.Uint32())
			got = AppendProduceResponseEnd(got, version, want.ThrottleMillis, nodes)
			if version >= produceLeaderHints {
				for _, n := range nodes {
					b := kmsg.NewProduceResponseBroker()
					b.NodeID, b.Host, b.Port, b.Rack = int32(n.ID), n.Host, n.Port, n.Rack
					want.Brokers = append(want.Brokers, b)
				}
			}
			if bytes := want.AppendTo([]byte("prefix")); !slices.Equal(got, bytes) {
				t.Fatalf("v%d %+v:\n got %x\nwant %x", version, want, got, bytes)
			}
		}
	}
}

func randomProducePartition(r *rand.Rand, version int16) (*ProducePartitionResponse, kmsg.ProduceResponseTopicPartition) {
	ours := &ProducePartitionResponse{
		Partition: int32(r.Uint32()), ErrorCode: int16(r.Uint32()), BaseOffset: ids.Offset(r.Uint64()),
		LogAppendTimeMs: int64(r.Uint64()), LogStartOffset: ids.Offset(r.Uint64()),
		ErrorMessage: string(some(r, 100)), CurrentLeader: randomLeader(r),
	}
	theirs := kmsg.NewProduceResponseTopicPartition()
	theirs.Partition, theirs.ErrorCode, theirs.BaseOffset = ours.Partition, ours.ErrorCode, int64(ours.BaseOffset)
	theirs.LogAppendTime, theirs.LogStartOffset = ours.LogAppendTimeMs, int64(ours.LogStartOffset)
	theirs.ErrorMessage = message(ours.ErrorMessage)
	for range r.IntN(4) {
		e := ProduceRecordError{Index: int32(r.Uint32()), Message: string(some(r, 100))}
		ours.RecordErrors = append(ours.RecordErrors, e)
		k := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		k.RelativeOffset, k.ErrorMessage = e.Index, message(e.Message)
		theirs.ErrorRecords = append(theirs.ErrorRecords, k)
	}
	if version >= produceLeaderHints && ours.CurrentLeader.Known {
		theirs.CurrentLeader.LeaderID = int32(ours.CurrentLeader.ID)
		theirs.CurrentLeader.LeaderEpoch = int32(ours.CurrentLeader.Epoch)
	}
	return ours, theirs
}

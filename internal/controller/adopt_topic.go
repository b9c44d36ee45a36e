package controller

import (
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// AdoptTopic asks to register a topic whose partitions lie in a broker's directory
// already, copied there from another cluster.
type AdoptTopic struct {
	Name string
	ID   ids.TopicID // as in its partition.metadata
	Node ids.NodeID  // the broker that has the files; it becomes the only replica
	// LatestEpochs has one element a partition: the highest leader epoch in its log,
	// ids.NoLeaderEpoch where it has none. The partition goes on with the next.
	LatestEpochs []ids.LeaderEpoch
	// Directory holds all partitions; metadata.UnassignedDirectory where they are spread.
	Directory ids.DirectoryID
}

// AdoptTopic registers a topic under a given id. It is refused where the name or the
// id is taken: the files then belong to something else.
func (c *Core) AdoptTopic(a *AdoptTopic) ([]metadata.Record, *Refusal) {
	if refusal := c.checkNewTopic(a.Name); refusal != nil {
		return nil, refusal
	}
	if a.Name == metadataTopic {
		return nil, refuse(kerr.InvalidRequest, "topic %s is the controller's own and cannot be adopted", metadataTopic)
	}
	if a.ID.Reserved() {
		return nil, refuse(kerr.InvalidRequest, "%s cannot be the id of topic %q", a.ID, a.Name)
	}
	if t, ok := c.pending.TopicByID(a.ID); ok {
		return nil, refuse(kerr.TopicAlreadyExists, "id %s of topic %q is that of topic %q already", a.ID, a.Name, t.Name)
	}
	if len(a.LatestEpochs) == 0 {
		return nil, refuse(kerr.InvalidPartitions, "topic %q has no partition", a.Name)
	}
	if n := len(a.LatestEpochs); n+1 > recordsMax {
		return nil, refuseTooMany(n + 1)
	}
	if b, ok := c.pending.Broker(a.Node); !ok || b.Fenced {
		return nil, refuse(kerr.BrokerIDNotRegistered, "broker %d, which has the files of topic %q, is not available", a.Node, a.Name)
	}
	recs := []metadata.Record{&metadata.TopicRecord{Name: a.Name, TopicID: a.ID}}
	for i, latest := range a.LatestEpochs {
		if latest < ids.NoLeaderEpoch || latest == math.MaxInt32 {
			return nil, refuse(kerr.InvalidRequest, "partition %d of topic %q cannot go on after leader epoch %d", i, a.Name, latest)
		}
		p := metadata.Partition{
			Replicas: []ids.NodeID{a.Node}, ISR: []ids.NodeID{a.Node}, Leader: a.Node, LeaderEpoch: latest + 1,
			Directories: []ids.DirectoryID{a.Directory},
		}
		recs = append(recs, &metadata.PartitionRecord{TopicID: a.ID, PartitionID: int32(i), Partition: p})
	}
	return recs, nil
}

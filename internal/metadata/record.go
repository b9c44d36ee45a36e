package metadata

import "github.com/moldau/moldau/internal/ids"

// VersionFeature is the finalized feature that gates every record type, peer
// message and file format of a release.
const VersionFeature = "moldau.version"

// LatestVersion is the highest level of VersionFeature that this release knows.
const LatestVersion int16 = 3

// ReplicationVersion is the level of VersionFeature from which on brokers are fenced
// and partitions remember eligible leaders.
const ReplicationVersion int16 = 2

// DirectoriesVersion is the level of VersionFeature from which on it counts in which of its
// directories a broker has a replica, and which of them have failed or are full (KIP-858).
const DirectoriesVersion int16 = 3

// Record is one change of the metadata. The types of this file are all there are.
type Record interface {
	// kind tells the type on disk and the version that is written: the lowest that can
	// say what the record says.
	kind() (recordType, recordVersion)
	appendBody(dst []byte) []byte
	// readBody reads a body of version v, which is at most the type's latestVersion.
	readBody(r *reader, v recordVersion)
}

// Level returns the level of VersionFeature from which on a record may be written.
func Level(rec Record) int16 {
	switch t, v := rec.kind(); {
	case t == typeBrokerChange && v > 0, t == typeRegisterBroker && v > 1:
		return DirectoriesVersion
	case t == typeBrokerChange, v > 0:
		return ReplicationVersion
	}
	return 1
}

type recordType uint16
type recordVersion uint16

// Numbers of the record types on disk; one is never reused.
const (
	typeCluster          recordType = 1
	typeFeatureLevel     recordType = 2
	typeRegisterBroker   recordType = 3
	typeUnregisterBroker recordType = 4
	typeTopic            recordType = 5
	typePartition        recordType = 6
	typePartitionChange  recordType = 7
	typeRemoveTopic      recordType = 8
	typeConfig           recordType = 9
	typeProducerIDs      recordType = 10
	typeBrokerChange     recordType = 11
	typeLast                        = typeBrokerChange
)

// latestVersion is the highest version of a type that this release reads.
func latestVersion(t recordType) recordVersion {
	switch t {
	case typeRegisterBroker:
		return 2
	case typePartition, typePartitionChange, typeBrokerChange:
		return 1
	}
	return 0
}

// newRecord returns an empty record of type t, nil where this release knows none.
func newRecord(t recordType) Record {
	switch t {
	case typeCluster:
		return new(ClusterRecord)
	case typeFeatureLevel:
		return new(FeatureLevelRecord)
	case typeRegisterBroker:
		return new(RegisterBrokerRecord)
	case typeUnregisterBroker:
		return new(UnregisterBrokerRecord)
	case typeTopic:
		return new(TopicRecord)
	case typePartition:
		return new(PartitionRecord)
	case typePartitionChange:
		return new(PartitionChangeRecord)
	case typeRemoveTopic:
		return new(RemoveTopicRecord)
	case typeConfig:
		return new(ConfigRecord)
	case typeProducerIDs:
		return new(ProducerIdsRecord)
	case typeBrokerChange:
		return new(BrokerChangeRecord)
	}
	return nil
}

// ClusterRecord names the cluster and the voters that it began with. It is in the
// first entry and never again.
type ClusterRecord struct {
	ClusterID string
	Voters    []Voter
}

// Voter is one member of the first quorum. A new directory is a new member.
type Voter struct {
	NodeID      ids.NodeID
	DirectoryID ids.DirectoryID
}

// FeatureLevelRecord finalizes a feature; level 0 takes it back.
type FeatureLevelRecord struct {
	Name         string
	FeatureLevel int16
}

// EpochOfEntry in RegisterBrokerRecord.BrokerEpoch stands for the offset of the entry
// that holds the record: whoever decides does not know it yet.
const EpochOfEntry int64 = -1

// RegisterBrokerRecord admits one incarnation (one process) of a broker, and
// replaces what an earlier one registered.
type RegisterBrokerRecord struct {
	BrokerID      ids.NodeID
	IncarnationID ids.UUID
	BrokerEpoch   int64 // EpochOfEntry, or the epoch itself in a snapshot
	Endpoints     []Endpoint
	Rack          *string
	LogDirs       []ids.DirectoryID // sorted
	Fenced        bool
	CleanShutdown bool // the incarnation before this one closed its directories
	// InControlledShutdown is written in snapshots alone: nobody registers while leaving.
	InControlledShutdown bool
	// OfflineDirs and FullDirs are of a process that goes on: a new one has none that it names.
	OfflineDirs, FullDirs []ids.DirectoryID
}

// BrokerChangeRecord says in which state a registered broker is from now on.
type BrokerChangeRecord struct {
	BrokerID             ids.NodeID
	BrokerEpoch          int64
	Fenced               bool
	InControlledShutdown bool
	OfflineDirs          []ids.DirectoryID // that have failed; nil stands for no change, empty for none from now on
	FullDirs             []ids.DirectoryID // that have no room; likewise
}

// Endpoint is where clients reach a broker on one listener.
type Endpoint struct {
	Listener string
	Host     string
	Port     uint16
	Protocol int16 // Kafka's SecurityProtocol: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL
}

// UnregisterBrokerRecord forgets a broker.
type UnregisterBrokerRecord struct {
	BrokerID    ids.NodeID
	BrokerEpoch int64
}

// TopicRecord makes a topic without partitions; its PartitionRecords follow.
type TopicRecord struct {
	Name    string
	TopicID ids.TopicID
}

// PartitionRecord makes the next partition of a topic, or replaces one whole.
type PartitionRecord struct {
	TopicID     ids.TopicID
	PartitionID int32
	Partition
}

// NoLeaderChange in PartitionChangeRecord.Leader leaves leader and leader epoch alone.
const NoLeaderChange ids.NodeID = -2

// PartitionChangeRecord changes some fields of a partition; nil slices stand for no
// change. It always adds one to the partition epoch, and one to the leader epoch
// unless Leader is NoLeaderChange: naming the same leader again begins a new epoch.
type PartitionChangeRecord struct {
	TopicID      ids.TopicID
	PartitionID  int32
	Leader       ids.NodeID
	ISR          []ids.NodeID
	Replicas     []ids.NodeID
	Directories  []ids.DirectoryID
	ELR          []ids.NodeID // empty, as opposed to nil, for none from now on
	LastKnownELR []ids.NodeID // likewise
}

// RemoveTopicRecord deletes a topic with its partitions and its configuration.
type RemoveTopicRecord struct {
	TopicID ids.TopicID
}

// ConfigRecord sets one configuration of a resource, or removes it where Value is nil.
type ConfigRecord struct {
	Resource ConfigResource
	Name     string
	Value    *string
}

// ProducerIdsRecord hands the producer ids below NextProducerID out, the block
// before it to the broker named (KIP-730).
type ProducerIdsRecord struct {
	BrokerID       ids.NodeID
	BrokerEpoch    int64
	NextProducerID ids.ProducerID // exclusive
}

package metadata

import (
	"encoding/binary"
	"math"

	"github.com/moldau/moldau/internal/ids"
)

func (*ClusterRecord) kind() (recordType, recordVersion)          { return typeCluster, 0 }
func (*FeatureLevelRecord) kind() (recordType, recordVersion)     { return typeFeatureLevel, 0 }
func (*UnregisterBrokerRecord) kind() (recordType, recordVersion) { return typeUnregisterBroker, 0 }
func (*TopicRecord) kind() (recordType, recordVersion)            { return typeTopic, 0 }
func (*RemoveTopicRecord) kind() (recordType, recordVersion)      { return typeRemoveTopic, 0 }
func (*ConfigRecord) kind() (recordType, recordVersion)           { return typeConfig, 0 }
func (*ProducerIdsRecord) kind() (recordType, recordVersion)      { return typeProducerIDs, 0 }

func (b *RegisterBrokerRecord) kind() (recordType, recordVersion) {
	if b.OfflineDirs != nil || b.FullDirs != nil {
		return typeRegisterBroker, 2
	}
	return typeRegisterBroker, versionOneIf(b.InControlledShutdown)
}

func (b *BrokerChangeRecord) kind() (recordType, recordVersion) {
	return typeBrokerChange, versionOneIf(b.OfflineDirs != nil || b.FullDirs != nil)
}

func (p *PartitionRecord) kind() (recordType, recordVersion) {
	return typePartition, versionOneIf(p.ELR != nil || p.LastKnownELR != nil)
}

func (p *PartitionChangeRecord) kind() (recordType, recordVersion) {
	return typePartitionChange, versionOneIf(p.ELR != nil || p.LastKnownELR != nil)
}

func versionOneIf(needed bool) recordVersion {
	if needed {
		return 1
	}
	return 0
}

func (c *ClusterRecord) appendBody(dst []byte) []byte {
	dst = appendString(dst, c.ClusterID)
	dst = binary.AppendUvarint(dst, uint64(len(c.Voters)))
	for i := range c.Voters {
		dst = binary.AppendVarint(dst, int64(c.Voters[i].NodeID))
		dst = append(dst, c.Voters[i].DirectoryID[:]...)
	}
	return dst
}

func (c *ClusterRecord) readBody(r *reader, _ recordVersion) {
	c.ClusterID = r.string()
	n := r.count(17)
	if n == 0 {
		return
	}
	c.Voters = make([]Voter, n)
	for i := range c.Voters {
		c.Voters[i] = Voter{r.node(), r.uuid()}
	}
}

func (f *FeatureLevelRecord) appendBody(dst []byte) []byte {
	return binary.AppendVarint(appendString(dst, f.Name), int64(f.FeatureLevel))
}

func (f *FeatureLevelRecord) readBody(r *reader, _ recordVersion) {
	f.Name = r.string()
	f.FeatureLevel = int16(r.bounded(0, math.MaxInt16))
}

func (b *RegisterBrokerRecord) appendBody(dst []byte) []byte {
	dst = binary.AppendVarint(dst, int64(b.BrokerID))
	dst = append(dst, b.IncarnationID[:]...)
	dst = binary.AppendVarint(dst, b.BrokerEpoch)
	dst = binary.AppendUvarint(dst, uint64(len(b.Endpoints)))
	for i := range b.Endpoints {
		e := &b.Endpoints[i]
		dst = appendString(dst, e.Listener)
		dst = appendString(dst, e.Host)
		dst = binary.AppendVarint(dst, int64(e.Port))
		dst = binary.AppendVarint(dst, int64(e.Protocol))
	}
	dst = appendNullableString(dst, b.Rack)
	dst = appendDirectories(dst, b.LogDirs)
	dst = appendBool(dst, b.Fenced)
	dst = appendBool(dst, b.CleanShutdown)
	_, v := b.kind()
	if v > 0 {
		dst = appendBool(dst, b.InControlledShutdown)
	}
	if v > 1 {
		dst = appendDirectories(appendDirectories(dst, b.OfflineDirs), b.FullDirs)
	}
	return dst
}

func (b *RegisterBrokerRecord) readBody(r *reader, v recordVersion) {
	b.BrokerID = r.node()
	b.IncarnationID = r.uuid()
	b.BrokerEpoch = r.bounded(EpochOfEntry, math.MaxInt64)
	if n := r.count(4); n > 0 {
		b.Endpoints = make([]Endpoint, n)
	}
	for i := range b.Endpoints {
		b.Endpoints[i] = Endpoint{
			Listener: r.string(),
			Host:     r.string(),
			Port:     uint16(r.bounded(0, math.MaxUint16)),
			Protocol: int16(r.bounded(0, math.MaxInt16)),
		}
	}
	b.Rack = r.nullableString()
	b.LogDirs = r.directories()
	b.Fenced = r.bool()
	b.CleanShutdown = r.bool()
	if v > 0 {
		b.InControlledShutdown = r.bool()
	}
	if v > 1 {
		b.OfflineDirs, b.FullDirs = r.directories(), r.directories()
	}
}

func (b *UnregisterBrokerRecord) appendBody(dst []byte) []byte {
	return binary.AppendVarint(binary.AppendVarint(dst, int64(b.BrokerID)), b.BrokerEpoch)
}

func (b *UnregisterBrokerRecord) readBody(r *reader, _ recordVersion) {
	b.BrokerID = r.node()
	b.BrokerEpoch = r.varint()
}

func (t *TopicRecord) appendBody(dst []byte) []byte {
	return append(appendString(dst, t.Name), t.TopicID[:]...)
}

func (t *TopicRecord) readBody(r *reader, _ recordVersion) {
	t.Name = r.string()
	t.TopicID = r.uuid()
}

func (p *PartitionRecord) appendBody(dst []byte) []byte {
	dst = append(dst, p.TopicID[:]...)
	dst = binary.AppendVarint(dst, int64(p.PartitionID))
	dst = appendNodes(dst, p.Replicas)
	dst = appendNodes(dst, p.ISR)
	dst = binary.AppendVarint(dst, int64(p.Leader))
	dst = binary.AppendVarint(dst, int64(p.LeaderEpoch))
	dst = binary.AppendVarint(dst, int64(p.PartitionEpoch))
	dst = appendDirectories(dst, p.Directories)
	if _, v := p.kind(); v > 0 {
		dst = appendNodes(appendNodes(dst, p.ELR), p.LastKnownELR)
	}
	return dst
}

func (p *PartitionRecord) readBody(r *reader, v recordVersion) {
	p.TopicID = r.uuid()
	p.PartitionID = int32(r.bounded(0, math.MaxInt32))
	p.Replicas = r.nodes()
	p.ISR = r.nodes()
	p.Leader = r.node()
	p.LeaderEpoch = ids.LeaderEpoch(r.bounded(0, math.MaxInt32))
	p.PartitionEpoch = int32(r.bounded(0, math.MaxInt32))
	p.Directories = r.directories()
	if v > 0 {
		p.ELR, p.LastKnownELR = r.nodes(), r.nodes()
	}
}

func (p *PartitionChangeRecord) appendBody(dst []byte) []byte {
	dst = append(dst, p.TopicID[:]...)
	dst = binary.AppendVarint(dst, int64(p.PartitionID))
	dst = binary.AppendVarint(dst, int64(p.Leader))
	dst = appendNodes(dst, p.ISR)
	dst = appendNodes(dst, p.Replicas)
	dst = appendDirectories(dst, p.Directories)
	if _, v := p.kind(); v > 0 {
		dst = appendNodes(appendNodes(dst, p.ELR), p.LastKnownELR)
	}
	return dst
}

func (p *PartitionChangeRecord) readBody(r *reader, v recordVersion) {
	p.TopicID = r.uuid()
	p.PartitionID = int32(r.bounded(0, math.MaxInt32))
	p.Leader = r.node()
	p.ISR = r.nodes()
	p.Replicas = r.nodes()
	p.Directories = r.directories()
	if v > 0 {
		p.ELR, p.LastKnownELR = r.nodes(), r.nodes()
	}
}

func (t *RemoveTopicRecord) appendBody(dst []byte) []byte { return append(dst, t.TopicID[:]...) }

func (t *RemoveTopicRecord) readBody(r *reader, _ recordVersion) { t.TopicID = r.uuid() }

func (c *ConfigRecord) appendBody(dst []byte) []byte {
	dst = append(dst, byte(c.Resource.Type))
	dst = appendString(dst, c.Resource.Name)
	dst = appendString(dst, c.Name)
	return appendNullableString(dst, c.Value)
}

func (c *ConfigRecord) readBody(r *reader, _ recordVersion) {
	c.Resource.Type = int8(r.byte())
	c.Resource.Name = r.string()
	c.Name = r.string()
	c.Value = r.nullableString()
}

func (p *ProducerIdsRecord) appendBody(dst []byte) []byte {
	dst = binary.AppendVarint(dst, int64(p.BrokerID))
	dst = binary.AppendVarint(dst, p.BrokerEpoch)
	return binary.AppendVarint(dst, int64(p.NextProducerID))
}

func (p *ProducerIdsRecord) readBody(r *reader, _ recordVersion) {
	p.BrokerID = r.node()
	p.BrokerEpoch = r.varint()
	p.NextProducerID = ids.ProducerID(r.bounded(0, math.MaxInt64))
}

func (b *BrokerChangeRecord) appendBody(dst []byte) []byte {
	dst = binary.AppendVarint(dst, int64(b.BrokerID))
	dst = binary.AppendVarint(dst, b.BrokerEpoch)
	dst = appendBool(dst, b.Fenced)
	dst = appendBool(dst, b.InControlledShutdown)
	if _, v := b.kind(); v > 0 {
		dst = appendDirectories(appendDirectories(dst, b.OfflineDirs), b.FullDirs)
	}
	return dst
}

func (b *BrokerChangeRecord) readBody(r *reader, v recordVersion) {
	b.BrokerID = r.node()
	b.BrokerEpoch = r.bounded(0, math.MaxInt64)
	b.Fenced = r.bool()
	b.InControlledShutdown = r.bool()
	if v > 0 {
		b.OfflineDirs, b.FullDirs = r.directories(), r.directories()
	}
}

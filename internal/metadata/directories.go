package metadata

import (
	"slices"

	"github.com/moldau/moldau/internal/ids"
)

// LostDirectory stands for the directory of a replica that has been found damaged (KIP-858): nothing that it had is relied on.
var LostDirectory = ids.DirectoryID{15: 1}

// Directory returns the directory in which a broker has its replica of p, as far as it has told.
func (p *Partition) Directory(node ids.NodeID) ids.DirectoryID {
	if i := slices.Index(p.Replicas, node); i >= 0 && i < len(p.Directories) {
		return p.Directories[i]
	}
	return UnassignedDirectory
}

// directory returns the directory in which b has its replica of p, UnassignedDirectory where it has yet to choose one of several.
func (b *Broker) directory(p *Partition) ids.DirectoryID {
	dir := p.Directory(b.ID)
	if dir == UnassignedDirectory && len(b.Dirs) == 1 {
		return b.Dirs[0]
	}
	return dir
}

// Holds tells whether the directory in which b has its replica of p is there and online.
func (b *Broker) Holds(p *Partition) bool {
	dir := b.directory(p)
	return dir == UnassignedDirectory || slices.Contains(b.Dirs, dir) && !slices.Contains(b.OfflineDirs, dir)
}

// Full tells whether the directory in which b has its replica of p has no room.
func (b *Broker) Full(p *Partition) bool {
	return len(b.FullDirs) > 0 && slices.Contains(b.FullDirs, b.directory(p))
}

// KnowsDirectories tells whether it counts where replicas are, and that brokers tell.
func (img *Image) KnowsDirectories() bool { return img.features[VersionFeature] >= DirectoriesVersion }

// Online tells whether a replica of p can be used, as far as its directory is concerned.
func (img *Image) Online(b *Broker, p *Partition) bool { return !img.KnowsDirectories() || b.Holds(p) }

// MayJoin tells whether the directory of a replica of p lets that be in sync: it is online, and has room if the leader's has.
func (img *Image) MayJoin(b *Broker, p *Partition) bool {
	if !img.Online(b, p) {
		return false
	}
	leader, ok := img.Broker(p.Leader)
	return !b.Full(p) || ok && leader.Full(p)
}

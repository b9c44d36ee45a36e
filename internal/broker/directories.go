package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/replica"
)

// dirFailed is told of a data directory that went offline. The others go on, and the controller is told; without that of a
// controller's metadata, or without any, the node cannot go on.
func (b *Broker) dirFailed(dir string, id ids.DirectoryID, err error) {
	b.deps.Logger.Error("data directory is offline", "dir", dir, "directory_id", id.String(), "err", err)
	switch {
	case dir == b.cfg.MetadataLogDir && b.cfg.Roles.Controller:
		b.fail(fmt.Errorf("the directory of the metadata log, %s, is offline: %w", dir, err))
	case !slices.ContainsFunc(b.store.Dirs(), func(d log.DirInfo) bool { return d.Err == nil }):
		b.fail(fmt.Errorf("every directory of log.dirs is offline, the last one, %s: %w", dir, err))
	default:
		b.dirsChanged()
	}
}

// dirsChanged has the next heartbeat, which is sent at once, say what the data directories are like.
func (b *Broker) dirsChanged() {
	select {
	case b.dirNews <- struct{}{}:
	default:
	}
}

// troubledDirs returns the directories that have failed since this process has registered, and those without room.
func (b *Broker) troubledDirs() (offline, full []ids.DirectoryID) {
	for _, d := range b.store.Dirs() {
		switch {
		case d.Err != nil && !d.ID.IsZero():
			offline = append(offline, d.ID)
		case d.Err == nil && d.Full:
			full = append(full, d.ID)
		}
	}
	return offline, full
}

// assign has the controller told in which directories the table has replicas.
func (b *Broker) assign(table *replica.Config) {
	b.assigner = replica.NewAssigner(replica.AssignerConfig{
		Node: b.cfg.NodeID, BrokerEpoch: b.metadata.epoch.Load, Controller: assignController{b}, Logger: b.deps.Logger,
		Ready: func() bool { return b.metadata.epoch.Load() >= 0 && b.metadata.Image().KnowsDirectories() },
	})
	table.Places = b.assigner
	b.assigner.Start()
	b.onStop(func(context.Context) error { b.assigner.Stop(); return nil })
}

// assignController asks the active controller, wherever it is, once.
type assignController struct{ b *Broker }

// AssignReplicasToDirs implements replica.AssignController.
func (c assignController) AssignReplicasToDirs(ctx context.Context, req *kmsg.AssignReplicasToDirsRequest) (*kmsg.AssignReplicasToDirsResponse, error) {
	leader := c.b.quorum.Status().Leader
	if leader == c.b.cfg.NodeID {
		return c.b.controller.AssignReplicasToDirs(ctx, req), nil
	}
	if leader == ids.NoNode || c.b.replication == nil {
		return nil, errors.New("no controller is known")
	}
	resp, err := c.b.replication.changes.Request(ctx, leader, req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.AssignReplicasToDirsResponse), nil
}

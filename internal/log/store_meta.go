package log

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/moldau/moldau/internal/ids"
)

// checkOwners refuses directories that are not this node's, and settles the cluster's id.
// It writes nothing.
func (s *Store) checkOwners() error {
	cluster, clusterFrom := s.cfg.ClusterID, "this node's configuration or metadata"
	seen := make(map[ids.DirectoryID]string)
	for _, d := range s.dirs {
		if d.err() != nil {
			continue
		}
		if err := d.checkOwner(); err != nil {
			return err
		}
		if c := d.meta.ClusterID; c != "" && cluster != "" && c != cluster {
			return fmt.Errorf("data directory %s belongs to cluster %s, but %s says cluster %s: give this node directories of one cluster",
				d.path, c, clusterFrom, cluster)
		} else if c != "" && cluster == "" {
			cluster, clusterFrom = c, filepath.Join(d.path, metaPropertiesFile)
		}
		if id := d.meta.DirectoryID; !id.IsZero() {
			if other, twice := seen[id]; twice {
				return fmt.Errorf("data directories %s and %s have the same directory.id %s: one is a copy of the other; remove the copy from log.dirs",
					other, d.path, id)
			}
			seen[id] = d.path
		}
	}
	s.mu.Lock()
	s.mu.clusterID = cluster
	s.mu.Unlock()
	return nil
}

func (d *dataDir) checkOwner() error {
	switch {
	case !d.metaFound:
		return d.checkFormattable()
	case d.meta.NodeID != d.store.cfg.NodeID:
		return fmt.Errorf("data directory %s belongs to node %d, this is node %d: correct node.id, or give this node a directory of its own",
			d.path, d.meta.NodeID, d.store.cfg.NodeID)
	case d.meta.Format == 0 && d.has(metadataLogName):
		return fmt.Errorf("data directory %s holds the cluster metadata of Apache Kafka (%s), which Moldau cannot take over: "+
			"copy the partition directories alone, without %s and %s, into an empty directory and register them with 'moldau topic adopt'",
			d.path, metadataLogName, metadataLogName, metaPropertiesFile)
	}
	return nil
}

// checkFormattable refuses to make a data directory of one that holds something else, or that
// was one and has lost its meta.properties.
func (d *dataDir) checkFormattable() error {
	if d.has(metadataLogName) {
		return fmt.Errorf("data directory %s holds a cluster's metadata (%s) but no %s to say whose: restore that file from a backup, or use an empty directory",
			d.path, metadataLogName, metaPropertiesFile)
	}
	var foreign []string
	for _, name := range d.names {
		if !isKnownName(name) {
			foreign = append(foreign, name)
		}
	}
	if len(foreign) > 0 {
		if len(foreign) > 3 {
			foreign = append(foreign[:3], "...")
		}
		return fmt.Errorf("%s is no data directory and not empty (%s): give log.dirs an empty directory", d.path, strings.Join(foreign, ", "))
	}
	return nil
}

// writeMeta makes the directory this node's where it is new, or was Apache Kafka's.
func (d *dataDir) writeMeta() error {
	want := d.meta
	if !d.metaFound && d.holdsLogs() {
		d.store.cfg.Logger.Warn("data directory holds partitions but no "+metaPropertiesFile+": it gets one of this node", "dir", d.path)
	}
	want.NodeID, want.Format = d.store.cfg.NodeID, moldauFormat
	if want.DirectoryID.IsZero() {
		want.DirectoryID = ids.NewUUID()
	}
	if cluster := d.store.ClusterID(); cluster != "" {
		want.ClusterID = cluster
	}
	d.id = want.DirectoryID
	if d.metaFound && want.ClusterID == d.meta.ClusterID && want.DirectoryID == d.meta.DirectoryID && want.Format == d.meta.Format {
		return nil
	}
	if err := writeMetaProperties(d.env.fs, d.path, want); err != nil {
		return err
	}
	d.meta, d.metaFound = want, true
	return nil
}

func (d *dataDir) setClusterID(id string) error {
	if d.meta.ClusterID == id {
		return nil
	}
	if d.meta.ClusterID != "" {
		return fmt.Errorf("data directory %s belongs to cluster %s, not to %s", d.path, d.meta.ClusterID, id)
	}
	want := d.meta
	want.ClusterID = id
	if err := writeMetaProperties(d.env.fs, d.path, want); err != nil {
		return d.writeFailed(err)
	}
	d.meta = want
	return nil
}

// setTopicID gives a log that was found without a topic id the one that metadata knows it
// by. Before the log is used.
func (l *Log) setTopicID(id ids.TopicID) error {
	if err := writePartitionMetadata(l.env.fs, l.dir, id); err != nil {
		return l.ioError("writing the topic id", err)
	}
	l.id = id
	return nil
}

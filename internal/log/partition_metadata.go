package log

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

const (
	partitionMetadataFile     = "partition.metadata"
	partitionMetadataBytesMax = 4096
	partitionMetadataAdvice   = "restore it from another replica of the topic, or move the partition's directory away"
)

// writePartitionMetadata notes in a partition's directory which life of the topic it
// belongs to. Java: PartitionMetadataFile, which ends without a newline.
func writePartitionMetadata(fsys vfs.FS, dir string, id ids.TopicID) error {
	return writeFileAtomic(fsys, dir, partitionMetadataFile, encodePartitionMetadata(id))
}

func encodePartitionMetadata(id ids.TopicID) []byte {
	return []byte("version: 0\ntopic_id: " + id.String())
}

// readPartitionMetadata returns the topic id of a partition's directory; found is false where there is no such file.
func readPartitionMetadata(fsys vfs.FS, dir string) (id ids.TopicID, found bool, err error) {
	content, err := readSmallFile(fsys, dir, partitionMetadataFile, partitionMetadataBytesMax)
	if err != nil || content == nil {
		return ids.ZeroUUID, false, err
	}
	id, err = decodePartitionMetadata(content)
	if err != nil {
		return ids.ZeroUUID, true, damaged(dir, partitionMetadataFile, partitionMetadataAdvice, err)
	}
	return id, true, nil
}

func decodePartitionMetadata(content []byte) (ids.TopicID, error) {
	first, rest := cutLine(content)
	version, ok := bytes.CutPrefix(first, []byte("version:"))
	if !ok {
		return ids.ZeroUUID, errors.New(`its first line does not begin with "version:"`)
	}
	if v := string(bytes.TrimSpace(version)); v != "0" {
		return ids.ZeroUUID, fmt.Errorf("its version is %q and this release knows version 0 alone", v)
	}
	second, rest := cutLine(rest)
	text, ok := bytes.CutPrefix(second, []byte("topic_id:"))
	if !ok || len(bytes.TrimSpace(rest)) > 0 {
		return ids.ZeroUUID, errors.New(`it is not two lines, "version:" and "topic_id:"`)
	}
	id, err := ids.ParseUUID(string(bytes.TrimSpace(text)))
	if err != nil {
		return ids.ZeroUUID, fmt.Errorf("its topic id: %w", err)
	}
	if id.IsZero() {
		return ids.ZeroUUID, errors.New("its topic id is zero")
	}
	return id, nil
}

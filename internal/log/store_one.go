package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// OneConfig is what OpenOne is told.
type OneConfig struct {
	FS             vfs.FS
	Dir            string // the data directory, which somebody else has locked
	TopicPartition ids.TopicPartition
	TopicID        ids.TopicID
	Config         Config

	// LogStart says that the records below have gone, whatever files of them are left.
	LogStart ids.Offset
	// SyncedTo is exclusive: the caller knows that every record below it was synced. A log that ends
	// below it, or is damaged there, is ErrCorrupt and stays as it is. Beyond it nothing has been promised, and
	// what follows the last whole batch is cut off. 0: the caller does not know.
	SyncedTo ids.Offset

	Logger *slog.Logger
}

// oneFilesMax bounds the open files of a log that is opened by itself.
const oneFilesMax = 32

// OpenOne opens or makes a single log with a group commit of its own: that of the quorum,
// which no checkpoint covers. It reads all of it, every time. A tail that a power cut tore is
// cut off; any other damage is ErrCorrupt.
//
// Close of what it returns syncs the log. A failed sync fails the log, for good: Log.Err.
func OpenOne(cfg OneConfig) (*Log, io.Closer, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	o := new(one)
	o.commit = newGroupCommit(cfg.FS, cfg.Dir, o.fail)
	env := &logEnv{
		fs: cfg.FS, files: newFileCache(cfg.FS, oneFilesMax), logger: cfg.Logger, sync: logCommit{o.commit}, rescanned: true,
		failDir: func(_ string, err error) { o.commit.stop() },
	}
	_, err := cfg.FS.Stat(filepath.Join(cfg.Dir, cfg.TopicPartition.String()))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.log = newLog(env, cfg.Dir, cfg.TopicPartition, cfg.TopicID, cfg.Config)
	case err == nil:
		o.log, err = openLog(env, cfg.Dir, cfg.TopicPartition, cfg.TopicID, cfg.Config, openOptions{strict: cfg.SyncedTo == 0, logStart: cfg.LogStart, syncedTo: cfg.SyncedTo})
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("opening log %s in %s: %w", cfg.TopicPartition, cfg.Dir, err)
	}
	return o.log, o, nil
}

// one is a log that is opened by itself.
type one struct {
	log    *Log
	commit *groupCommit
}

func (o *one) fail(err error) {
	o.commit.stop()
	_ = o.log.fail(err) // returns what it was given
}

// Close implements io.Closer.
func (o *one) Close() error {
	o.commit.wait()
	if err := o.log.Err(); err != nil {
		o.log.closeAbrupt()
		return nil // told when it failed
	}
	return o.log.closeClean()
}

package log

import "github.com/moldau/moldau/internal/ids"

// StartEpoch notes that this replica leads in epoch e from the log's end on, before any
// batch says so. Nothing is written: the first batch says it again.
func (l *Log) StartEpoch(e ids.LeaderEpoch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e > l.mu.epochs.latest() && l.mu.epochs.assign(e, l.EndOffset()) {
		l.mu.epochsChanged = l.mu.born
		l.latestEpoch.Store(int32(e))
	}
}

// EpochAt returns the leader epoch in which offset o was or will be written,
// NoLeaderEpoch where the log cannot tell.
func (l *Log) EpochAt(o ids.Offset) ids.LeaderEpoch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.epochs.epochAt(o)
}

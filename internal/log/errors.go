package log

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
)

var (
	// ErrCorrupt says that bytes of a log that was whole are not any more.
	ErrCorrupt = errors.New("damaged log")

	// ErrCorruptBelowRecovery says that the damage lies below the recovery point, where every
	// byte has been synced. It is never cut off: a restore or another replica must heal it.
	ErrCorruptBelowRecovery = fmt.Errorf("%w below the recovery point", ErrCorrupt)

	// ErrOutOfOrder refuses batches of a leader that would not continue the log.
	ErrOutOfOrder = errors.New("batches do not continue the log")

	errDiskFull = fmt.Errorf("the disk is full: %w: %w", kerr.KafkaStorageError, syscall.ENOSPC)

	errLogGone = fmt.Errorf("the log is closed or deleted: %w", kerr.KafkaStorageError)
)

// offline is why a log answers nothing any more.
type offline struct{ err error }

// Err returns why the log is offline, an error that wraps kerr.KafkaStorageError, or nil.
func (l *Log) Err() error {
	if o := l.offline.Load(); o != nil {
		return o.err
	}
	return nil
}

// fail takes the log offline; the first cause stays. It takes no lock.
func (l *Log) fail(cause error) error {
	if !errors.Is(cause, kerr.KafkaStorageError) {
		cause = fmt.Errorf("log %s is offline: %w: %w", l.tp, kerr.KafkaStorageError, cause)
	}
	l.offline.CompareAndSwap(nil, &offline{cause})
	l.wakeSyncWaiters()
	return l.Err()
}

// ioError judges a failed operation on the log's files. A disk or a process that has run out
// of something fails that operation alone; anything else takes the data directory offline,
// because what it holds cannot be relied on any more.
func (l *Log) ioError(doing string, err error) error {
	if exhausted(err) {
		if l.env.noRoom != nil && !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			l.env.noRoom()
		}
		return fmt.Errorf("%s of %s: %w: %w", doing, l.tp, kerr.KafkaStorageError, err)
	}
	if l.gone() {
		return l.Err()
	}
	if errors.Is(err, ErrCorrupt) {
		return l.damaged(err)
	}
	err = l.fail(fmt.Errorf("%s: %w", doing, err))
	if l.env.failDir != nil {
		l.env.failDir(l.root, err)
	}
	return err
}

// damaged takes the log offline, alone, and tells of it.
func (l *Log) damaged(cause error) error {
	err := l.fail(cause)
	if l.env.damaged != nil && !l.gone() {
		l.env.damaged(l, err)
	}
	return err
}

// GiveUp takes a log offline that is damaged where no operation on it has to fail for that: a cleaning has found it.
func (l *Log) GiveUp(cause error) {
	_ = l.fail(cause) // returns what it was given
}

// gone tells whether the log was closed or deleted: its files may not be where they were, and
// an error of theirs says nothing about the disk.
func (l *Log) gone() bool { return errors.Is(l.Err(), errLogGone) }

// exhausted tells whether err will pass when there is room again: on the disk, under a quota, or for descriptors.
func exhausted(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

package quorum

import "errors"

var (
	// ErrNotLeader says that this member does not lead: somebody else decides, or nobody yet.
	ErrNotLeader = errors.New("not the leader of the metadata quorum")

	// ErrStopped says that the node has been stopped, or has failed: Node.Err tells why.
	ErrStopped = errors.New("the metadata quorum is stopped on this node")

	// ErrOverloaded says that more is proposed than may wait; what waits goes on.
	ErrOverloaded = errors.New("too many metadata changes wait to be written")

	// ErrTooLarge says that one proposal is larger than an entry may be.
	ErrTooLarge = errors.New("the metadata change is too large for one entry")

	// ErrDamaged says that what the metadata directory holds cannot be what was written to it.
	// A member of that state has lost what it promised, and never votes.
	ErrDamaged = errors.New("damaged metadata directory")

	// ErrForeign says that the metadata directory was written by something else.
	ErrForeign = errors.New("the metadata directory is not Moldau's")
)

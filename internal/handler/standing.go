package handler

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A broker whose session is over may lead no more without knowing: it is cut off from the controller, and clients still reach it. It goes on to
// serve what is committed, and writes wait for replicas that do not come. What it remembers or where its log ends is another matter: a
// consumer that believes it goes back. So it refuses that, and the client asks others, where Apache Kafka answers.

// succeeded returns an error where others may lead what this broker leads.
func (h *Handlers) succeeded() error {
	if h.Counts() {
		return nil
	}
	return fmt.Errorf("the session of this broker is over, and others may lead: %w", kerr.NotLeaderForPartition)
}

// outOfRange returns the error of a read: that there is no such offset is known for sure by who leads.
func (h *Handlers) outOfRange(err error) error {
	if errors.Is(err, kerr.OffsetOutOfRange) {
		return errors.Join(h.succeeded(), err)
	}
	return err
}

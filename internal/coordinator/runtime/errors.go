package runtime

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// coordinatorError gives the error of an append the code that clients of a coordinator act on: to look for the
// coordinator again, to try again, or to give up. Java: CoordinatorOperationExceptionHelper.
func coordinatorError(err error) error {
	var cause *kerr.Error
	if !errors.As(err, &cause) {
		return fmt.Errorf("%w (%v)", kerr.UnknownServerError, err)
	}
	code := cause
	switch cause {
	case kerr.NotLeaderForPartition, kerr.KafkaStorageError:
		code = kerr.NotCoordinator
	case kerr.UnknownTopicOrPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut:
		code = kerr.CoordinatorNotAvailable
	case kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidFetchSize:
		code = kerr.UnknownServerError
	}
	if code == cause {
		return err
	}
	return fmt.Errorf("%w (%v)", code, err) // the cause for people, its code for nobody
}

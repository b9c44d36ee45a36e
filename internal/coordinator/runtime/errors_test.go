package runtime

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestCoordinatorError(t *testing.T) {
	for _, tc := range []struct{ err, want error }{
		{kerr.NotLeaderForPartition, kerr.NotCoordinator},
		{kerr.KafkaStorageError, kerr.NotCoordinator},
		{kerr.UnknownTopicOrPartition, kerr.CoordinatorNotAvailable},
		{kerr.NotEnoughReplicas, kerr.CoordinatorNotAvailable},
		{kerr.NotEnoughReplicasAfterAppend, kerr.CoordinatorNotAvailable},
		{kerr.RequestTimedOut, kerr.CoordinatorNotAvailable},
		{kerr.MessageTooLarge, kerr.UnknownServerError},
		{kerr.RecordListTooLarge, kerr.UnknownServerError},
		{kerr.InvalidFetchSize, kerr.UnknownServerError},
		{kerr.InvalidProducerEpoch, kerr.InvalidProducerEpoch},
		{errors.New("something else"), kerr.UnknownServerError},
	} {
		wrapped := fmt.Errorf("append to t-0: %w", tc.err)
		got := coordinatorError(wrapped)
		var code *kerr.Error
		if !errors.As(got, &code) || code != tc.want {
			t.Errorf("%v became %v, want %v", wrapped, got, tc.want)
		}
		if !strings.Contains(got.Error(), wrapped.Error()) {
			t.Errorf("%v does not say %q", got, wrapped)
		}
	}
}

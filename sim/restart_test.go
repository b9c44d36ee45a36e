package sim

import (
	"fmt"
	"testing"
	"testing/synctest"
)

// A topic that was made again under its name keeps its data when the broker starts again and
// reads how the first one of that name was made and deleted.
func TestTopicMadeAgainKeepsItsDataOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkload(1, omission{}, quiet())
		w.settings = nil
		if err := madeAgain(w); err != nil {
			w.abandon()
			t.Fatal(err)
		}
	})
}

func madeAgain(w *workload) error {
	for life := range 3 {
		if err := w.start(life); err != nil {
			return err
		}
		if life == 0 {
			w.send(w.history.producers[0], w.topics()[0].partitions)
			w.drain()
			if err := w.deleteTopic(); err != nil {
				return err
			}
		}
		for _, topic := range w.topics() {
			w.send(w.history.producers[0], topic.partitions)
		}
		w.drain()
		if err := w.end(stopped); err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
	}
	return w.faulty()
}

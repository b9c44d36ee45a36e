package runtime

import (
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// answers writes down who was answered what, in order.
type answers []any

// add opens a call whose answer is its response, or its error.
func (a *answers) add(cs *calls) Ticket {
	return cs.add(func(response any, err error) {
		if err != nil {
			response = err
		}
		*a = append(*a, response)
	})
}

func (a *answers) want(t *testing.T, want ...any) {
	t.Helper()
	if !slices.Equal(*a, want) {
		t.Fatalf("answered %v, want %v", *a, want)
	}
}

// TestNothingIsAnsweredDuringAnEvent: not even what another goroutine, or an append under the lock, finds committed.
func TestNothingIsAnsweredDuringAnEvent(t *testing.T) {
	var cs calls
	var got answers
	first, second := got.add(&cs), got.add(&cs)
	c := cs.reply(Reply{first, "first"})
	cs.enter()
	c.Done(nil)
	cs.enter() // the next event, before the first has left
	got.want(t)
	cs.leave()
	got.want(t, "first")
	cs.reply(Reply{second, "second"}).Done(nil)
	got.want(t, "first")
	cs.leave()
	got.want(t, "first", "second")
	cs.reply(Reply{got.add(&cs), "third"}).Done(nil)
	got.want(t, "first", "second", "third")
}

// TestOneAnswer: whatever ends a call first has the last word.
func TestOneAnswer(t *testing.T) {
	var cs calls
	var got answers
	gone := errors.New("gone")
	committed, waiting, open := got.add(&cs), got.add(&cs), got.add(&cs)
	first, second := cs.reply(Reply{committed, 1}), cs.reply(Reply{waiting, 2})
	first.Done(nil)
	cs.enter()
	cs.failAll(gone)
	second.Done(nil)
	first.Done(kerr.NotLeaderForPartition)
	cs.leave()
	got.want(t, 1, gone, gone)
	for _, to := range []Ticket{committed, waiting, open, 0, 99} {
		if cs.reply(Reply{to, "late"}) != nil {
			t.Fatalf("ticket %d takes a reply", to)
		}
	}
	if twice := got.add(&cs); cs.reply(Reply{twice, 1}) == nil || cs.reply(Reply{twice, 2}) != nil {
		t.Fatal("one reply for each ticket")
	}
}

func TestCallsFailInOrder(t *testing.T) {
	var cs calls
	var got, want []int
	cs.enter()
	for i := range 100 {
		cs.add(func(any, error) { got = append(got, i) })
		want = append(want, i)
	}
	cs.failAll(errors.New("gone"))
	cs.leave()
	if !slices.Equal(got, want) {
		t.Fatalf("answered %v", got)
	}
}

func TestReplyThatIsNeverCommitted(t *testing.T) {
	var cs calls
	var err error
	c := cs.reply(Reply{cs.add(func(_ any, e error) { err = e }), "never told"})
	c.Done(kerr.NotLeaderForPartition)
	if !errors.Is(err, kerr.NotCoordinator) || errors.Is(err, kerr.NotLeaderForPartition) {
		t.Fatal(err)
	}
}

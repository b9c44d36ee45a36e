package broker

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/ids"
)

// fakeRegistrar answers heartbeats from a list, the last of it for ever.
type fakeRegistrar struct {
	refusal *controller.Refusal
	after   time.Duration // heartbeats are answered

	mu struct {
		sync.Mutex
		answers []kmsg.BrokerHeartbeatResponse
		beats   []kmsg.BrokerHeartbeatRequest
		at      []time.Time
	}
}

func (f *fakeRegistrar) BrokerRegistration(_ context.Context, req *kmsg.BrokerRegistrationRequest) *kmsg.BrokerRegistrationResponse {
	if f.refusal != nil {
		return controller.BrokerRegistrationRefused(req, f.refusal)
	}
	return &kmsg.BrokerRegistrationResponse{BrokerEpoch: 42}
}

func (f *fakeRegistrar) BrokerHeartbeat(_ context.Context, req *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse {
	time.Sleep(f.after)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.beats, f.mu.at = append(f.mu.beats, *req), append(f.mu.at, time.Now())
	answer := f.mu.answers[0]
	if len(f.mu.answers) > 1 {
		f.mu.answers = f.mu.answers[1:]
	}
	return &answer
}

func newTestLifecycle(f *fakeRegistrar, lost chan error) *lifecycle {
	return &lifecycle{
		to: f, node: 3, every: 500 * time.Millisecond, offset: func() ids.Offset { return 50 },
		dirs: func() (offline, full []ids.DirectoryID) { return nil, nil },
		lost: func(err error) { lost <- err }, logger: slog.New(slog.DiscardHandler),
	}
}

func TestLifecycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, lost := &fakeRegistrar{}, make(chan error, 1)
		f.mu.answers = []kmsg.BrokerHeartbeatResponse{{ErrorCode: kerr.NotController.Code}, {IsFenced: true}, {}, {},
			{ErrorCode: kerr.RequestTimedOut.Code}, {}, {ErrorCode: kerr.StaleBrokerEpoch.Code}}
		l := newTestLifecycle(f, lost)
		if err := l.register(t.Context(), kmsg.NewPtrBrokerRegistrationRequest()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := l.start(t.Context()); err != nil || time.Since(begin) != 2*l.every {
			t.Fatalf("unfenced after %v, %v", time.Since(begin), err)
		}
		select {
		case err := <-lost:
			if !strings.Contains(err.Error(), "another process has registered as broker 3") {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("not told that another process has registered")
		}
		l.stop()
		if len(f.mu.beats) != 7 || f.mu.at[6].Sub(begin) != 6*l.every {
			t.Fatalf("%d heartbeats at %v", len(f.mu.beats), f.mu.at)
		}
		for _, b := range f.mu.beats {
			if b.BrokerID != 3 || b.BrokerEpoch != 42 || b.CurrentMetadataOffset != 50 || b.WantFence || b.WantShutdown {
				t.Fatalf("%+v", b)
			}
		}
	})
}

// A broker counts for a session after it has sent what the controller took, however late the answer came.
func TestLifecycleCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, lost := &fakeRegistrar{}, make(chan error, 1)
		timedOut := kmsg.BrokerHeartbeatResponse{ErrorCode: kerr.RequestTimedOut.Code}
		f.mu.answers = []kmsg.BrokerHeartbeatResponse{{IsFenced: true}, {}, {}, timedOut}
		l := newTestLifecycle(f, lost)
		l.session = 3 * time.Second
		l.beat(t.Context())
		if l.counts() {
			t.Error("counts before it is unfenced")
		}
		f.after = time.Second
		l.beat(t.Context())
		time.Sleep(2*time.Second - time.Nanosecond)
		if !l.counts() {
			t.Error("does not count though its session lasts")
		}
		time.Sleep(time.Nanosecond)
		if l.counts() {
			t.Error("counts a session after the heartbeat was sent")
		}
		f.after = 0
		l.beat(t.Context())
		time.Sleep(l.session / 2)
		l.beat(t.Context())
		time.Sleep(l.session / 2)
		if l.counts() {
			t.Error("a heartbeat that was not taken counts")
		}
	})
}

// A broker that is cut off says so once, not with every heartbeat, and once that it is over.
func TestHeartbeatsThatFailAreToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, lost := &fakeRegistrar{}, make(chan error, 1)
		timedOut := kmsg.BrokerHeartbeatResponse{ErrorCode: kerr.RequestTimedOut.Code}
		f.mu.answers = []kmsg.BrokerHeartbeatResponse{{}, timedOut, timedOut, timedOut, {}, timedOut, {}, {}, {ErrorCode: kerr.StaleBrokerEpoch.Code}}
		l := newTestLifecycle(f, lost)
		var logged strings.Builder
		l.logger = slog.New(slog.NewTextHandler(&logged, nil))
		if err := l.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-lost
		l.stop()
		if not, again := strings.Count(logged.String(), "heartbeat was not taken"), strings.Count(logged.String(), "heartbeats are taken again"); not != 2 || again != 2 {
			t.Errorf("told %d times that they are not taken, %d times that they are again:\n%s", not, again, logged.String())
		}
	})
}

// Who is refused is told why, and one that nobody unfences ends with its context.
func TestLifecycleThatDoesNotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refusal := &controller.Refusal{Code: kerr.DuplicateBrokerRegistration, Message: "another one is at work"}
		l := newTestLifecycle(&fakeRegistrar{refusal: refusal}, nil)
		err := l.register(t.Context(), kmsg.NewPtrBrokerRegistrationRequest())
		if !errors.Is(err, kerr.DuplicateBrokerRegistration) || !strings.Contains(err.Error(), "another one is at work") {
			t.Error(err)
		}
		f := &fakeRegistrar{}
		f.mu.answers = []kmsg.BrokerHeartbeatResponse{{IsFenced: true}}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := newTestLifecycle(f, nil).start(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		f.mu.answers = []kmsg.BrokerHeartbeatResponse{{ErrorCode: kerr.BrokerIDNotRegistered.Code}}
		if err := newTestLifecycle(f, nil).start(t.Context()); err == nil || !strings.Contains(err.Error(), "unregistered") {
			t.Error(err)
		}
	})
}

package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// fakeQuorum is the log of a cluster whose only controller under test may lose and
// regain leadership. It commits entries in order, each after delay.
type fakeQuorum struct {
	t     testing.TB
	c     *Controller
	delay time.Duration // of one commit
	stop  chan struct{}
	done  chan struct{} // closed when run has returned
	kick  chan struct{}

	mu struct {
		sync.Mutex
		leading  bool
		epoch    ids.LeaderEpoch
		log      []fakeEntry // all entries; offset is the index + 1
		applied  int         // how many of them
		image    *metadata.Image
		refuse   int   // so many further proposals fail
		proposed []int // records of every entry proposed
		held     bool  // nothing is committed
	}
}

type fakeEntry struct {
	epoch ids.LeaderEpoch
	data  []byte
}

var errRefused = errors.New("the fake quorum takes no more")

func (q *fakeQuorum) Propose(epoch ids.LeaderEpoch, data []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.mu.leading || epoch != q.mu.epoch {
		return fmt.Errorf("epoch %d is not the leader's", epoch)
	}
	if q.mu.refuse > 0 {
		q.mu.refuse--
		return errRefused
	}
	recs, err := metadata.ReadEnvelope(data)
	if err != nil {
		q.t.Errorf("proposed: %v", err)
	}
	q.mu.proposed = append(q.mu.proposed, len(recs))
	q.mu.log = append(q.mu.log, fakeEntry{epoch, data})
	q.wakeLocked()
	return nil
}

func (q *fakeQuorum) wakeLocked() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

// run commits.
func (q *fakeQuorum) run() {
	defer close(q.done)
	for {
		select {
		case <-q.stop:
			return
		case <-q.kick:
		}
		for q.commitOne() {
		}
	}
}

func (q *fakeQuorum) commitOne() bool {
	q.mu.Lock()
	next := q.mu.applied
	if q.mu.held || next >= len(q.mu.log) {
		q.mu.Unlock()
		return false
	}
	e := q.mu.log[next]
	q.mu.Unlock()
	if q.delay > 0 {
		time.Sleep(q.delay)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.held || next >= len(q.mu.log) || q.mu.log[next].epoch != e.epoch {
		return false // truncated meanwhile
	}
	q.applyLocked(e)
	return true
}

// applyLocked applies the next entry. Of one without data, the first of a leader's
// epoch, only the leader is told.
func (q *fakeQuorum) applyLocked(e fakeEntry) {
	q.mu.applied++
	if e.data == nil {
		if q.mu.leading && e.epoch == q.mu.epoch {
			q.c.LeaderChanged(true, q.mu.epoch)
		}
		return
	}
	d := metadata.NewDelta(q.mu.image)
	recs, err := metadata.ReadEnvelope(e.data)
	for i := 0; i < len(recs) && err == nil; i++ {
		err = d.Replay(recs[i])
	}
	if err != nil {
		q.t.Errorf("applied: %v", err)
	}
	q.mu.image = d.Apply(ids.Offset(q.mu.applied), e.epoch)
	q.c.Applied(q.mu.image, e.data)
}

// lead makes this node the leader of the next epoch. The controller is told once its
// first entry is committed.
func (q *fakeQuorum) lead() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.leading = true
	q.mu.epoch++
	q.mu.log = append(q.mu.log, fakeEntry{epoch: q.mu.epoch})
	q.wakeLocked()
}

// loseTo has another node lead: entries that are not committed are gone, but for the
// first keep of them.
func (q *fakeQuorum) loseTo(keep int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.leading = false
	q.mu.epoch++
	q.mu.log = q.mu.log[:min(len(q.mu.log), q.mu.applied+keep)]
	q.mu.log = append(q.mu.log, fakeEntry{epoch: q.mu.epoch})
	q.c.LeaderChanged(false, q.mu.epoch)
	q.wakeLocked()
}

func (q *fakeQuorum) hold(held bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.held = held
	q.wakeLocked()
}

func (q *fakeQuorum) image() *metadata.Image {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mu.image
}

// entries returns how many records each entry proposed has had, and forgets them.
func (q *fakeQuorum) entries() []int {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.mu.proposed
	q.mu.proposed = nil
	return e
}

// startFake starts a controller over a fake quorum, both stopped when the test ends.
func startFake(t testing.TB, delay time.Duration) (*Controller, *fakeQuorum) {
	q := &fakeQuorum{t: t, delay: delay, stop: make(chan struct{}), done: make(chan struct{}), kick: make(chan struct{}, 1)}
	q.mu.image = metadata.NewDelta(nil).Apply(0, 0)
	q.c = New(Config{CoreConfig: testConfig, Founding: testFounding},
		Deps{Quorum: q, Schema: testSchema{}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	q.c.Start()
	go q.run()
	t.Cleanup(func() {
		q.c.Stop()
		close(q.stop)
		<-q.done
	})
	return q.c, q
}

// startLeading is startFake with broker 1 registered.
func startLeading(t *testing.T, delay time.Duration) (*Controller, *fakeQuorum) {
	c, q := startFake(t, delay)
	leadAndWait(t, c, q)
	startBrokerOne(t, c)
	q.entries()
	return c, q
}

// startBrokerOne registers broker 1 and has it unfenced.
func startBrokerOne(t testing.TB, c *Controller) {
	t.Helper()
	resp := c.BrokerRegistration(t.Context(), brokerOne)
	if err := RegistrationError(resp); err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = 1, resp.BrokerEpoch, resp.BrokerEpoch
	if resp := c.BrokerHeartbeat(t.Context(), req); resp.ErrorCode != 0 || resp.IsFenced {
		t.Fatalf("%+v", resp)
	}
}

// leadAndWait has the controller lead, and wait until it does. Where it has led before,
// it must have heard of its loss.
func leadAndWait(t testing.TB, c *Controller, q *fakeQuorum) {
	t.Helper()
	q.lead()
	if err := c.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

var brokerOne = registration(1, 900, testID(800))

// create creates one topic and returns the code of the answer.
func create(ctx context.Context, c *Controller, name string) int16 {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, newTopic(name, 1, 1))
	return c.CreateTopics(ctx, req).Topics[0].ErrorCode
}

// goCreate creates topics at the same time; the channel gets each answer's code.
func goCreate(ctx context.Context, c *Controller, names ...string) <-chan int16 {
	codes := make(chan int16, len(names))
	for _, name := range names {
		go func() { codes <- create(ctx, c, name) }()
	}
	return codes
}

func take(t testing.TB, codes <-chan int16, n int, want *kerr.Error) {
	t.Helper()
	for range n {
		code := <-codes
		if want == nil && code != 0 || want != nil && code != want.Code {
			t.Errorf("code %d (%v), want %v", code, kerr.ErrorForCode(code), want)
		}
	}
}

func TestNotControllerWhileNotLeading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := startFake(t, 0)
		if code := create(t.Context(), c, "a"); code != kerr.NotController.Code {
			t.Fatalf("code %d", code)
		}
		if err := RegistrationError(c.BrokerRegistration(t.Context(), brokerOne)); !errors.Is(err, kerr.NotController) {
			t.Fatal(err)
		}
		if resp := c.BrokerHeartbeat(t.Context(), &kmsg.BrokerHeartbeatRequest{BrokerID: 1}); resp.ErrorCode != kerr.NotController.Code {
			t.Fatalf("%+v", resp)
		}
		if resp := c.AlterPartition(t.Context(), &kmsg.AlterPartitionRequest{BrokerID: 1}); resp.ErrorCode != kerr.NotController.Code {
			t.Fatalf("%+v", resp)
		}
		if _, _, err := c.AllocateProducerIDs(t.Context(), 1, 1); !errors.Is(err, kerr.NotController) {
			t.Fatal(err)
		}
		if err := c.AdoptTopic(t.Context(), &AdoptTopic{}); !errors.Is(err, kerr.NotController) {
			t.Fatal(err)
		}
		deletion := &kmsg.DeleteTopicsRequest{Version: 6, Topics: []kmsg.DeleteTopicsRequestTopic{{TopicID: testID(1)}}}
		if resp := c.DeleteTopics(t.Context(), deletion); resp.Topics[0].ErrorCode != kerr.NotController.Code || resp.Topics[0].TopicID != testID(1) {
			t.Fatalf("%+v", resp)
		}
		more := &kmsg.CreatePartitionsRequest{Topics: []kmsg.CreatePartitionsRequestTopic{{Topic: "a"}}}
		if resp := c.CreatePartitions(t.Context(), more); resp.Topics[0].ErrorCode != kerr.NotController.Code || resp.Topics[0].Topic != "a" {
			t.Fatalf("%+v", resp)
		}
		alter := &kmsg.IncrementalAlterConfigsRequest{Resources: []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: 2, ResourceName: "a"}}}
		if resp := c.IncrementalAlterConfigs(t.Context(), 1, alter); resp.Resources[0].ErrorCode != kerr.NotController.Code || resp.Resources[0].ResourceName != "a" {
			t.Fatalf("%+v", resp)
		}
		replace := &kmsg.AlterConfigsRequest{Resources: []kmsg.AlterConfigsRequestResource{{ResourceType: 2, ResourceName: "a"}}}
		if resp := c.AlterConfigs(t.Context(), 1, replace); resp.Resources[0].ErrorCode != kerr.NotController.Code || resp.Resources[0].ResourceName != "a" {
			t.Fatalf("%+v", resp)
		}
	})
}

// The first entry of a new cluster is its id; a later leader does not write it again.
func TestClusterRecordIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startFake(t, time.Millisecond)
		leadAndWait(t, c, q)
		resp := c.BrokerRegistration(t.Context(), brokerOne)
		if err := RegistrationError(resp); err != nil {
			t.Fatal(err)
		}
		epoch := resp.BrokerEpoch
		recs, _ := metadata.ReadEnvelope(q.mu.log[1].data)
		if _, ok := recs[0].(*metadata.ClusterRecord); !ok || len(recs) != 1+len(metadata.SupportedFeatures()) {
			t.Fatalf("the first entry is %v", recs)
		}
		img := q.image()
		if img.ClusterID() != "cluster" || img.Features()[metadata.VersionFeature] != metadata.LatestVersion || len(img.Voters()) != 1 {
			t.Fatalf("cluster %q, features %v, voters %v", img.ClusterID(), img.Features(), img.Voters())
		}
		if b, ok := img.Broker(1); !ok || b.Epoch != epoch || epoch != 3 {
			t.Fatalf("broker %+v, answered epoch %d", b, epoch)
		}
		q.entries()
		q.loseTo(0)
		synctest.Wait()
		leadAndWait(t, c, q)
		if e := q.entries(); e != nil {
			t.Fatalf("a later leader proposed %v", e)
		}
	})
}

// An elected leader decides nothing before the first entry of its epoch is committed,
// and with it everything that earlier leaders may have promised.
func TestNothingIsDecidedBeforeTheFirstEntryOfTheEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		q.hold(true)
		codes := goCreate(t.Context(), c, "a")
		synctest.Wait()
		q.entries()
		q.loseTo(1)
		take(t, codes, 1, kerr.NotController)
		q.lead()
		take(t, goCreate(t.Context(), c, "a"), 1, kerr.NotController)
		if e := q.entries(); e != nil {
			t.Fatalf("proposed %v", e)
		}
		q.hold(false)
		if err := c.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		take(t, goCreate(t.Context(), c, "a"), 1, kerr.TopicAlreadyExists)
	})
}

func TestAnswerComesOnceApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, time.Second)
		begin := time.Now()
		take(t, goCreate(t.Context(), c, "a"), 1, nil)
		if _, ok := q.image().Topic("a"); !ok || time.Since(begin) != time.Second {
			t.Fatalf("answered after %v, applied %v", time.Since(begin), ok)
		}
	})
}

// Entries go out without waiting for each other, up to a bound; what comes then
// shares an entry.
func TestPipeliningAndBatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		q.hold(true)
		var answers []<-chan int16
		for i := range entriesInFlightMax {
			answers = append(answers, goCreate(t.Context(), c, fmt.Sprint("single-", i)))
			synctest.Wait()
		}
		if e := q.entries(); len(e) != entriesInFlightMax {
			t.Fatalf("entries %v before the first was applied", e)
		}
		var names []string
		for i := range 500 {
			names = append(names, fmt.Sprint("many-", i))
		}
		many := goCreate(t.Context(), c, names...)
		synctest.Wait()
		if e := q.entries(); e != nil {
			t.Fatalf("entries %v beyond the bound", e)
		}
		q.hold(false)
		for _, a := range answers {
			take(t, a, 1, nil)
		}
		take(t, many, len(names), nil)
		if e := q.entries(); len(e) > 2 || len(e) == 0 {
			t.Fatalf("500 requests took the entries %v", e)
		}
		if n := q.image().TopicCount(); n != 500+entriesInFlightMax {
			t.Fatalf("%d topics", n)
		}
	})
}

// A full entry goes out, the next requests go into another.
func TestEntriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		q.hold(true)
		for i := range entriesInFlightMax {
			goCreate(t.Context(), c, fmt.Sprint("single-", i))
			synctest.Wait()
		}
		q.entries()
		done := make(chan int16, 10)
		for i := range 10 {
			go func() {
				req := kmsg.NewPtrCreateTopicsRequest()
				req.Topics = append(req.Topics, newTopic(fmt.Sprint("t", i), 999, 1))
				done <- c.CreateTopics(t.Context(), req).Topics[0].ErrorCode
			}()
		}
		synctest.Wait()
		q.hold(false)
		take(t, done, 10, nil)
		e := q.entries()
		if slices.Max(e) >= entryRecordsFull+1000 || len(e) < 4 {
			t.Fatalf("entries of %v records", e)
		}
	})
}

// An answer that rests on a decision in flight waits for it, though it changes nothing.
func TestReadsWaitForWhatTheySaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		q.hold(true)
		first := goCreate(t.Context(), c, "a")
		synctest.Wait()
		second := goCreate(t.Context(), c, "a")
		synctest.Wait()
		if len(second) != 0 {
			t.Fatal("TOPIC_ALREADY_EXISTS was told of a topic that may never be")
		}
		q.loseTo(0)
		take(t, first, 1, kerr.NotController)
		take(t, second, 1, kerr.NotController)
		q.hold(false)
		leadAndWait(t, c, q)
		take(t, goCreate(t.Context(), c, "a"), 1, nil)
		take(t, goCreate(t.Context(), c, "a"), 1, kerr.TopicAlreadyExists)
	})
}

// Lost leadership drops what is pending, whether it is committed after all or not.
func TestLostLeadership(t *testing.T) {
	for _, kept := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(kept, " of 3 entries survive"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, q := startLeading(t, 0)
				q.hold(true)
				names := []string{"a", "b", "c"}
				var answers []<-chan int16
				for _, name := range names {
					answers = append(answers, goCreate(t.Context(), c, name))
					synctest.Wait()
				}
				q.loseTo(kept)
				for _, a := range answers {
					take(t, a, 1, kerr.NotController)
				}
				take(t, goCreate(t.Context(), c, "d"), 1, kerr.NotController)
				q.hold(false)
				leadAndWait(t, c, q)
				for i, name := range names {
					want := kerr.TopicAlreadyExists
					if i >= kept {
						want = nil
					}
					take(t, goCreate(t.Context(), c, name), 1, want)
				}
			})
		})
	}
}

// A new epoch without a loss told in between is a loss too.
func TestReelectionDropsWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		q.hold(true)
		codes := goCreate(t.Context(), c, "a")
		synctest.Wait()
		q.mu.Lock()
		q.mu.log = q.mu.log[:q.mu.applied]
		q.mu.Unlock()
		q.lead()
		q.hold(false)
		take(t, codes, 1, kerr.NotController)
		take(t, goCreate(t.Context(), c, "a"), 1, nil)
	})
}

// What the quorum refuses fails alone; what is in flight goes on, and nothing is
// decided on the failed decision.
func TestRefusedEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		q.hold(true)
		inFlight := goCreate(t.Context(), c, "in-flight")
		synctest.Wait()
		q.mu.Lock()
		q.mu.refuse = 1
		q.mu.Unlock()
		take(t, goCreate(t.Context(), c, "refused"), 1, kerr.NotController)
		later := goCreate(t.Context(), c, "refused")
		synctest.Wait()
		if len(later) != 0 || len(inFlight) != 0 {
			t.Fatal("answered while something was in flight")
		}
		q.hold(false)
		take(t, inFlight, 1, nil)
		take(t, later, 1, nil)
	})
}

// An entry in the own epoch that this controller did not propose ends its decisions.
func TestForeignEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		foreign := metadata.AppendEnvelope(nil, []metadata.Record{&metadata.TopicRecord{Name: "foreign", TopicID: testID(7)}})
		q.mu.Lock()
		q.mu.log = append(q.mu.log, fakeEntry{q.mu.epoch, foreign})
		q.wakeLocked()
		q.mu.Unlock()
		synctest.Wait()
		take(t, goCreate(t.Context(), c, "a"), 1, kerr.NotController)
		leadAndWait(t, c, q)
		take(t, goCreate(t.Context(), c, "foreign"), 1, kerr.TopicAlreadyExists)
	})
}

// Entries without records, of a change of voters say, pass by.
func TestEntriesWithoutRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		q.hold(true)
		codes := goCreate(t.Context(), c, "a")
		synctest.Wait()
		q.mu.Lock()
		last := len(q.mu.log) - 1
		q.mu.log = append(q.mu.log[:last:last], fakeEntry{epoch: q.mu.epoch}, q.mu.log[last])
		q.mu.Unlock()
		synctest.Wait()
		restarted := *brokerOne
		restarted.IncarnationID = testID(901)
		before, _ := q.image().Broker(1)
		c.BrokerGone(1, before.Epoch)
		epochs := make(chan int64, 1)
		go func() {
			resp := c.BrokerRegistration(t.Context(), &restarted)
			if err := RegistrationError(resp); err != nil {
				t.Error(err)
			}
			epochs <- resp.BrokerEpoch
		}()
		synctest.Wait()
		q.hold(false)
		take(t, codes, 1, nil)
		epoch := <-epochs
		if b, _ := q.image().Broker(1); b.Epoch != epoch || epoch != int64(q.image().Offset) || int(epoch) != len(q.mu.log) {
			t.Fatalf("broker epoch %d, answered %d, offset %d", b.Epoch, epoch, q.image().Offset)
		}
		if first, count, err := c.AllocateProducerIDs(t.Context(), 1, epoch); err != nil || first != 0 || count != 1000 {
			t.Fatalf("%d %d %v", first, count, err)
		}
		if _, _, err := c.AllocateProducerIDs(t.Context(), 1, epoch-1); !errors.Is(err, kerr.StaleBrokerEpoch) {
			t.Fatal(err)
		}
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		q.hold(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		take(t, goCreate(ctx, c, "decided"), 1, kerr.RequestTimedOut)
		for i := range entriesInFlightMax - 1 {
			goCreate(t.Context(), c, fmt.Sprint("t", i))
			synctest.Wait()
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		take(t, goCreate(ctx, c, "never-decided"), 1, kerr.RequestTimedOut)
		q.hold(false)
		synctest.Wait()
		if _, ok := q.image().Topic("decided"); !ok {
			t.Error("a decision that was made does not stand")
		}
		if _, ok := q.image().Topic("never-decided"); ok {
			t.Error("decided after the caller was told otherwise")
		}
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		q.hold(true)
		codes := goCreate(t.Context(), c, "a")
		synctest.Wait()
		waiting := make(chan error, 1)
		q.loseTo(0)
		take(t, codes, 1, kerr.NotController)
		go func() { waiting <- c.WaitReady(t.Context()) }()
		synctest.Wait()
		c.Stop()
		if err := <-waiting; !errors.Is(err, kerr.NotController) {
			t.Fatal(err)
		}
		take(t, goCreate(t.Context(), c, "b"), 1, kerr.NotController)
		c.Stop()
	})
}

// Requests from many clients over a quorum that commits slowly, refuses entries and
// changes leaders: who is told yes finds the change applied, who is told that a topic
// exists finds it, and the controller's image is the log's.
func TestManyClientsAndChangingLeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 3*time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for client := range 8 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					name := fmt.Sprintf("t%d-%d", client%4, i/3)
					switch code := create(t.Context(), c, name); code {
					case 0, kerr.TopicAlreadyExists.Code:
						if _, ok := q.image().Topic(name); !ok {
							t.Errorf("answer %d, but there is no topic %s", code, name)
						}
					case kerr.NotController.Code:
						time.Sleep(time.Millisecond)
					default:
						t.Errorf("code %d", code)
					}
				}
			})
		}
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				time.Sleep(37 * time.Millisecond)
				if i%3 == 0 {
					q.mu.Lock()
					q.mu.refuse = 2
					q.mu.Unlock()
					continue
				}
				q.loseTo(i % 4)
				time.Sleep(5 * time.Millisecond)
				q.lead()
			}
		})
		wg.Wait()
		synctest.Wait()
		time.Sleep(time.Second)
		if n := q.image().TopicCount(); n < 20 {
			t.Errorf("only %d topics", n)
		}
		c.Stop()
		if c.core.committed != q.image() || c.core.pending != q.image() {
			t.Error("the controller's image is not the log's")
		}
	})
}

func testFounding() (string, []metadata.Voter) {
	return "cluster", []metadata.Voter{{NodeID: 1, DirectoryID: testID(800)}}
}

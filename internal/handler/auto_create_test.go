package handler

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
)

// slowController answers CreateTopics requests when it is told to, or when nobody waits for them any more.
type slowController struct {
	answers chan *kerr.Error // for all topics of a request; nil is success
	asked   []string         // the topics of each request, space between; by the creator's goroutine alone
}

func (s *slowController) createTopics(ctx context.Context, req *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	names := ""
	resp := kmsg.NewPtrCreateTopicsResponse()
	for i := range req.Topics {
		if i > 0 {
			names += " "
		}
		names += req.Topics[i].Topic
		t := kmsg.NewCreateTopicsResponseTopic()
		t.Topic = req.Topics[i].Topic
		resp.Topics = append(resp.Topics, t)
	}
	s.asked = append(s.asked, names)
	code := kerr.RequestTimedOut.Code
	select {
	case <-ctx.Done():
	case err := <-s.answers:
		if code = 0; err != nil {
			code = err.Code
		}
	}
	for i := range resp.Topics {
		resp.Topics[i].ErrorCode = code
	}
	return resp
}

// inBubble runs f with a creator that is stopped at the end, and with nothing left of it.
func inBubble(t *testing.T, f func(s *slowController, c *topicCreator, create func(names ...string))) {
	synctest.Test(t, func(*testing.T) {
		s := &slowController{answers: make(chan *kerr.Error)}
		c := newTopicCreator(s.createTopics, slog.New(slog.DiscardHandler))
		f(s, c, func(names ...string) {
			for _, name := range names {
				c.create(kmsg.CreateTopicsRequestTopic{Topic: name}, &net.TCPAddr{})
			}
			synctest.Wait()
		})
		c.stop()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.mu.running || len(c.mu.next)+len(c.mu.inFlight) > 0 {
			t.Errorf("left after the stop: %+v", &c.mu)
		}
	})
}

// What is asked for while the controller is busy goes to it together, and each topic once.
func TestCreatedOnDemandOnce(t *testing.T) {
	inBubble(t, func(s *slowController, c *topicCreator, create func(...string)) {
		create("a")
		create("b", "a", "c", "b")
		create("a", "c")
		s.answers <- nil
		synctest.Wait()
		create("b")
		s.answers <- kerr.TopicAlreadyExists
		synctest.Wait()
		if want := []string{"a", "b c"}; !slices.Equal(s.asked, want) {
			t.Errorf("asked for %q, want %q", s.asked, want)
		}
	})
}

// A topic that could not be created is tried again when it is needed again, and no sooner.
func TestCreatedOnDemandAgainAfterFailure(t *testing.T) {
	inBubble(t, func(s *slowController, c *topicCreator, create func(...string)) {
		create("a")
		s.answers <- kerr.InvalidReplicationFactor
		time.Sleep(time.Hour)
		if len(s.asked) != 1 {
			t.Errorf("asked for %q", s.asked)
		}
		create("a")
		time.Sleep(2 * autoCreateTimeout) // nobody answers this one
		create("a")
		s.answers <- nil
		synctest.Wait()
		if want := []string{"a", "a", "a"}; !slices.Equal(s.asked, want) {
			t.Errorf("asked for %q, want %q", s.asked, want)
		}
	})
}

func TestCreatedOnDemandBounded(t *testing.T) {
	inBubble(t, func(s *slowController, c *topicCreator, create func(...string)) {
		for i := range autoCreateMax + 1 {
			create(strconv.Itoa(i))
		}
		last := strconv.Itoa(autoCreateMax)
		s.answers <- nil
		s.answers <- nil
		synctest.Wait()
		if len(s.asked) != 2 || len(strings.Fields(s.asked[1])) != autoCreateMax-1 {
			t.Fatalf("asked for %q", s.asked)
		}
		create(last)
		if s.asked[len(s.asked)-1] != last {
			t.Errorf("%s is not created, though there is room again", last)
		}
	})
}

// A stop does not wait for the controller, and nothing is begun after it.
func TestCreatedOnDemandStop(t *testing.T) {
	inBubble(t, func(s *slowController, c *topicCreator, create func(...string)) {
		create("a", "b")
		before := time.Now()
		var stops sync.WaitGroup
		for range 2 {
			stops.Go(c.stop)
		}
		stops.Wait()
		create("c")
		if waited := time.Since(before); waited != 0 {
			t.Errorf("the stop took %v", waited)
		}
		if slices.Contains(s.asked, "c") {
			t.Errorf("asked for %q after the stop", s.asked)
		}
	})
}

// The topic of the group coordinator is made as that needs it, whoever asks for it; topics of coordinators that
// are not built are not made.
func TestInternalTopicsOnDemand(t *testing.T) {
	b := startBroker(t, "offsets.topic.num.partitions", "7", "offsets.topic.segment.bytes", "2000000", "num.partitions", "3")
	defer b.stop()
	c := b.dial()
	defer c.close()
	req := metadataRequest(13, "__transaction_state", "__share_group_state", config.OffsetsTopic, "plain")
	req.AllowAutoTopicCreation = true
	resp := ask[*kmsg.MetadataResponse](c, req)
	if got, want := topicsOf(resp), "__transaction_state=3 __share_group_state=3 __consumer_offsets=3 plain=3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for i := range resp.Topics {
		if internal := i < 3; resp.Topics[i].IsInternal != internal {
			t.Errorf("%s: internal %v", *resp.Topics[i].Topic, !internal)
		}
	}
	b.untilTopic("plain")
	var made []string
	for _, t := range b.requested() {
		text := fmt.Sprintf("%s %d %d", t.Topic, t.NumPartitions, t.ReplicationFactor)
		for _, c := range t.Configs {
			text += " " + c.Name + "=" + *c.Value
		}
		made = append(made, text)
	}
	slices.Sort(made)
	want := []string{"__consumer_offsets 7 1 cleanup.policy=compact compression.type=producer segment.bytes=2000000", "plain -1 -1"}
	if !slices.Equal(made, want) {
		t.Errorf("made %q, want %q", made, want)
	}
}

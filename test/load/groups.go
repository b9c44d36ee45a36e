//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// memberLife is how long a member stays in its group: then it leaves and comes back as another.
const memberLife = 3 * time.Second

// membersPerGroup share the partitions of the topic.
const membersPerGroup = 2

func (l *Load) groupName(n int) string { return fmt.Sprintf("%s-%d", l.Topic, n) }

// A member consumes the topic in a group, over one life after the other, and commits what it has read. It belongs to one goroutine.
type member struct {
	*Load
	group int32
}

// run consumes until reading ends.
func (m *member) run(reading context.Context) error {
	for reading.Err() == nil {
		if err := m.live(reading); err != nil {
			return fmt.Errorf("group %d: %w", m.group, err)
		}
	}
	return nil
}

// live is one life of the member, from its joining to its leaving.
func (m *member) live(reading context.Context) error {
	cl, err := m.Client(
		kgo.ConsumerGroup(m.groupName(int(m.group))),
		kgo.ConsumeTopics(m.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.BlockRebalanceOnPoll(),
	)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	life, end := context.WithTimeout(reading, memberLife)
	defer end()
	for life.Err() == nil {
		fetches := cl.PollRecords(life, 5000)
		m.read(life, cl, fetches)
		cl.AllowRebalance()
	}
	return nil
}

// read notes what was polled, then commits it. A commit that fails is the next member's to make again: it reads the same once more.
func (m *member) read(life context.Context, cl *kgo.Client, fetches kgo.Fetches) {
	read := map[int32]int64{} // the next offset, by partition
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if n := len(p.Records); n > 0 {
			m.Out.Consumed(m.group, p.Partition, p.Records[0].Offset, p.Records[n-1].Offset)
			read[p.Partition] = p.Records[n-1].Offset + 1
		}
	})
	if len(read) == 0 {
		return
	}
	committing, cancel := context.WithTimeout(life, 2*time.Second)
	defer cancel()
	records := fetches.Records()
	if err := cl.CommitRecords(committing, records...); err != nil {
		return
	}
	for p, next := range read {
		m.Out.Committed(m.group, p, next)
	}
}

// watchOffsets asks for the groups' offsets over and over, and at last once everything is read.
func (l *Load) watchOffsets(ctx, reading context.Context) error {
	cl, err := l.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for number := int64(0); reading.Err() == nil; number++ {
		asking, cancel := context.WithTimeout(ctx, 2*time.Second)
		for g := range l.Groups {
			_, _ = l.askOffsets(asking, adm, int32(g), number) // down; the next time
		}
		cancel()
		select {
		case <-time.After(50 * time.Millisecond):
		case <-reading.Done():
		}
	}
	return nil
}

// askOffsets notes what a group's offsets are said to be. The question comes before, so that the judge knows which commits the answer must have.
func (l *Load) askOffsets(ctx context.Context, adm *kadm.Client, group int32, number int64) (map[int32]int64, error) {
	l.Out.Asked(group, number)
	offsets, err := adm.FetchOffsets(ctx, l.groupName(int(group)))
	if err := errors.Join(err, offsets.Error()); err != nil {
		return nil, err
	}
	at := map[int32]int64{}
	for _, o := range offsets.Sorted() {
		at[o.Partition] = o.At
	}
	l.Out.Answered(group, number, at)
	return at, nil
}

// AwaitGroups returns once every group has committed everything, and notes the last answers.
func (l *Load) AwaitGroups(ctx context.Context) error {
	cl, err := l.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(ctx, l.Topic)
	if err := errors.Join(err, ends.Error()); err != nil {
		return err
	}
	for g := range l.Groups {
		for number := int64(1) << 40; ; number++ { // beside those of watchOffsets
			at, err := l.askOffsets(ctx, adm, int32(g), number)
			behind := int64(0)
			ends.Each(func(o kadm.ListedOffset) { behind += o.Offset - at[o.Partition] })
			if err == nil && behind == 0 {
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("group %d is %d records behind and does not come nearer: %w", g, behind, errors.Join(err, ctx.Err()))
			}
		}
	}
	return nil
}

// Consume runs the members of all groups, and who watches them, until reading ends. Each error is sent to failed.
func (l *Load) Consume(ctx, reading context.Context, failed chan<- error) *sync.WaitGroup {
	var wg sync.WaitGroup
	for g := range l.Groups {
		for range membersPerGroup {
			m := &member{Load: l, group: int32(g)}
			wg.Go(func() { Report(failed, m.run(reading)) })
		}
	}
	wg.Go(func() { Report(failed, l.watchOffsets(ctx, reading)) })
	return &wg
}

// Report sends an error, if it is one, unless another is waiting to be seen.
func Report(failed chan<- error, err error) {
	if err == nil {
		return
	}
	select {
	case failed <- err:
	default:
	}
}

package group

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/ids"
)

// specOf makes a spec of topics with so many partitions and of members that subscribe to some of them.
func specOf(partitions []int32, members map[string][]int) *groupSpec {
	spec := &groupSpec{}
	for i, n := range partitions {
		spec.topics = append(spec.topics, topicSpec{topicID(fmt.Sprintf("t%02d", i)), n})
	}
	for id, topics := range members {
		spec.members = append(spec.members, memberSpec{id: id, topics: topics})
	}
	slices.SortFunc(spec.members, func(a, b memberSpec) int { return strings.Compare(a.id, b.id) })
	return spec
}

func printAssignments(spec *groupSpec, out []assignment) string {
	text := ""
	for i, a := range out {
		text += spec.members[i].id + "[" + a.String() + "] "
	}
	return text
}

// What Apache Kafka 4.3 makes of these members and topics, too, as far as the order of its hash tables is that of the names.
func TestAssignorsAsKafka(t *testing.T) {
	all := []int{0, 1}
	for _, c := range []struct {
		name   string
		assign func(*groupSpec) []assignment
		spec   *groupSpec
		want   string
	}{
		{name: "uniform, fewer members than partitions", assign: assignUniform, spec: specOf([]int32{3, 2}, map[string][]int{"a": all, "b": all}),
			want: "a[t00:0+1+2] b[t01:0+1] "},
		{name: "uniform, more members than partitions", assign: assignUniform, spec: specOf([]int32{2}, map[string][]int{"a": {0}, "b": {0}, "c": {0}}),
			want: "a[t00:0] b[t00:1] c[] "},
		{name: "uniform, different subscriptions", assign: assignUniform, spec: specOf([]int32{6, 3}, map[string][]int{"a": {0}, "b": all, "c": {1}}),
			want: "a[t00:0+2+4] b[t00:1+3+5] c[t01:0+1+2] "},
		{name: "range, two topics alike", assign: assignRange, spec: specOf([]int32{3, 3}, map[string][]int{"a": all, "b": all}),
			want: "a[t00:0+1 t01:0+1] b[t00:2 t01:2] "},
		{name: "range, different subscriptions", assign: assignRange, spec: specOf([]int32{3, 2}, map[string][]int{"a": all, "b": {0}, "c": {1}}),
			want: "a[t00:0+1 t01:0] b[t00:2] c[t01:1] "},
		{name: "range, more members than partitions", assign: assignRange, spec: specOf([]int32{2}, map[string][]int{"a": {0}, "b": {0}, "c": {0}}),
			want: "a[t00:0] b[t00:1] c[] "},
	} {
		if got := printAssignments(c.spec, c.assign(c.spec)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// Static members come first for range, in order of their instances.
func TestRangeOrder(t *testing.T) {
	spec := specOf([]int32{3}, map[string][]int{"a": {0}, "b": {0}, "c": {0}})
	first, second := "1", "2"
	spec.members[1].instanceID, spec.members[2].instanceID = &second, &first
	if got := printAssignments(spec, assignRange(spec)); got != "a[t00:2] b[t00:1] c[t00:0] " {
		t.Error(got)
	}
}

// draw makes a group of up to 8 members and 5 topics, with alike or with different subscriptions.
func drawSpec(t *rapid.T) *groupSpec {
	counts := rapid.SliceOfN(rapid.Int32Range(0, 9), 1, 5).Draw(t, "partitions")
	alike := rapid.Bool().Draw(t, "alike")
	members := make(map[string][]int)
	shared := drawTopics(t, len(counts))
	for i := range rapid.IntRange(1, 8).Draw(t, "members") {
		members[fmt.Sprintf("m%d", i)] = shared
		if !alike {
			members[fmt.Sprintf("m%d", i)] = drawTopics(t, len(counts))
		}
	}
	return specOf(counts, members)
}

func drawTopics(t *rapid.T, n int) []int {
	var topics []int
	for i := range n {
		if rapid.Bool().Draw(t, "subscribes") {
			topics = append(topics, i)
		}
	}
	return topics
}

// checkComplete sees to it that each partition that has a subscriber is with one of them.
func checkComplete(t fataler, spec *groupSpec, out []assignment) {
	t.Helper()
	if len(out) != len(spec.members) {
		t.Fatalf("%d assignments of %d members", len(out), len(spec.members))
	}
	for i, topic := range spec.topics {
		owners, subscribers := make(map[int32]int), 0
		for j, m := range spec.members {
			has := out[j].topic(topic.id)
			if !slices.IsSorted(has.partitions) {
				t.Fatalf("%v is not in order", has.partitions)
			}
			subscribed := slices.Contains(m.topics, i)
			if subscribed {
				subscribers++
			} else if len(has.partitions) > 0 {
				t.Fatalf("%s has %v of a topic that it does not subscribe to", m.id, has)
			}
			for _, p := range has.partitions {
				owners[p]++
			}
		}
		for p := range topic.partitions {
			if want := min(subscribers, 1); owners[p] != want {
				t.Fatalf("partition %d of topic %d, which has %d subscribers, is with %d members", p, i, subscribers, owners[p])
			}
			delete(owners, p)
		}
		if len(owners) > 0 {
			t.Fatalf("topic %d has no partitions %v", i, owners)
		}
	}
}

func moved(before, after []assignment) int {
	n := 0
	for i := range after {
		_, gained := after[i].split(func(topic ids.TopicID, p int32) bool { return before[i].topic(topic).has(p) })
		n += gained.count()
	}
	return n
}

// TestUniform: complete, even, the same each time, and with no more moves than that needs.
func TestUniform(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		first := assignUniform(spec)
		checkComplete(t, spec, first)
		checkEven(t, spec, first)
		for i := range spec.members {
			spec.members[i].before = first[i]
		}
		if again := assignUniform(spec); moved(first, again) != 0 {
			t.Fatalf("%s becomes %s although nothing changed", printAssignments(spec, first), printAssignments(spec, again))
		}
		changed, before := change(t, spec)
		second := assignUniform(changed)
		checkComplete(t, changed, second)
		checkEven(t, changed, second)
		if changed.homogeneous() {
			if got, least := moved(before, second), leastMoves(changed, before); got != least {
				t.Fatalf("%d moves from %s to %s, %d are enough", got, printAssignments(changed, before), printAssignments(changed, second), least)
			}
		}
		if fmt.Sprint(second) != fmt.Sprint(assignUniform(changed)) {
			t.Fatalf("twice the same gives two assignments")
		}
	})
}

// change takes away a member or adds one, or gives a topic more partitions.
func change(t *rapid.T, spec *groupSpec) (*groupSpec, []assignment) {
	next := &groupSpec{topics: slices.Clone(spec.topics), members: slices.Clone(spec.members)}
	switch rapid.IntRange(0, 2).Draw(t, "change") {
	case 0:
		if len(next.members) > 1 {
			i := rapid.IntRange(0, len(next.members)-1).Draw(t, "goes")
			next.members = slices.Delete(next.members, i, i+1)
		}
	case 1:
		at := rapid.IntRange(0, len(next.members)).Draw(t, "comes")
		id := "a"
		if at > 0 {
			id = next.members[at-1].id + "x"
		}
		next.members = slices.Insert(next.members, at, memberSpec{id: id, topics: next.members[0].topics})
	default:
		next.topics[0].partitions += rapid.Int32Range(0, 5).Draw(t, "grows")
	}
	before := make([]assignment, len(next.members))
	for i, m := range next.members {
		before[i] = m.before
	}
	return next, before
}

// checkEven: members of equal subscriptions differ by one. Where subscriptions differ, no move of one partition
// makes two members more even.
func checkEven(t fataler, spec *groupSpec, out []assignment) {
	t.Helper()
	for i, from := range spec.members {
		for j, to := range spec.members {
			if out[i].count()-out[j].count() < 2 {
				continue
			}
			if slices.Equal(from.topics, to.topics) {
				t.Fatalf("%s: %s has two more than %s, which subscribes to the same", printAssignments(spec, out), from.id, to.id)
			}
			for _, topic := range to.topics {
				if len(out[i].topic(spec.topics[topic].id).partitions) > 0 {
					t.Fatalf("%s: %s could have one of topic %d of %s", printAssignments(spec, out), to.id, topic, from.id)
				}
			}
		}
	}
}

// leastMoves is how many partitions members of equal subscriptions must get that they have not: all but what fits the
// quotas, of which as many as there may be are larger by one.
func leastMoves(spec *groupSpec, before []assignment) int {
	total, kept := 0, 0
	for _, topic := range spec.members[0].topics {
		total += int(spec.topics[topic].partitions)
	}
	quota, extra := total/len(spec.members), total%len(spec.members)
	for _, a := range before {
		n := a.count()
		if n > quota && extra > 0 {
			extra--
			kept++
		}
		kept += min(n, quota)
	}
	return total - kept
}

// TestRange: complete, by ranges that differ by one for each topic, and the same for topics alike.
func TestRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		out := assignRange(spec)
		checkComplete(t, spec, out)
		for i, topic := range spec.topics {
			least, most := topic.partitions, int32(0)
			for j, m := range spec.members {
				if !slices.Contains(m.topics, i) {
					continue
				}
				has := out[j].topic(topic.id).partitions
				least, most = min(least, int32(len(has))), max(most, int32(len(has)))
				if n := len(has); n > 0 && int(has[n-1]-has[0]) != n-1 {
					t.Fatalf("%v is no range", has)
				}
			}
			if most-least > 1 {
				t.Fatalf("%s: topic %d is uneven", printAssignments(spec, out), i)
			}
		}
	})
}

func BenchmarkAssignors(b *testing.B) {
	for _, c := range []struct {
		name                        string
		members, topics, partitions int
		alike                       bool
	}{{"one topic", 1000, 1, 10_000, true}, {"100 topics", 1000, 100, 100, true}, {"100 topics, different subscriptions", 1000, 100, 100, false}} {
		spec := largeSpec(c.members, c.topics, c.partitions, c.alike)
		for name, assign := range assignors {
			b.Run(fmt.Sprintf("%s/%s", name, c.name), func(b *testing.B) {
				for range b.N {
					assign(spec)
				}
			})
		}
	}
}

func largeSpec(members, topics, partitions int, alike bool) *groupSpec {
	counts := make([]int32, topics)
	all := make([]int, topics)
	for i := range counts {
		counts[i], all[i] = int32(partitions), i
	}
	subscriptions := make(map[string][]int)
	for i := range members {
		subscriptions[fmt.Sprintf("member-%04d", i)] = all
		if !alike {
			subscriptions[fmt.Sprintf("member-%04d", i)] = all[i*topics/members/2:]
		}
	}
	return specOf(counts, subscriptions)
}

// A group of a thousand members is no burden: an assignment of ten thousand partitions takes far less than the
// interval between two, even where everything has to move.
func TestAssignorsKeepUp(t *testing.T) {
	for _, alike := range []bool{true, false} {
		spec := largeSpec(1000, 100, 100, alike)
		for name, assign := range assignors {
			began := time.Now()
			out := assign(spec)
			t.Logf("%s, alike %v: %v", name, alike, time.Since(began))
			checkComplete(t, spec, out)
		}
	}
}

package group

import (
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

const (
	// regexBytesMax and regexInstructionsMax bound an expression, so that one that takes long for each name is refused.
	regexBytesMax        = 4096
	regexInstructionsMax = 2000

	// regexPause is the least time between two resolutions of the expressions of a group.
	regexPause = 10 * time.Second

	// regexStepsMax bounds one Tick: instructions of expressions times bytes of names. It is about 10 ms.
	regexStepsMax = 2 << 20
	// regexTickMs is between two such, for other requests.
	regexTickMs = 10
)

// resolvedRegex is what a regular expression of a group stands for.
type resolvedRegex struct {
	topics      []string // in order
	version     int64    // the offset of the metadata
	timestampMs int64
}

// compileRegex compiles an expression, which has to match the whole name of a topic. Its syntax is RE2's, which has
// nothing that takes longer than its own length for each byte of a name.
func compileRegex(pattern string) (*regexp.Regexp, int, error) {
	invalid := func(why any) error {
		return refuse(kerr.InvalidRegularExpression, fmt.Sprintf("SubscribedTopicRegex `%s` is not a valid regular expression: %v.", pattern, why))
	}
	if len(pattern) > regexBytesMax {
		return nil, 0, refuse(kerr.InvalidRegularExpression, fmt.Sprintf("SubscribedTopicRegex of %d bytes is longer than %d.", len(pattern), regexBytesMax))
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, 0, invalid(err.(*syntax.Error).Code)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, 0, invalid(err)
	}
	if n := len(program.Inst); n > regexInstructionsMax {
		return nil, 0, invalid(fmt.Sprintf("it needs %d instructions, %d are allowed", n, regexInstructionsMax))
	}
	re, err := regexp.Compile(`^(?:` + pattern + `)$`)
	if err != nil {
		return nil, 0, invalid(err)
	}
	return re, len(program.Inst), nil
}

// regexCheck is when and of what metadata the expressions of a group were last resolved.
type regexCheck struct {
	offset ids.Offset
	ms     int64
}

// regexMatcher is a resolution under way, which goes on with every Tick.
type regexMatcher struct {
	img     *metadata.Image
	next    string // the topic to go on with
	steps   int    // of all expressions together, for a byte
	matches []patternMatches
}

type patternMatches struct {
	pattern string
	re      *regexp.Regexp
	topics  []string
}

func regexTimerKey(group string) timerKey { return timerKey{kind: regexTimer, group: group} }

// lastResolved returns when the expressions were last resolved. After a load the records say.
func (g *consumerGroup) lastResolved() regexCheck {
	last := g.matched
	for _, r := range g.resolved {
		if r.timestampMs > last.ms {
			last = regexCheck{offset: ids.Offset(r.version), ms: r.timestampMs}
		}
	}
	return last
}

// refreshRegexes begins to resolve the expressions of the changed group where one is new, or the topics are not
// those of the last time, or that was long ago; but not too often. Java: maybeUpdateRegularExpressions.
func (s *Shard) refreshRegexes(ev *event, c *groupChange) {
	g := c.group
	_, regexes := c.counted()
	if len(regexes) == 0 || g.matching != nil {
		return
	}
	last, nowMs := g.lastResolved(), ev.now.UnixMilli()
	if nowMs <= last.ms+regexPause.Milliseconds() && nowMs >= last.ms {
		return
	}
	due := len(regexes) != len(g.resolved) || last.offset != s.image().Offset ||
		nowMs > last.ms+int64(s.cfg().ConsumerRegexRefreshIntervalMs)
	if !due {
		return
	}
	patterns := slices.Sorted(maps.Keys(regexes))
	ev.after(func() { s.beginMatching(g.name, patterns, ev.now) })
}

func (s *Shard) beginMatching(group string, patterns []string, now time.Time) {
	g := s.consumers[group]
	if g == nil {
		return
	}
	m := &regexMatcher{img: s.image()}
	for _, pattern := range patterns {
		re, instructions, err := compileRegex(pattern)
		if err != nil { // another release let it in
			s.logger.Warn("a regular expression of a group stands for no topic", "group", group, "err", err)
			m.matches = append(m.matches, patternMatches{pattern: pattern})
			continue
		}
		m.steps += instructions
		m.matches = append(m.matches, patternMatches{pattern: pattern, re: re})
	}
	g.matching = m
	s.timers.schedule(regexTimerKey(group), now, 0)
}

// run matches names until it has done enough for now. It tells whether it is done with all.
func (m *regexMatcher) run() bool {
	left := regexStepsMax
	for t := range m.img.TopicsFrom(m.next) {
		if left <= 0 {
			m.next = t.Name
			return false
		}
		left -= (m.steps + 1) * len(t.Name)
		for i := range m.matches {
			if p := &m.matches[i]; p.re != nil && p.re.MatchString(t.Name) {
				p.topics = append(p.topics, t.Name)
			}
		}
	}
	return true
}

// expireRegex goes on with the resolution of a group, and at its end has the group follow.
// Java: handleRegularExpressionsResult.
func (s *Shard) expireRegex(ev *event, g *consumerGroup) {
	if g.matching == nil {
		return
	}
	if !g.matching.run() {
		s.timers.schedule(regexTimerKey(g.name), ev.now, regexTickMs)
		return
	}
	m := g.matching
	g.matching = nil
	ev.after(func() { g.matched = regexCheck{offset: m.img.Offset, ms: ev.now.UnixMilli()} })
	c := &groupChange{group: g, resolved: make(map[string]*resolvedRegex)}
	changed := false
	for _, p := range m.matches {
		if g.regexes[p.pattern] == 0 {
			continue
		}
		now := &resolvedRegex{topics: p.topics, version: int64(m.img.Offset), timestampMs: ev.now.UnixMilli()}
		before := g.resolved[p.pattern]
		if before != nil && slices.Equal(before.topics, p.topics) && now.timestampMs <= before.timestampMs+int64(s.cfg().ConsumerRegexRefreshIntervalMs) {
			continue // it need not be written that nothing is new
		}
		c.resolved[p.pattern] = now
		changed = changed || !slices.Equal(topicsOf(before), p.topics)
		ev.write(g.regexRecord(p.pattern, now))
	}
	if hash := s.metadataHash(c.topicNames()); changed || hash != g.metadataHash {
		s.bump(ev, g, hash, "what the regular expressions of members match has changed")
	}
}

func topicsOf(r *resolvedRegex) []string {
	if r == nil {
		return nil
	}
	return r.topics
}

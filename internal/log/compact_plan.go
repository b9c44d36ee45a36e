package log

import (
	"fmt"
	"math"

	"github.com/moldau/moldau/internal/ids"
)

// cleaningState is what decides whether a log is to be cleaned.
type cleaningState struct {
	segments []segmentState // oldest first; the last is active

	start   ids.Offset
	end     ids.Offset
	cleaned ids.Offset // what the last cleaning came up to
	// Nothing from here on is touched: what a transaction or the high watermark holds back, and
	// what a power cut could take, because an older record of its key must not go before it.
	stable  ids.Offset
	durable ids.Offset

	nowMs int64
}

type segmentState struct {
	base      ids.Offset
	sizeBytes int64
	newestMs  int64 // largest timestamp; asked for only with min.compaction.lag.ms
	firstMs   int64 // timestamp of the first batch; asked for only with max.compaction.lag.ms
}

// cleaningPlan is what a cleaning of a log would do: the keys of [dirty, end) take away older
// records below end. Java: LogToClean.
type cleaningPlan struct {
	dirty, end   ids.Offset // end is the beginning of a segment
	cleanedBytes int64      // of the segments below dirty
	dirtyBytes   int64      // of those with dirty records that may be cleaned
	lateMs       int64      // by how much max.compaction.lag.ms is exceeded; 0 where it is not
}

// planCleaning finds out what can be cleaned. Java: LogCleanerManager.cleanableOffsets, maxCompactionDelay.
func planCleaning(st *cleaningState, cfg *Config) cleaningPlan {
	p := cleaningPlan{dirty: max(st.cleaned, st.start)}
	if st.cleaned > st.end {
		p.dirty = st.start // the log was cut since, by a crash
	}
	active := len(st.segments) - 1
	p.end = min(st.stable, st.durable, st.segments[active].base)
	first := max(0, floorState(st.segments, p.dirty))
	firstMs := int64(math.MaxInt64)
	for i := first; i < active; i++ {
		s := &st.segments[i]
		if cfg.MinCompactionLagMs > 0 && s.newestMs > st.nowMs-cfg.MinCompactionLagMs {
			p.end = min(p.end, max(p.dirty, s.base))
		}
		if s.firstMs > 0 {
			firstMs = min(firstMs, s.firstMs)
		}
	}
	if until := st.nowMs - cfg.MaxCompactionLagMs; firstMs < until {
		p.lateMs = until - firstMs
	}
	// Whole segments are cleaned, so that of one that may be cleaned in part nothing is.
	p.end = st.segments[max(0, floorState(st.segments, max(p.end, p.dirty)))].base
	for i, s := range st.segments[:active] {
		if s.base < p.dirty {
			p.cleanedBytes += s.sizeBytes
		}
		if i >= first && s.base < p.end {
			p.dirtyBytes += s.sizeBytes
		}
	}
	return p
}

// floorState returns the index of the last segment whose base offset is at most o, -1 for none.
func floorState(segments []segmentState, o ids.Offset) int {
	n := len(segments)
	for n > 0 && segments[n-1].base > o {
		n--
	}
	return n - 1
}

// ratio is how much of the log is dirty, of what can be cleaned.
func (p *cleaningPlan) ratio() float64 {
	if p.dirtyBytes == 0 {
		return 0
	}
	return float64(p.dirtyBytes) / float64(p.dirtyBytes+p.cleanedBytes)
}

// due tells whether the log is to be cleaned, and why.
func (p *cleaningPlan) due(cfg *Config) (why string, due bool) {
	switch {
	case p.dirtyBytes == 0:
		return "", false
	case p.ratio() > cfg.MinCleanableRatio:
		return fmt.Sprintf("%.0f %% of it is dirty, more than min.cleanable.dirty.ratio", 100*p.ratio()), true
	case p.lateMs > 0:
		return fmt.Sprintf("max.compaction.lag.ms is exceeded by %d ms", p.lateMs), true
	}
	return "", false
}

// segmentSize is what decides which segments become one.
type segmentSize struct {
	base                                       ids.Offset
	logBytes, offsetIndexBytes, timeIndexBytes int64
}

// groupSegments splits segments that end at end into runs that fit one segment each, whatever
// stays of them, and returns how many are in each. Java: Cleaner.groupSegmentsBySize.
func groupSegments(segments []segmentSize, end ids.Offset, cfg *Config) (counts []int) {
	for len(segments) > 0 {
		sum, n := segments[0], 1
		for ; n < len(segments); n++ {
			s, next := &segments[n], end
			if n+1 < len(segments) {
				next = segments[n+1].base
			}
			sum.logBytes += s.logBytes
			sum.offsetIndexBytes += s.offsetIndexBytes
			sum.timeIndexBytes += s.timeIndexBytes
			if sum.logBytes > int64(cfg.SegmentBytes) || sum.offsetIndexBytes > int64(cfg.IndexBytes) ||
				sum.timeIndexBytes > int64(cfg.IndexBytes) || next-1-sum.base > math.MaxInt32 {
				break
			}
		}
		counts = append(counts, n)
		segments = segments[n:]
	}
	return counts
}

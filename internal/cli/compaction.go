package cli

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// compaction says what compaction does to a topic: what its configs say, for how far it is no client is told.
type compaction struct {
	Keeps      string `json:"keeps"`
	Cleaned    string `json:"cleaned_when"`
	Tombstones string `json:"tombstones"`
}

// compactionOf returns what applies to a topic with these configs, nil where it is not compacted.
func compactionOf(configs map[string]string) *compaction {
	policies := strings.Split(configs["cleanup.policy"], ",")
	if !slices.Contains(policies, "compact") {
		return nil
	}
	c := &compaction{Keeps: "the last record of each key"}
	if slices.Contains(policies, "delete") {
		c.Keeps += ", until retention deletes it"
	}
	c.Cleaned = "more than " + configs["min.cleanable.dirty.ratio"] + " of a log is new since the last time"
	if least := millis(configs["min.compaction.lag.ms"]); least > 0 {
		c.Cleaned += fmt.Sprintf("; records younger than %v are left out", least)
	}
	if most := millis(configs["max.compaction.lag.ms"]); most > 0 {
		c.Cleaned += fmt.Sprintf("; at the latest %v after a record was written", most)
	}
	c.Tombstones = fmt.Sprintf("stay for %v after the first cleaning that sees them", millis(configs["delete.retention.ms"]))
	return c
}

// millis returns what a config in milliseconds says, 0 where that is for ever.
func millis(value string) time.Duration {
	ms, err := strconv.ParseInt(value, 10, 64)
	if err != nil || ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

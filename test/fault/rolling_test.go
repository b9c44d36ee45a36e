//go:build linux

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/test/history"
)

func TestWhatApplicationsMustNotBeTold(t *testing.T) {
	good := func() *history.Verdict {
		return &history.Verdict{Sent: 5, Acked: 5, Read: 5, Stalls: []history.Stall{{Who: producing, Length: 300 * time.Millisecond}, {Who: consuming, Length: 999 * time.Millisecond}}}
	}
	for _, c := range []struct {
		name  string
		spoil func(v *history.Verdict)
		want  string // in the error, "" for none
	}{
		{"all well", func(*history.Verdict) {}, ""},
		{"the consumer waits", func(v *history.Verdict) { v.Stalls[consuming].Length = time.Second }, "told nothing for 1s"},
		{"the consumer is given nothing", func(v *history.Verdict) { v.Stalls = v.Stalls[:1] }, "1 halves"},
		{"an error", func(v *history.Verdict) {
			v.Violations = []history.Violation{{Kind: "error", Text: "NOT_LEADER"}}
		}, "NOT_LEADER"},
		{"a record has no acknowledgement", func(v *history.Verdict) { v.Acked = 4 }, "4 of 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := good()
			c.spoil(v)
			_, err := rollingVerdict(v)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, not %q", err, c.want)
			}
		})
	}
}

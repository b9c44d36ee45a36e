package history

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStallsAreOfEachApplicationAndPartition(t *testing.T) {
	var file bytes.Buffer
	w := NewWriter(&file)
	at := func(ms int64) time.Time { return time.UnixMilli(1_800_000_000_000 + ms) }
	for _, p := range []struct {
		who, partition int32
		ms             int64
	}{{0, 0, 0}, {0, 1, 10}, {1, 0, 20}, {0, 0, 300}, {0, 1, 900}, {0, 0, 1000}, {1, 0, 250}, {2, 7, 5}} {
		w.Progress(p.who, p.partition, at(p.ms))
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	h, err := Parse(&file)
	if err != nil {
		t.Fatal(err)
	}
	v := h.Judge()
	want := []Stall{{0, 1, at(10), 890 * time.Millisecond}, {1, 0, at(20), 230 * time.Millisecond}}
	if !v.OK() || len(v.Stalls) != 3 || !slices.EqualFunc(v.Stalls[:2], want, func(a, b Stall) bool { return a.From.Equal(b.From) && a.String() == b.String() }) || v.Stalls[2].Length != 0 {
		t.Errorf("%v %v, not %v", v.Violations, v.Stalls, want)
	}
}

func TestErrorsOfApplicationsAreCaught(t *testing.T) {
	var file bytes.Buffer
	w := NewWriter(&file)
	w.Failed(1, errors.New("NOT_LEADER:\nno leader"))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	file.WriteString("N 0 a broker is down\nF 2\n")
	h, err := Parse(&file)
	if err != nil {
		t.Fatal(err)
	}
	v := h.Judge()
	if len(v.Violations) != 2 || v.Notes != 1 || v.Violations[0].Kind != "error" || !strings.HasSuffix(v.Violations[0].Text, "1 was told: NOT_LEADER: no leader") {
		t.Errorf("%v, %d notes", v.Violations, v.Notes)
	}
	if _, err := Parse(strings.NewReader("P 1 2\n")); err == nil {
		t.Error("progress at no time was read")
	}
}

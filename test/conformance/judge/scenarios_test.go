package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// goodPositions is what a client prints that does everything right with want.
func goodPositions(want []record) []string {
	var lines []string
	partitions := byPartition(want)
	for p := range int32(3) {
		end := len(partitions[p])
		lines = append(lines, fmt.Sprintf("seek %d 100", p), fmt.Sprintf("lag %d %d %d %d", p, committedIn(p), end, end-int(committedIn(p))))
		for i, at := range lookUpTimes(want) {
			offset := slices.IndexFunc(partitions[p], func(r record) bool { return r.timestamp >= at })
			if i == 5 && p == 1 { // some clients say the end
				offset = end
			}
			lines = append(lines, fmt.Sprintf("time %d %d %d", at, p, offset))
		}
	}
	return append(lines, "paused 0 0", "resumed 0 150")
}

func TestPositionsJudged(t *testing.T) {
	want := makeRecords(999, 3, true, false)
	last := lookUpTimes(want)[5]
	replace := func(old, with string) func([]string) []string {
		return func(lines []string) []string {
			i := slices.Index(lines, old)
			if i < 0 {
				t.Fatalf("no line %q", old)
			}
			if with == "" {
				return slices.Delete(lines, i, i+1)
			}
			lines[i] = with
			return lines
		}
	}
	for name, test := range map[string]struct {
		spoil   func([]string) []string
		without []string
		good    bool
	}{
		"all of it":                    {spoil: slices.Clip[[]string], good: true},
		"paused at the end":            {replace("resumed 0 150", "resumed 0 333"), nil, true},
		"in another order":             {spoil: func(l []string) []string { slices.Reverse(l); return l }, good: true},
		"without a pause, as known":    {func(l []string) []string { return append(l[:len(l)-2], "- pause") }, []string{"pause"}, true},
		"without a pause, not said to": {func(l []string) []string { return append(l[:len(l)-2], "- pause") }, nil, false},
		"said to be without a pause":   {slices.Clip[[]string], []string{"pause"}, false},
		"seek lands elsewhere":         {replace("seek 1 100", "seek 1 101"), nil, false},
		"one partition not sought":     {replace("seek 2 100", ""), nil, false},
		"a record while paused":        {replace("paused 0 0", "paused 0 1"), nil, false},
		"lost by the pause":            {replace("resumed 0 150", "resumed 0 151"), nil, false},
		"never resumed":                {replace("resumed 0 150", ""), nil, false},
		"a time before it":             {replace("time 1700000000001 0 1", "time 1700000000001 0 0"), nil, false},
		"a record after the last":      {replace(fmt.Sprintf("time %d 0 -1", last), fmt.Sprintf("time %d 0 332", last)), nil, false},
		"a time not answered":          {replace("time 1700000000001 0 1", ""), nil, false},
		"another commit":               {replace("lag 1 100 333 233", "lag 1 101 333 232"), nil, false},
		"another lag":                  {replace("lag 1 100 333 233", "lag 1 100 333 234"), nil, false},
		"no number":                    {replace("seek 1 100", "seek 1 x"), nil, false},
		"nothing":                      {func([]string) []string { return nil }, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			lines := test.spoil(goodPositions(want))
			table, err := judgePositions(want, strings.NewReader(strings.Join(lines, "\n")), test.without)
			if (err == nil) != test.good {
				t.Error(err)
			}
			if test.good && len(table) != 4 {
				t.Errorf("table %v", table)
			}
		})
	}
}

func TestRecreateJudged(t *testing.T) {
	good := func() []string {
		var lines []string
		for i := range oldRecords {
			lines = append(lines, fmt.Sprintf("record %d %d old-%d", i%3, i/3, i))
		}
		lines = append(lines, "recreated")
		for i := range newRecords {
			lines = append(lines, fmt.Sprintf("record %d %d new-%d", i%3, i/3, i))
		}
		return lines
	}
	for name, test := range map[string]struct {
		spoil func([]string) []string
		word  string // "" is an error
	}{
		"both topics read":      {slices.Clip[[]string], "yes"},
		"opened anew":           {func(l []string) []string { return slices.Insert(l, oldRecords+1, "reopened") }, "opened anew"},
		"one lost before":       {func(l []string) []string { return slices.Delete(l, 299, 300) }, ""},
		"one lost after":        {func(l []string) []string { return l[:len(l)-1] }, ""},
		"first of the new lost": {func(l []string) []string { return slices.Delete(l, oldRecords+1, oldRecords+2) }, ""},
		"read twice":            {func(l []string) []string { return append(l, l[len(l)-1]) }, ""},
		"old in the new":        {func(l []string) []string { return append(l, "record 0 10 old-7") }, ""},
		"new before its time":   {func(l []string) []string { return slices.Insert(l, oldRecords, "record 0 100 new-0") }, ""},
		"offsets go on":         {func(l []string) []string { l[oldRecords+1] = "record 0 100 new-0"; return l }, ""},
		"never recreated":       {func(l []string) []string { return l[:oldRecords] }, ""},
		"nonsense":              {func(l []string) []string { return append(l, "panic: oh") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			word, err := judgeRecreate(strings.NewReader(strings.Join(test.spoil(good()), "\n")))
			if err != nil {
				word = ""
			}
			if word != test.word {
				t.Errorf("%q instead of %q: %v", word, test.word, err)
			}
		})
	}
}

func TestGroupJudged(t *testing.T) {
	written := map[int32]int64{0: 4, 1: 2}
	good := []read{{"a", 0, 0}, {"a", 1, 0}, {"a", 0, 1}, {"b", 0, 2}, {"a", 1, 1}, {"b", 0, 3}}
	for name, test := range map[string]struct {
		spoil       func([]read) []read
		atLeastOnce bool
		good        bool
	}{
		"each once":             {slices.Clip[[]read], false, true},
		"one lost":              {func(r []read) []read { return slices.Delete(r, 2, 3) }, false, false},
		"the last lost":         {func(r []read) []read { return r[:5] }, false, false},
		"one lost, loosely":     {func(r []read) []read { return r[:5] }, true, false},
		"twice by two":          {func(r []read) []read { return append(r, read{"b", 1, 1}) }, false, false},
		"twice by two, loosely": {func(r []read) []read { return append(r, read{"b", 1, 1}) }, true, true},
		"twice by one":          {func(r []read) []read { return append(r, r[4]) }, false, false},
		"out of order":          {func(r []read) []read { r[3], r[5] = r[5], r[3]; return r }, false, false},
		"never written":         {func(r []read) []read { return append(r, read{"b", 1, 2}) }, false, false},
		"unknown partition":     {func(r []read) []read { return append(r, read{"b", 2, 0}) }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			again, err := judgeGroup(written, test.spoil(slices.Clone(good)), test.atLeastOnce)
			if (err == nil) != test.good {
				t.Error(again, err)
			}
			if test.good && test.atLeastOnce && again != 1 {
				t.Errorf("%d read again", again)
			}
		})
	}
}

// TestMain lets the test be the processes of a scenario.
func TestMain(m *testing.M) {
	if os.Getenv("JUDGE_MEMBER") != "" {
		fmt.Println(os.Getenv("JUDGE_MEMBER"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestScenarioNoticesProcesses(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ prints, expected string }{
		"a writer that ends":              {"written 0 0", "ended"},
		"a writer that babbles":           {"oh no", `printed "oh no"`},
		"a command that is not to be had": {"", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			command := []string{"env", "JUDGE_MEMBER=" + test.prints, self}
			if test.prints == "" {
				command = []string{"/nonexistent"}
			}
			_, err := runGroup(command, command, false)
			if err == nil || !strings.Contains(err.Error(), test.expected) {
				t.Errorf("%v instead of %q", err, test.expected)
			}
		})
	}
}

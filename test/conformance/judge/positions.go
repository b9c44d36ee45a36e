package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// What a client's verb "positions" is asked to do, in every partition; judgePositions expects no less.
const (
	seekTo     = 100 // then it reads
	pausedAt   = 150 // partition 0 is paused, all are sought here
	readOthers = 100 // records of the other partitions to read meanwhile
)

func committedIn(partition int32) int64 { return 50 * (int64(partition) + 1) }

// lookUpTimes are the times that a client looks up: the last is after every record.
func lookUpTimes(want []record) []int64 {
	n := len(want)
	var times []int64
	for _, i := range []int{0, 1, n / 3, n / 2, n - 3} {
		times = append(times, want[i].timestamp)
	}
	return append(times, want[n-1].timestamp+1_000_000)
}

// An answer is what a client printed of one question: its numbers after the word.
type answers map[string][][]int64

// readAnswers reads lines of a word and numbers; "- WORD" says that the client has no way to do it.
func readAnswers(in io.Reader) (answers, []string, error) {
	out, lacking := answers{}, []string(nil)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		if word == "-" {
			lacking = append(lacking, rest)
			continue
		}
		var numbers []int64
		for _, f := range strings.Fields(rest) {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return nil, nil, fmt.Errorf("line %q: %w", lines.Text(), err)
			}
			numbers = append(numbers, n)
		}
		out[word] = append(out[word], numbers)
	}
	return out, lacking, lines.Err()
}

// judgePositions compares what a client printed with what is in the topic, and returns the words of the table. What the
// client says it lacks has to be in without, and the other way round.
func judgePositions(want []record, in io.Reader, without []string) ([][2]string, error) {
	got, lacking, err := readAnswers(in)
	if err != nil {
		return nil, err
	}
	slices.Sort(lacking)
	slices.Sort(without)
	if !slices.Equal(lacking, without) {
		return nil, fmt.Errorf("the client has no way to do %q, and is said to have none to do %q", lacking, without)
	}
	partitions := byPartition(want)
	var table [][2]string
	for _, feature := range []struct {
		name, column string
		judge        func(answers, map[int32][]record, []int64) error
	}{
		{"seek", "seek", judgeSeek}, {"pause", "pause", judgePause}, {"time", "by timestamp", judgeTimes}, {"lag", "lag", judgeLag},
	} {
		if slices.Contains(lacking, feature.name) {
			table = append(table, [2]string{feature.column, "-"})
			continue
		}
		if err := feature.judge(got, partitions, lookUpTimes(want)); err != nil {
			return nil, fmt.Errorf("%s: %w", feature.name, err)
		}
		table = append(table, [2]string{feature.column, "yes"})
	}
	return table, nil
}

// judgeSeek wants the first record of each partition after a seek.
func judgeSeek(got answers, partitions map[int32][]record, _ []int64) error {
	var expected [][]int64
	for p := range int64(len(partitions)) {
		expected = append(expected, []int64{p, seekTo})
	}
	return sameLines(got["seek"], expected)
}

// judgePause wants no record of the paused partition, and that it went on where it was: at pausedAt, or at the end for a
// client that cannot be sent elsewhere while it is paused.
func judgePause(got answers, partitions map[int32][]record, _ []int64) error {
	if err := sameLines(got["paused"], [][]int64{{0, 0}}); err != nil {
		return fmt.Errorf("while paused: %w", err)
	}
	if sameLines(got["resumed"], [][]int64{{0, int64(len(partitions[0]))}}) == nil {
		return nil
	}
	if err := sameLines(got["resumed"], [][]int64{{0, pausedAt}}); err != nil {
		return fmt.Errorf("resumed: %w", err)
	}
	return nil
}

// judgeTimes wants the offset of the first record at or after each time; after the last, -1 or the end, as clients differ.
func judgeTimes(got answers, partitions map[int32][]record, times []int64) error {
	var expected [][]int64
	for _, at := range times {
		for p := range int32(len(partitions)) {
			i := slices.IndexFunc(partitions[p], func(r record) bool { return r.timestamp >= at })
			expected = append(expected, []int64{at, int64(p), int64(i)})
		}
	}
	for _, line := range got["time"] {
		if len(line) == 3 && line[0] == times[len(times)-1] && line[2] == int64(len(partitions[int32(line[1])])) {
			line[2] = -1
		}
	}
	return sameLines(got["time"], expected)
}

// judgeLag wants what the client committed, as it was told afterwards, and the end of each partition.
func judgeLag(got answers, partitions map[int32][]record, _ []int64) error {
	var expected [][]int64
	for p := range int32(len(partitions)) {
		end, committed := int64(len(partitions[p])), committedIn(p)
		expected = append(expected, []int64{int64(p), committed, end, end - committed})
	}
	return sameLines(got["lag"], expected)
}

func sameLines(got, expected [][]int64) error {
	slices.SortFunc(got, slices.Compare)
	slices.SortFunc(expected, slices.Compare)
	if !slices.EqualFunc(got, expected, slices.Equal[[]int64]) {
		return fmt.Errorf("%v instead of %v", got, expected)
	}
	return nil
}

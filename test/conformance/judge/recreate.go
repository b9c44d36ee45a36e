package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// What a client's verb "recreate" writes before the topic is deleted and after it is there again, spread over the partitions.
const (
	oldRecords = 300
	newRecords = 30
)

// judgeRecreate reads what a consumer printed while its topic was deleted and created again: "record P OFFSET VALUE" for
// each record, "recreated" once the new topic is there, "reopened" where the program had to open it anew to read on. It returns the word for the table.
func judgeRecreate(in io.Reader) (string, error) {
	word, prefix := "yes", "old"
	seen := map[string]bool{}
	next := map[int32]int64{}
	settle := func(n int) error {
		if len(seen) != n {
			return fmt.Errorf("%d %s records read of %d", len(seen), prefix, n)
		}
		clear(seen)
		clear(next)
		return nil
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		switch line := lines.Text(); line {
		case "recreated":
			if prefix == "new" {
				return "", fmt.Errorf("recreated twice")
			}
			if err := settle(oldRecords); err != nil {
				return "", err
			}
			prefix = "new"
		case "reopened":
			word = "opened anew"
		default:
			var p int32
			var offset int64
			var value string
			if _, err := fmt.Sscanf(line, "record %d %d %s", &p, &offset, &value); err != nil {
				return "", fmt.Errorf("line %q: %w", line, err)
			}
			switch {
			case !strings.HasPrefix(value, prefix+"-"):
				return "", fmt.Errorf("%q among the %s records", value, prefix)
			case seen[value]:
				return "", fmt.Errorf("%q read twice", value)
			case offset != next[p]:
				return "", fmt.Errorf("partition %d of the %s topic: offset %d instead of %d", p, prefix, offset, next[p])
			}
			seen[value] = true
			next[p]++
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	if prefix == "old" {
		return "", fmt.Errorf("the topic was not recreated")
	}
	return word, settle(newRecords)
}

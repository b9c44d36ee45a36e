package oracle

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// An entry is what came of one exchange: the lines of its answer, or the one word that says how it ended.
type entry struct {
	key   int16
	title string // unique among the entries of its API
	lines []line
}

func goldenName(key int16) string {
	return filepath.Join("testdata", fmt.Sprintf("%02d-%s.txt", key, kmsg.NameForKey(key)))
}

// writeGolden writes the entries as the answers to be had from now on.
func writeGolden(t *testing.T, entries []entry) {
	t.Helper()
	files := map[int16]*strings.Builder{}
	for _, e := range entries {
		b := files[e.key]
		if b == nil {
			b = &strings.Builder{}
			files[e.key] = b
		}
		fmt.Fprintf(b, "## %s\n", e.title)
		for _, l := range e.lines {
			b.WriteString(l.String() + "\n")
		}
		b.WriteByte('\n')
	}
	for key, b := range files {
		if err := os.WriteFile(goldenName(key), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// readGolden returns the recorded entries of one API by title.
func readGolden(t *testing.T, key int16) map[string][]line {
	t.Helper()
	raw, err := os.ReadFile(goldenName(key))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]line{}
	title := ""
	for text := range strings.Lines(string(raw)) {
		text = strings.TrimSuffix(text, "\n")
		switch {
		case text == "":
		case strings.HasPrefix(text, "## "):
			title = text[3:]
			all[title] = nil
		default:
			all[title] = append(all[title], parseLine(text))
		}
	}
	return all
}

func parseLine(text string) line {
	parts := strings.Split(text, "\t")
	l := line{path: parts[0]}
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(p, "=")
		l.fields = append(l.fields, field{name, value})
	}
	return l
}

// A difference is one field, or one whole struct (an empty field), in which an answer is not Kafka's.
type difference struct {
	key           int16
	title         string
	path, field   string
	theirs, ours  string // "(none)" where that side lacks it
	explainedByAt int    // index into the table, or -1
}

func (d difference) String() string {
	at := d.path
	if d.field != "" {
		at += "." + d.field
	}
	return fmt.Sprintf("%s %s: %s: Kafka %s, here %s", kmsg.NameForKey(d.key), d.title, at, d.theirs, d.ours)
}

const none = "(none)"

// compare lists the differences of one entry from Kafka's answer.
func compare(e entry, theirs []line) []difference {
	var out []difference
	add := func(path, field, theirs, ours string) {
		out = append(out, difference{key: e.key, title: e.title, path: path, field: field, theirs: theirs, ours: ours, explainedByAt: -1})
	}
	ours := map[string]line{}
	for _, l := range e.lines {
		ours[l.path] = l
	}
	seen := map[string]bool{}
	for _, l := range theirs {
		seen[l.path] = true
		o, ok := ours[l.path]
		if !ok {
			add(l.path, "", l.String(), none)
			continue
		}
		names := fieldNames(l, o)
		for _, name := range names {
			if a, b := fieldOf(l, name), fieldOf(o, name); a != b {
				add(l.path, name, a, b)
			}
		}
	}
	for _, l := range e.lines {
		if !seen[l.path] {
			add(l.path, "", none, l.String())
		}
	}
	return out
}

func fieldNames(ls ...line) []string {
	var names []string
	for _, l := range ls {
		for _, f := range l.fields {
			if !slices.Contains(names, f.name) {
				names = append(names, f.name)
			}
		}
	}
	return names
}

func fieldOf(l line, name string) string {
	for _, f := range l.fields {
		if f.name == name {
			return f.value
		}
	}
	return none
}

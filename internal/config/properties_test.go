package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestReadProperties(t *testing.T) {
	for _, c := range []struct {
		rule, text string
		want       []Entry
	}{
		{"nothing", "", nil},
		{"comments and blank lines", "# a\n! b\n\n   \n\t# c\n", nil},
		{"equals, colon or blank between name and value", "a=1\nb:2\nc 3\nd = 4\ne\t:\t5\n", []Entry{{"a", "1", "f:1"}, {"b", "2", "f:2"}, {"c", "3", "f:3"}, {"d", "4", "f:4"}, {"e", "5", "f:5"}}},
		{"only one sign is taken", "a==1\nb=:2\nc = = 3\n", []Entry{{"a", "=1", "f:1"}, {"b", ":2", "f:2"}, {"c", "= 3", "f:3"}}},
		{"no value", "a\nb=\n", []Entry{{"a", "", "f:1"}, {"b", "", "f:2"}}},
		{"blanks at the end of a value stay", "a=1 \n", []Entry{{"a", "1 ", "f:1"}}},
		{"line ends of all systems", "a=1\r\nb=2\rc=3", []Entry{{"a", "1", "f:1"}, {"b", "2", "f:2"}, {"c", "3", "f:3"}}},
		{"a continued line", "a=1,\\\n   2,\\\n\t3\nb=4", []Entry{{"a", "1,2,3", "f:1"}, {"b", "4", "f:4"}}},
		{"a comment is not continued", "# a \\\nb=1", []Entry{{"b", "1", "f:2"}}},
		{"a continued line may look like a comment", "a=1\\\n#2", []Entry{{"a", "1#2", "f:1"}}},
		{"two backslashes are one and continue nothing", "a=1\\\\\nb=2", []Entry{{"a", `1\`, "f:1"}, {"b", "2", "f:2"}}},
		{"a backslash at the very end", "a=1\\", []Entry{{"a", "1", "f:1"}}},
		{"escapes", `a\ b\=c\:d=\t\n\r\f\\\q`, []Entry{{"a b=c:d", "\t\n\r\f\\q", "f:1"}}},
		{"unicode escapes", `a=\u00e4\ud83d\ude00`, []Entry{{"a", "ä😀", "f:1"}}},
		{"UTF-8", "a=ä", []Entry{{"a", "ä", "f:1"}}},
		{"a byte order mark", "\uFEFFa=1\n", []Entry{{"a", "1", "f:1"}}},
		{"a name twice stays twice", "a=1\na=2", []Entry{{"a", "1", "f:1"}, {"a", "2", "f:2"}}},
	} {
		got, err := ReadProperties("f", []byte(c.text))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.rule, got, err, c.want)
		}
	}
}

func TestReadPropertiesRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a=1\nb=\\u12x4", `f:2: four hexadecimal digits must follow \u`},
		{"a=\\u1", `f:1: four hexadecimal digits must follow \u`},
		{"a=\\ud83d\\u12", `f:1: four hexadecimal digits must follow \u`},
		{"=1", "f:1: there is no name before the value; write NAME=VALUE"},
	} {
		if got, err := ReadProperties("f", []byte(c.text)); err == nil || err.Error() != c.want {
			t.Errorf("%q: %v, %v; want %s", c.text, got, err, c.want)
		}
	}
}

// escapeProperty writes text so that reading gives it back.
func escapeProperty(text string) string {
	var out strings.Builder
	for _, r := range text {
		switch r {
		case '\n':
			out.WriteString(`\n`)
		case '\r':
			out.WriteString(`\r`)
		case '\\', '=', ':', '#', '!', ' ', '\t', '\f', '\uFEFF':
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// FuzzProperties: no input panics; entries stand in the order of their lines, which
// exist; what was read and is written again, escaped, reads the same.
func FuzzProperties(f *testing.F) {
	for _, seed := range []string{"a=1\nb : 2\n", "a\\\n=\\\n\\\\", "#x\n!y\r\n\\ =\\u0041", "a=\\ud83d\\ude00\\ud83d", " \\\n\\\n", "listeners=PLAINTEXT://:9092,\\\n CONTROLLER://:9093"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		entries, err := ReadProperties("f", content)
		if err != nil {
			return
		}
		lines, last := 1+strings.Count(string(content), "\n")+strings.Count(string(content), "\r"), 0
		var written strings.Builder
		for _, e := range entries {
			var line int
			if _, err := fmt.Sscanf(e.Where, "f:%d", &line); err != nil || line <= last || line > lines {
				t.Fatalf("entry %q stands at %s after line %d of %d", e.Name, e.Where, last, lines)
			}
			last = line
			if !utf8.ValidString(e.Name) || !utf8.ValidString(e.Value) {
				return // runes cannot carry it
			}
			fmt.Fprintf(&written, "%s=%s\n", escapeProperty(e.Name), escapeProperty(e.Value))
		}
		again, err := ReadProperties("f", []byte(written.String()))
		if err != nil || len(again) != len(entries) {
			t.Fatalf("%d entries became %d, %v\n%s", len(entries), len(again), err, written.String())
		}
		for i := range entries {
			if again[i].Name != entries[i].Name || again[i].Value != entries[i].Value {
				t.Fatalf("entry %d: %q became %q", i, entries[i], again[i])
			}
		}
		New(entries) // must not panic
	})
}

func TestReadYAML(t *testing.T) {
	for _, c := range []struct {
		rule, text string
		want       []Entry
	}{
		{"nothing", "", nil},
		{"only a comment", "# a\n", nil},
		{"dotted names", "log.dirs: /a\nnode.id: 1\n", []Entry{{"log.dirs", "/a", "f.yaml:1"}, {"node.id", "1", "f.yaml:2"}}},
		{"nested names", "log:\n  dirs: /a\n  retention:\n    ms: 5\n  retention.bytes: 6\n", []Entry{{"log.dirs", "/a", "f.yaml:2"}, {"log.retention.ms", "5", "f.yaml:4"}, {"log.retention.bytes", "6", "f.yaml:5"}}},
		{"lists", "log.dirs: [/a, /b]\nlisteners:\n  - A://:1\n  - B://:2\n", []Entry{{"log.dirs", "/a,/b", "f.yaml:1"}, {"listeners", "A://:1,B://:2", "f.yaml:2"}}},
		{"values stay as they are written", "a: 010\nb: yes\nc: \"\"\nd: 1_000\ne: 1e3\n", []Entry{{"a", "010", "f.yaml:1"}, {"b", "yes", "f.yaml:2"}, {"c", "", "f.yaml:3"}, {"d", "1_000", "f.yaml:4"}, {"e", "1e3", "f.yaml:5"}}},
	} {
		got, err := ReadFile("f.yaml", []byte(c.text))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.rule, got, err, c.want)
		}
	}
}

func TestReadYAMLRefuses(t *testing.T) {
	for _, c := range []struct{ rule, text, want string }{
		{"a list", "- a\n", "f.yml:1: settings are expected, each as NAME: VALUE"},
		{"a name twice", "a.b: 1\na:\n  b: 2\n", "f.yml:3: a.b is already given in line 1; delete one of the two"},
		{"no value", "a:\n", `f.yml:1: a: there is no value; write "" for an empty one, or delete the line`},
		{"an alias", "a: &x 1\nb: *x\n", "f.yml:2: b: aliases are not allowed here; write the value out"},
		{"a merge", "a: &x {b: 1}\n<<: *x\n", "f.yml:2: a name is expected before the colon"},
		{"a list of lists", "a: [[1]]\n", "f.yml:1: a: the elements of a list must be plain values"},
		{"two documents", "a: 1\n---\nb: 2\n", "f.yml: one document of settings is expected, and something follows it"},
		{"no YAML", "a: [\n", "f.yml: yaml: "},
	} {
		got, err := ReadFile("f.yml", []byte(c.text))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %s", c.rule, got, err, c.want)
		}
	}
}

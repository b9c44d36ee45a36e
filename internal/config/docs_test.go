package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

//go:generate go test -run TestDocs -rewrite

var rewrite = flag.Bool("rewrite", false, "write docs/configuration.md anew")

// TestDocs: docs/configuration.md is what the table says.
func TestDocs(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "configuration.md")
	want := docs()
	if *rewrite {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("docs/configuration.md is not what the table says (%v); run go generate ./internal/config", err)
	}
}

const docsHead = `# Configuration

<!-- Generated from internal/config by go generate; do not edit. -->

A broker reads one file, in the form of Kafka's ` + "`server.properties`" + ` or as YAML (names with dots, nested, or both), then
environment variables, ` + "`MOLDAU_LOG_DIRS`" + ` for ` + "`log.dirs`" + `, then flags, ` + "`--override log.dirs=/data`" + `. A later source wins over
an earlier one. In a file of properties the text is UTF-8.

A name of Apache Kafka 4.3 that is not below is accepted and does nothing yet; the broker lists such names when it starts.
A name that nobody knows stops the start. So does one that would promise what is not built: a security protocol other than
PLAINTEXT, an authorizer, a policy, tiered storage.

What counts for a topic is the first of: the topic's own config, the config of its broker and then of all brokers that
were set while running, the broker's file, the default.
`

func docs() []byte {
	var out bytes.Buffer
	out.WriteString(docsHead)
	out.WriteString("\n## Topics\n\nSet at creation or with IncrementalAlterConfigs.\n\n| name | type | default | valid | broker's name | what it does |\n|---|---|---|---|---|---|\n")
	for i := range topicSettings {
		if s := &topicSettings[i]; !s.Internal {
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s | %s |\n", s.Name, typeText(s), defaultText(s), s.Valid.text, codeList(s.Synonyms), docText(s))
		}
	}
	out.WriteString("\n## Groups\n\nOf the consumer protocol; set with IncrementalAlterConfigs, whether or not the group is there, within the bounds of the broker's" +
		" `group.consumer.min.*` and `group.consumer.max.*`.\n\n| name | type | default | valid | broker's name | what it does |\n|---|---|---|---|---|---|\n")
	for i := range groupSettings {
		s := &groupSettings[i]
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s | %s |\n", s.Name, typeText(s), defaultText(s), s.Valid.text, codeList(s.Synonyms), docText(s))
	}
	out.WriteString("\n## Brokers\n\n*Changes*: at a start only, for one broker while it runs (broker), or for all of them too (cluster).\n\n" +
		"| name | type | default | valid | changes | what it does |\n|---|---|---|---|---|---|\n")
	for i := range brokerSettings {
		s := &brokerSettings[i]
		if s.Internal {
			continue
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s | %s |\n", s.Name, typeText(s), defaultText(s), s.Valid.text, modeText(s), docText(s))
	}
	return out.Bytes()
}

func typeText(s *Setting) string {
	if s.Unit == "" {
		return s.Type.String()
	}
	return s.Type.String() + ", " + s.Unit
}

func defaultText(s *Setting) string {
	switch {
	case s.NoValue:
		return "none"
	case s.Default == forever:
		return "never (2^63-1)"
	case s.Default == "":
		return "empty"
	}
	return "`" + strings.ReplaceAll(s.Default, ",", ", ") + "`"
}

func codeList(names []string) string {
	var quoted []string
	for _, name := range names {
		quoted = append(quoted, "`"+name+"`")
	}
	return strings.Join(quoted, ", ")
}

func modeText(s *Setting) string {
	switch {
	case s.Mode == ReadOnly || s.Fixed:
		return "start"
	case s.Mode == PerBroker:
		return "broker"
	}
	return "cluster"
}

func docText(s *Setting) string {
	text := s.Doc
	if s.NoEffect {
		text += " *Without effect yet.*"
	}
	if s.Ours {
		text += " *Not in Apache Kafka.*"
	}
	return text
}

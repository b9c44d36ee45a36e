package handler

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

//go:generate go test -run TestCompatibilityPage -rewrite

var rewrite = flag.Bool("rewrite", false, "write the generated part of docs/compatibility.md anew")

// byHand ends the generated part of the page.
const byHand = "<!-- Written by hand from here on. -->\n"

// TestCompatibilityPage: docs/compatibility.md is what the registry says and what the
// suite that compares us with Apache Kafka allows.
func TestCompatibilityPage(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "compatibility.md")
	got, err := os.ReadFile(path)
	if err != nil && !*rewrite {
		t.Fatal(err)
	}
	_, kept, found := bytes.Cut(got, []byte(byHand))
	if !found && !*rewrite {
		t.Fatalf("docs/compatibility.md lacks the line %q", byHand)
	}
	want := slices.Concat(compatibilityPage(t), []byte(byHand), kept)
	if *rewrite {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, want) {
		t.Fatal("docs/compatibility.md is not what the registry and test/oracle say; run go generate ./internal/handler")
	}
}

func compatibilityPage(t *testing.T) []byte {
	var b bytes.Buffer
	b.WriteString("# Compatibility with Apache Kafka\n\n" +
		"<!-- Generated from the registry of internal/handler and from test/oracle by go generate; do not edit. -->\n\n" +
		"These APIs are served, in every version that Apache Kafka 4.3 serves of them. A request of another API or version\n" +
		"closes its connection, as it does there.\n\n" +
		"| API | key | versions | remarks |\n| --- | --- | --- | --- |\n")
	pairs := 0
	for _, a := range APIs() {
		fmt.Fprintf(&b, "| %s | %d | %d-%d | %s |\n", apiName(int16(a.Key)), int16(a.Key), a.Min, a.Max, a.Remark)
		pairs += int(a.Max-a.Min) + 1
	}
	fmt.Fprintf(&b, "\n%d APIs, %d pairs of API and version.\n\n", len(APIs()), pairs)
	b.WriteString("## Answers that differ\n\n" +
		"`make oracle` sends every version of every API to Moldau and to Apache Kafka 4.3.1 and compares the answers. These\n" +
		"differences are allowed, and no others; the list is that of `test/oracle`. An ADR is a page of [adr](adr/README.md).\n\n" +
		"| reason | APIs |\n| --- | --- |\n")
	for _, d := range oracleDifferences(t) {
		fmt.Fprintf(&b, "| %s | %s |\n", linkADR(t, d.reason), strings.Join(d.apis, ", "))
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// apiName is Kafka's name of an API, which is not always kmsg's.
func apiName(key int16) string {
	return strings.NewReplacer("ProducerID", "ProducerId", "ACLs", "Acls", "AlterPartitionAssignments", "AlterPartitionReassignments").Replace(kmsg.NameForKey(key))
}

type oracleDifference struct {
	reason string
	apis   []string
}

// oracleDifferences reads the list of test/oracle, one entry a reason.
func oracleDifferences(t *testing.T) []oracleDifference {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", "test", "oracle", "differences_test.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []oracleDifference
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "differences" {
			return true
		}
		for _, row := range spec.Values[0].(*ast.CompositeLit).Elts {
			fields := row.(*ast.CompositeLit).Elts
			key, err := strconv.Atoi(fields[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			reason, err := strconv.Unquote(fields[3].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(all, func(d oracleDifference) bool { return d.reason == reason })
			if i < 0 {
				i, all = len(all), append(all, oracleDifference{reason: reason})
			}
			if name := apiName(int16(key)); !slices.Contains(all[i].apis, name) {
				all[i].apis = append(all[i].apis, name)
			}
		}
		return false
	})
	return all
}

var adr = regexp.MustCompile(`^ADR (\d{4})`)

// linkADR makes a link of the ADR that a reason begins with, which has to exist.
func linkADR(t *testing.T, reason string) string {
	m := adr.FindStringSubmatch(reason)
	if m == nil {
		return reason
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "docs", "adr", m[1]+"-*.md"))
	if err != nil || len(files) != 1 {
		t.Errorf("%q: %d pages have that number", reason, len(files))
		return reason
	}
	return fmt.Sprintf("[%s](adr/%s)%s", m[0], filepath.Base(files[0]), reason[len(m[0]):])
}

package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/moldau/moldau/"

// layers gives each package its floor. An import must go to a lower floor, or be one of within.
var layers = map[string]int{
	"cmd/moldau":                   10,
	"internal/cli":                 9,
	"internal/broker":              8,
	"internal/server":              6,
	"internal/handler":             6,
	"internal/config":              5,
	"internal/coordinator/runtime": 4,
	"internal/coordinator/group":   4,
	"internal/replica":             3,
	"internal/partition":           3,
	"internal/controller":          2,
	"internal/quorum":              2,
	"internal/metadata":            2,
	"internal/log":                 1,
	"internal/record":              0,
	"internal/wire":                0,
	"internal/peer":                0,
	"internal/vfs":                 0,
	"internal/invariant":           0,
	"internal/deferred":            0,
	"internal/ids":                 0,
	"internal/arch":                0,
}

// within lists the imports that stay on one floor.
var within = map[[2]string]bool{
	{"internal/handler", "internal/server"}:                        true,
	{"internal/coordinator/group", "internal/coordinator/runtime"}: true,
	{"internal/replica", "internal/partition"}:                     true,
	{"internal/controller", "internal/metadata"}:                   true,
	{"internal/controller", "internal/quorum"}:                     true,
	{"internal/record", "internal/ids"}:                            true,
	{"internal/record", "internal/invariant"}:                      true,
	{"internal/wire", "internal/ids"}:                              true,
	{"internal/peer", "internal/ids"}:                              true,
	{"internal/peer", "internal/wire"}:                             true,
	{"internal/deferred", "internal/ids"}:                          true,
}

const (
	fileLines     = 1000
	testFileLines = 1500
	funcLines     = 70
	// longShare is how many of all functions may be over funcLines, with a stated reason.
	longShare = 0.03
)

type source struct {
	dir  string // slash path below the root of the module
	path string
	file *ast.File
	fset *token.FileSet
	text string
}

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" || nestedModule(path)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		all = append(all, source{filepath.ToSlash(filepath.Dir(rel)), filepath.ToSlash(rel), f, fset, string(text)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func nestedModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil && dir != filepath.Join("..", "..")
}

func TestImportsGoDown(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		from, known := layers[s.dir]
		for _, im := range s.file.Imports {
			path, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if path == "log" && strings.HasPrefix(s.dir, "internal/") {
				t.Errorf("%s imports the standard log: use log/slog", s.path)
			}
			to, ours := strings.CutPrefix(path, module)
			if !ours || !known {
				continue
			}
			floor, ok := layers[to]
			if !ok {
				t.Errorf("%s imports %s, which has no floor in the table", s.path, to)
			} else if floor >= from && !within[[2]string{s.dir, to}] {
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go down only", s.path, from, to, floor)
			}
		}
	}
}

func TestEveryPackageHasAFloorAndADoc(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		documented[s.dir] = documented[s.dir] || s.file.Doc != nil
		if _, ok := layers[s.dir]; !ok && strings.HasPrefix(s.dir, "internal/") {
			t.Errorf("%s: give %s a floor in the table", s.path, s.dir)
		}
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

func TestFileLengths(t *testing.T) {
	for _, s := range sources(t) {
		limit := fileLines
		if s.isTest() {
			limit = testFileLines
		}
		if n := strings.Count(s.text, "\n"); n > limit {
			t.Errorf("%s has %d lines, more than %d: one file, one subject", s.path, n, limit)
		}
	}
}

func TestFunctionLengths(t *testing.T) {
	total, long := 0, 0
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		for _, d := range s.file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			total++
			n := s.fset.Position(fn.End()).Line - s.fset.Position(fn.Pos()).Line + 1
			if n <= funcLines {
				continue
			}
			long++
			if fn.Doc == nil || !strings.Contains(docText(fn.Doc), "//arch:long ") {
				t.Errorf("%s: %s has %d lines, more than %d, and no //arch:long with a reason", s.path, fn.Name.Name, n, funcLines)
			}
		}
	}
	if share := float64(long) / float64(max(total, 1)); share > longShare {
		t.Errorf("%d of %d functions are over %d lines (%s), more than %s", long, total, funcLines, percent(share), percent(longShare))
	}
}

// docText keeps directives, which ast.CommentGroup.Text drops.
func docText(g *ast.CommentGroup) string {
	var b strings.Builder
	for _, c := range g.List {
		b.WriteString(c.Text)
		b.WriteByte('\n')
	}
	return b.String()
}

func percent(f float64) string { return fmt.Sprintf("%.1f %%", 100*f) }

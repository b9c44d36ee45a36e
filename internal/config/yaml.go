package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ReadYAML reads settings from YAML. Names are written with dots, nested, or both; a list
// is a YAML list or its elements separated by commas. Anything else, a name given twice,
// an alias, a second document or a value that is missing is an error.
func ReadYAML(file string, content []byte) ([]Entry, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: one document of settings is expected, and something follows it", file)
	}
	w := yamlWalker{file: file, seen: make(map[string]int)}
	if root := doc.Content[0]; root.Kind == yaml.MappingNode {
		w.mapping("", root)
	} else if root.Tag != "!!null" {
		w.refuse(root, "settings are expected, each as NAME: VALUE")
	}
	return w.entries, errors.Join(w.errs...)
}

// yamlWalker turns a tree into entries with dotted names.
type yamlWalker struct {
	file    string
	seen    map[string]int // line of each name
	entries []Entry
	errs    []error
}

func (w *yamlWalker) refuse(n *yaml.Node, format string, args ...any) {
	w.errs = append(w.errs, fmt.Errorf("%s:%d: %s", w.file, n.Line, fmt.Sprintf(format, args...)))
}

func (w *yamlWalker) mapping(prefix string, n *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, child := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Value == "" || key.Tag == "!!merge" {
			w.refuse(key, "a name is expected before the colon")
			continue
		}
		name := prefix + key.Value
		if child.Kind == yaml.MappingNode {
			w.mapping(name+".", child)
			continue
		}
		value, problem := yamlValue(child)
		if problem != "" {
			w.refuse(key, "%s: %s", name, problem)
			continue
		}
		if line, twice := w.seen[name]; twice {
			w.refuse(key, "%s is already given in line %d; delete one of the two", name, line)
			continue
		}
		w.seen[name] = key.Line
		w.entries = append(w.entries, Entry{Name: name, Value: value, Where: fmt.Sprintf("%s:%d", w.file, key.Line)})
	}
}

func yamlValue(n *yaml.Node) (value, problem string) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return "", `there is no value; write "" for an empty one, or delete the line`
	case n.Kind == yaml.ScalarNode:
		return n.Value, ""
	case n.Kind == yaml.AliasNode:
		return "", "aliases are not allowed here; write the value out"
	}
	var list []string
	for _, e := range n.Content {
		if e.Kind != yaml.ScalarNode || e.Tag == "!!null" {
			return "", "the elements of a list must be plain values"
		}
		list = append(list, e.Value)
	}
	return strings.Join(list, ","), ""
}

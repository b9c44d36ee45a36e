package cli

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestPrefixed: whole lines, whatever the writes, and none without end.
func TestPrefixed(t *testing.T) {
	var out bytes.Buffer
	p := &prefixed{mu: new(sync.Mutex), w: &out, prefix: "node 1 | "}
	for _, part := range []string{"a", "b\nc", "\n\n", "d"} {
		if n, err := fmt.Fprint(p, part); n != len(part) || err != nil {
			t.Errorf("%q: %d, %v", part, n, err)
		}
	}
	if want := "node 1 | ab\nnode 1 | c\nnode 1 | \n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	p.flush()
	p.flush()
	if want := "node 1 | d\n"; !strings.HasSuffix(out.String(), "\n"+want) || strings.Count(out.String(), want) != 1 {
		t.Errorf("%q at the end", out.String())
	}
	out.Reset()
	for range 3 {
		fmt.Fprint(p, strings.Repeat("x", lineMax))
	}
	if len(p.line) > lineMax || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%d bytes are kept, %d lines are written", len(p.line), strings.Count(out.String(), "\n"))
	}
}

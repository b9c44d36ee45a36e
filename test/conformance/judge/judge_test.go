package main

import (
	"bufio"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCompareFindsWhatWentWrong(t *testing.T) {
	want := makeRecords(300, 3, false, true)
	for name, spoil := range map[string]func([]record) []record{
		"lost":            func(r []record) []record { return slices.Delete(r, 100, 101) },
		"lost at the end": func(r []record) []record { return r[:len(r)-1] },
		"doubled":         func(r []record) []record { return slices.Insert(r, 100, r[100]) },
		"reordered":       func(r []record) []record { r[3], r[6] = r[6], r[3]; r[3].partition, r[6].partition = 0, 0; return r },
		"another value":   func(r []record) []record { r[9].value = append([]byte("x"), r[9].value...); return r },
		"null for empty":  func(r []record) []record { r[19].value = nil; return r },
		"empty for null":  func(r []record) []record { r[7].value = []byte{}; return r },
		"another time":    func(r []record) []record { r[5].timestamp++; return r },
		"a header less":   func(r []record) []record { r[1].headers = nil; return r },
		"a null header": func(r []record) []record {
			r[3].headers = slices.Clone(r[3].headers)
			r[3].headers[3].value = []byte{}
			return r
		},
		"partition": func(r []record) []record { r[299].partition = 7; return r },
	} {
		t.Run(name, func(t *testing.T) {
			if err := compare(want, spoil(slices.Clone(want)), false, false); err == nil {
				t.Error("not noticed")
			}
		})
	}
	if err := compare(want, slices.Clone(want), false, false); err != nil {
		t.Error(err)
	}
}

func TestCompareAtLeastOnce(t *testing.T) {
	want := makeRecords(300, 3, false, true)
	for name, c := range map[string]struct {
		spoil func([]record) []record
		well  bool
	}{
		"as written":       {func(r []record) []record { return r }, true},
		"doubled":          {func(r []record) []record { return append(r, r[100:110]...) }, true},
		"reordered":        {func(r []record) []record { slices.Reverse(r); return r }, true},
		"lost":             {func(r []record) []record { return slices.Delete(r, 100, 101) }, false},
		"another value":    {func(r []record) []record { r[9].value = append([]byte("x"), r[9].value...); return r }, false},
		"one more":         {func(r []record) []record { return append(r, record{partition: 1, value: []byte("x")}) }, false},
		"partition":        {func(r []record) []record { r = append(r, r[0]); r[300].partition = 1; return r }, false},
		"doubled for lost": {func(r []record) []record { r[100] = r[97]; return r }, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := compareAtLeastOnce(want, c.spoil(slices.Clone(want)), false, false); (err == nil) != c.well {
				t.Error(err)
			}
		})
	}
}

func TestEmptyMayBeNull(t *testing.T) {
	want, got := makeRecords(300, 3, false, true), makeRecords(300, 3, false, true)
	forgetEmpty(got)
	if compare(want, got, false, false) == nil {
		t.Error("not noticed")
	}
	forgetEmpty(want)
	if err := compare(want, got, false, false); err != nil {
		t.Error(err)
	}
}

func TestFileKeepsRecords(t *testing.T) {
	want := makeRecords(200, 3, false, true)
	name := filepath.Join(t.TempDir(), "records")
	if err := writeFile(name, want); err != nil {
		t.Fatal(err)
	}
	got, err := readFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := compare(want, got, false, false); err != nil {
		t.Error(err)
	}
}

func TestKcatOutputIsRead(t *testing.T) {
	want := makeRecords(200, 3, false, true)
	var b strings.Builder
	for _, r := range want {
		size := func(v []byte) int {
			if v == nil {
				return -1
			}
			return len(v)
		}
		fmt.Fprintf(&b, "%d %d %d %d\n%s%s%s\n", r.partition, r.timestamp, size(r.key), size(r.value), r.key, r.value, headerText(r.headers))
	}
	got, err := readKcat(bufio.NewReader(strings.NewReader(b.String())))
	if err != nil {
		t.Fatal(err)
	}
	if err := compare(want, got, false, true); err != nil {
		t.Error(err)
	}
}

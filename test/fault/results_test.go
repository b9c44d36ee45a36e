//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResultsAreReadBack(t *testing.T) {
	name := filepath.Join(t.TempDir(), "schedules.tsv")
	well := result{key: resultKey{"abc", 1}, plan: draw(1, kinds)}
	failed := result{key: resultKey{"abc", 2}, plan: draw(2, kinds), err: errors.New("2 promises broken\n  lost:\tone"), left: "there"}
	other := result{key: resultKey{"def", 1}, plan: draw(1, kinds)}
	for _, r := range []result{well, failed, other} {
		if err := r.append(name); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readResults(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || !got[well.key].ok() || got[failed.key].ok() || got[failed.key].String() != failed.String() {
		t.Errorf("%v", got)
	}
	if _, again := got[resultKey{"abc", 3}]; again || got[other.key].String() == "" {
		t.Error("a schedule that was not run has a result")
	}
	if status := summary(got, "abc", 1, 1); status != 0 {
		t.Error("seed 1 went well")
	}
	if status := summary(got, "abc", 1, 2); status != 1 {
		t.Error("seed 2 failed")
	}
	if err := os.WriteFile(name, []byte("nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readResults(name); err == nil {
		t.Error("nonsense was read")
	}
	if all, err := readResults(name + ".none"); err != nil || len(all) != 0 {
		t.Errorf("%v %v where there is no file", all, err)
	}
}

func TestPropertiesOfNodesElsewhere(t *testing.T) {
	const port = 19392
	text := "controller.quorum.voters=1@127.0.0.1:19443,2@127.0.0.1:19444,3@127.0.0.1:19445\n" +
		"listeners=PLAINTEXT://127.0.0.1:19393,CONTROLLER://127.0.0.1:19444\nadvertised.listeners=PLAINTEXT://127.0.0.1:19393\n"
	want := "controller.quorum.voters=1@10.77.0.1:19443,2@10.77.0.2:19444,3@10.77.0.3:19445\n" +
		"listeners=PLAINTEXT://10.77.0.2:19393,CONTROLLER://10.77.0.2:19444\nadvertised.listeners=PLAINTEXT://10.77.0.2:19393\n"
	if got := elsewhere(text, port); got != want || strings.Contains(got, "127.") {
		t.Errorf("%s", got)
	}
}

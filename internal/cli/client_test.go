package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

// TestFirst: one that stands still is not waited for, what fails counts only where all do, and what comes late is dropped.
func TestFirst(t *testing.T) {
	ask := func(ctx context.Context, who string) (string, error) {
		switch who {
		case "still":
			<-ctx.Done()
			return "", ctx.Err()
		case "late":
			<-ctx.Done()
			return who, nil
		case "good":
			return who, nil
		}
		return "", errors.New(who)
	}
	synctest.Test(t, func(t *testing.T) {
		var dropped []string
		got, err := first(t.Context(), []string{"bad", "still", "late", "good"}, ask, func(late string) { dropped = append(dropped, late) })
		if got != "good" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		synctest.Wait()
		if len(dropped) != 1 || dropped[0] != "late" {
			t.Errorf("dropped %q", dropped)
		}
		_, err = first(t.Context(), []string{"bad", "worse"}, ask, nil)
		if err == nil || !strings.Contains(err.Error(), "bad") || !strings.Contains(err.Error(), "worse") {
			t.Errorf("%v", err)
		}
	})
}

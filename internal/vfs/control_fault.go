//go:build fault

package vfs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// controlEvery is how often a control file is read.
const controlEvery = 10 * time.Millisecond

// In a build with this tag the file that FAULT_DISK names says what the disk does; where it is not set the disk is as it is.
func init() {
	name := os.Getenv("FAULT_DISK")
	if name == "" {
		return
	}
	c := &control{fault: NewFault(OS)}
	OS = c.fault
	c.fault.SetHook(c.delay)
	go c.follow(name)
}

// control makes the rules of a file those of a Fault. Each line of the file is
//
//	OPS PATH WHAT
//
// OPS are names of operations with commas between them. PATH is a pattern as Rule has it, * for every name. WHAT is EIO, ENOSPC, or how
// long the operation takes in addition: 150ms. Only operations that change the disk take longer.
type control struct {
	fault *Fault
	text  string // that is in force
	rules []*Injected

	mu struct {
		sync.Mutex
		slow []slowRule
	}
}

// slowRule has what a rule matches take longer.
type slowRule struct {
	Rule
	by time.Duration
}

func (c *control) delay(e Event) {
	c.mu.Lock()
	longest := time.Duration(0)
	for _, s := range c.mu.slow {
		if s.matches(e.Op, e.Name) {
			longest = max(longest, s.by)
		}
	}
	c.mu.Unlock()
	time.Sleep(longest)
}

func (c *control) follow(name string) {
	for range time.Tick(controlEvery) {
		b, err := os.ReadFile(name)
		if err == nil && string(b) != c.text {
			err = c.obey(string(b))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			fmt.Fprintf(os.Stderr, "FAULT_DISK: %v\n", err)
			return
		}
	}
}

// obey puts the rules of a text in force, in the place of those before.
func (c *control) obey(text string) error {
	fails, slow, err := parseControl(text)
	if err != nil {
		return err
	}
	for _, r := range c.rules {
		r.Remove()
	}
	c.rules = nil
	for _, r := range fails {
		c.rules = append(c.rules, c.fault.Inject(r))
	}
	c.mu.Lock()
	c.mu.slow = slow
	c.mu.Unlock()
	c.text = text
	return nil
}

func parseControl(text string) (fails []Rule, slow []slowRule, err error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, nil, fmt.Errorf("%q is not OPS PATH WHAT", line)
		}
		rule := Rule{}
		for op := range strings.SplitSeq(fields[0], ",") {
			rule.Ops = append(rule.Ops, Op(op))
		}
		if fields[1] != "*" {
			rule.Path = fields[1]
		}
		switch fields[2] {
		case "EIO":
			rule.Err = syscall.EIO
		case "ENOSPC":
			rule.Err = syscall.ENOSPC
		default:
			by, err := time.ParseDuration(fields[2])
			if err != nil {
				return nil, nil, fmt.Errorf("%q: %w", line, err)
			}
			slow = append(slow, slowRule{rule, by})
			continue
		}
		fails = append(fails, rule)
	}
	return fails, slow, nil
}

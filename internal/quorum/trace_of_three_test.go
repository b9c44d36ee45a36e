package quorum

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// silentTrio is three members whose messages are delivered one by one.
type silentTrio struct {
	t       *testing.T
	members [3]*Member
	traces  [3]*trace
	waiting []Message
}

func newSilentTrio(t *testing.T) *silentTrio {
	s := &silentTrio{t: t}
	for i := range s.members {
		tr := new(trace)
		s.traces[i] = tr
		fault := vfs.NewFault(newDisk(t))
		fault.SetHook(func(e vfs.Event) {
			if !besideThePoint(e) {
				tr.add("%s %s", e.Op, strings.TrimPrefix(e.Name, testDir+"/__cluster_metadata-0/"))
			}
		})
		m := newMachine()
		m.onApply = func(data string) { tr.add("-> apply %q", data) }
		m.onLead = func(epoch ids.LeaderEpoch) { tr.add("-> lead epoch %d", epoch) }
		cfg := testConfig(fault)
		cfg.NodeID, cfg.Voters, cfg.DirectoryID, cfg.ClusterID = ids.NodeID(i), []ids.NodeID{0, 1, 2}, ids.DirectoryID{byte(i + 1)}, "c"
		var err error
		s.members[i], err = OpenMember(cfg, m, func(m Message) {
			tr.add("-> %d: %s", m.To, said(m))
			s.waiting = append(s.waiting, m)
		})
		if err != nil {
			t.Fatal(err)
		}
		tr.take()
	}
	return s
}

// said is what a message says, in a line.
func said(m Message) string {
	switch {
	case m.Ask != nil:
		return fmt.Sprintf("ask from %d", m.Ask.Next)
	case m.Answer != nil:
		return fmt.Sprintf("answer, formed %v, with %d", m.Answer.Report.Formed, len(m.Answer.Report.With))
	}
	r := m.Raft
	line := fmt.Sprintf("%v of term %d", r.GetType(), r.GetTerm())
	if r.GetIndex() > 0 || len(r.GetEntries()) > 0 {
		line += fmt.Sprintf(", index %d", r.GetIndex())
	}
	if n := len(r.GetEntries()); n > 0 {
		line += fmt.Sprintf(", %d entries", n)
	}
	return line
}

// settle carries out and delivers until nothing is left.
func (s *silentTrio) settle() {
	s.t.Helper()
	for {
		for _, m := range s.members {
			if done, err := m.workOff(); err != nil || !done {
				s.t.Fatal(done, err)
			}
		}
		if len(s.waiting) == 0 {
			return
		}
		m := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.traces[m.To].add("<- %d: %s", m.From.Node, said(m))
		if err := s.members[m.To].Receive(m); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestTraceOfThree(t *testing.T) {
	s := newSilentTrio(t)
	datadriven.RunTest(t, "testdata/trace_of_three.txt", func(t *testing.T, d *datadriven.TestData) string {
		var of int
		d.ScanArgs(t, "of", &of)
		var err error
		switch d.Cmd {
		case "form":
			for range formTicks {
				for _, m := range s.members {
					m.Tick()
				}
			}
		case "campaign":
			err = s.members[0].Campaign()
		case "propose":
			err = s.members[0].Propose([]byte(d.Input))
		}
		if err != nil {
			t.Fatal(err)
		}
		s.settle()
		shown := s.traces[of].take()
		for _, tr := range s.traces {
			tr.take()
		}
		return shown
	})
	for _, m := range s.members {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

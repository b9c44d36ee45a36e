package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const (
	groupPartitions = 3
	shareRecords    = 300             // each of two members reads that many at least while they share the topic
	patience        = 2 * time.Minute // for any one step of a scenario
)

// A read is one record that a member of a group printed.
type read struct {
	member    string
	partition int32
	offset    int64
}

// judgeGroup looks for records that no member read, or that two did; atLeastOnce allows the second. It returns how
// many were read again.
func judgeGroup(written map[int32]int64, reads []read, atLeastOnce bool) (int, error) {
	readers := map[int32][]string{}
	last := map[string]int64{} // by member and partition
	for p, n := range written {
		readers[p] = make([]string, n)
	}
	again := 0
	for _, r := range reads {
		list := readers[r.partition]
		if r.offset < 0 || r.offset >= int64(len(list)) {
			return 0, fmt.Errorf("%s read offset %d of partition %d, of which %d were written", r.member, r.offset, r.partition, len(list))
		}
		if before := list[r.offset]; before != "" {
			if again++; !atLeastOnce {
				return 0, fmt.Errorf("offset %d of partition %d was read by %s and again by %s", r.offset, r.partition, before, r.member)
			}
		}
		list[r.offset] = r.member
		key := fmt.Sprint(r.member, " ", r.partition)
		if before, ok := last[key]; ok && r.offset <= before && !atLeastOnce {
			return 0, fmt.Errorf("%s read offset %d of partition %d after %d", r.member, r.offset, r.partition, before)
		}
		last[key] = r.offset
	}
	for p, list := range readers {
		if i := slices.Index(list, ""); i >= 0 {
			return 0, fmt.Errorf("offset %d of partition %d was read by nobody", i, p)
		}
	}
	return again, nil
}

// An event is a line that a process printed, or its end.
type event struct {
	from  *process
	line  string
	ended bool
}

// A process is a member of the group, or the one that writes; it leaves in order when its standard input ends.
type process struct {
	name           string
	cmd            *exec.Cmd
	stdin          io.Closer
	leaving, ended bool
	counts         map[int32]int // records read since the last mark, by partition
}

// A scenario starts processes and follows what they print. It runs in one goroutine; each process has one that reads.
type scenario struct {
	events  chan event
	running []*process
	written map[int32]int64
	reads   []read
}

func (s *scenario) start(name string, command []string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(command[0], command[1:]...), counts: map[int32]int{}}
	p.cmd.Stderr = os.Stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	s.running = append(s.running, p)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			s.events <- event{from: p, line: lines.Text()}
		}
		s.events <- event{from: p, ended: true}
	}()
	return p, nil
}

// await follows the processes until done, and forgets nothing of what they print meanwhile.
func (s *scenario) await(what string, done func() bool) error {
	timeout := time.After(patience)
	for !done() {
		select {
		case e := <-s.events:
			if err := s.take(e); err != nil {
				return fmt.Errorf("until %s: %w", what, err)
			}
		case <-timeout:
			return fmt.Errorf("%s: not within %v", what, patience)
		}
	}
	fmt.Fprintln(os.Stderr, what)
	return nil
}

func (s *scenario) take(e event) error {
	if e.ended {
		e.from.ended = true
		s.running = slices.DeleteFunc(s.running, func(p *process) bool { return p == e.from })
		if err := e.from.cmd.Wait(); err != nil {
			return fmt.Errorf("%s: %w", e.from.name, err)
		}
		if !e.from.leaving {
			return fmt.Errorf("%s ended", e.from.name)
		}
		return nil
	}
	var p int32
	var n int64
	if _, err := fmt.Sscanf(e.line, "written %d %d", &p, &n); err == nil {
		s.written[p] = n
		return nil
	}
	if _, err := fmt.Sscanf(e.line, "%d %d", &p, &n); err != nil {
		return fmt.Errorf("%s printed %q", e.from.name, e.line)
	}
	s.reads = append(s.reads, read{e.from.name, p, n})
	e.from.counts[p]++
	return nil
}

func (s *scenario) leave(p *process) error {
	p.leaving = true
	if err := p.stdin.Close(); err != nil {
		return err
	}
	return s.await(p.name+" has left", func() bool { return p.ended })
}

func (s *scenario) kill() {
	for _, p := range s.running {
		p.cmd.Process.Kill()
	}
}

// share waits until both read, from partitions of their own.
func (s *scenario) share(a, b *process) error {
	joined := false
	return s.await(a.name+" and "+b.name+" share", func() bool {
		if !joined && total(b) > 0 {
			joined = true
			clear(a.counts)
		}
		return joined && total(a) >= shareRecords && total(b) >= shareRecords
	})
}

// alone waits until one member reads every partition.
func (s *scenario) alone(p *process) error {
	clear(p.counts)
	return s.await(p.name+" reads everything", func() bool { return len(p.counts) == groupPartitions })
}

func total(p *process) int {
	n := 0
	for _, c := range p.counts {
		n += c
	}
	return n
}

// runGroup lets members come and go while records are written: two share, one leaves and comes back, the other leaves,
// nobody is left, and one goes on where they ended. load writes from when it starts until its input ends.
func runGroup(load, member []string, atLeastOnce bool) (string, error) {
	s := &scenario{events: make(chan event, 1000), written: map[int32]int64{}}
	defer s.kill()
	writer, err := s.start("the writer", load)
	if err != nil {
		return "", err
	}
	if err := s.await("the topic is there", func() bool { return len(s.written) == groupPartitions }); err != nil {
		return "", err
	}
	var first, second *process
	join := func(p **process, name string) func() error {
		return func() (err error) { *p, err = s.start(name, member); return err }
	}
	for _, step := range []func() error{
		join(&first, "the first member"), func() error { return s.alone(first) },
		join(&second, "the second member"), func() error { return s.share(first, second) },
		func() error { return s.leave(second) }, func() error { return s.alone(first) },
		join(&second, "the second member, restarted,"), func() error { return s.share(first, second) },
		func() error { return s.leave(first) }, func() error { return s.alone(second) },
		func() error { return s.leave(second) },
		join(&first, "the first member, restarted,"), func() error { return s.alone(first) },
		func() error { return s.leave(writer) }, func() error { return s.drain(first) },
		func() error { return s.leave(first) },
	} {
		if err := step(); err != nil {
			return "", err
		}
	}
	again, err := judgeGroup(s.written, s.reads, atLeastOnce)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(os.Stderr, "%d records read in a group, %d of them again\n", len(s.reads), again)
	if atLeastOnce {
		return "at least once", nil
	}
	return "yes", nil
}

// drain waits until the last record of every partition was read.
func (s *scenario) drain(p *process) error {
	return s.await(p.name+" is at the end", func() bool {
		ends := map[int32]int64{}
		for i := len(s.reads) - 1; i >= 0 && len(ends) < groupPartitions; i-- {
			if r := s.reads[i]; ends[r.partition] == 0 {
				ends[r.partition] = r.offset + 1
			}
		}
		for p, n := range s.written {
			if ends[p] != n {
				return false
			}
		}
		return true
	})
}

// splitCommands parts the arguments at "--".
func splitCommands(args []string) (load, member []string, err error) {
	i := slices.Index(args, "--")
	if i < 1 || i == len(args)-1 {
		return nil, nil, errors.New("LOAD... -- MEMBER... in " + strings.Join(args, " "))
	}
	return args[:i], args[i+1:], nil
}

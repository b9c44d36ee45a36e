//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moldau/moldau/test/history"
	"github.com/moldau/moldau/test/nodes"
)

const (
	// rollingRate is what each application sends in a second: to each of the partitions a record every 50 ms.
	rollingRate = 20 * partitions
	// applicationStallMax is how long an application may be told nothing of a partition.
	applicationStallMax = time.Second
	// drainMax is how long an application may take to have everything back.
	drainMax = 90 * time.Second
)

// producing and consuming are the two halves of an application in its history.
const (
	producing int32 = iota
	consuming
)

// application is a program with a client of somebody's, which writes and reads a topic of its own.
type application struct {
	name    string
	command []string
	// twice tells that its producer is not idempotent where nothing is set: then a record may be there twice.
	twice bool

	cmd   *exec.Cmd
	stdin io.Closer
	ended chan error
	heard heard
}

// heard counts of how many partitions the two halves of an application have been told something.
type heard struct {
	sync.Mutex
	of map[string]bool
}

func (a *application) topic() string { return "rolling-" + a.name }

func (a *application) history(dir string) string { return filepath.Join(dir, a.topic()+".txt") }

// start starts the program, which writes its history.
func (a *application) start(r *run) error {
	out, err := os.Create(a.history(r.dir))
	if err != nil {
		return err
	}
	said, err := os.Create(filepath.Join(r.dir, a.topic()+".log"))
	if err != nil {
		return err
	}
	defer said.Close()
	argv := append(slices.Clone(a.command), r.cluster.Addresses(), a.topic(), strconv.Itoa(partitions), strconv.Itoa(rollingRate))
	a.cmd = exec.Command(argv[0], argv[1:]...)
	a.cmd.Stderr = said
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	lines, err := a.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if a.stdin, err = a.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := a.cmd.Start(); err != nil {
		return err
	}
	a.heard.of, a.ended = make(map[string]bool), make(chan error, 1)
	go func() { // Wait wants everything read
		err := errors.Join(a.listen(lines, out), out.Close())
		a.ended <- errors.Join(err, a.cmd.Wait())
	}()
	return nil
}

// listen keeps what the application says.
func (a *application) listen(from io.Reader, to io.Writer) error {
	w := bufio.NewWriter(to)
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); words[0] == "P" && len(words) == 4 {
			a.heard.Lock()
			a.heard.of[words[1]+" "+words[2]] = true
			a.heard.Unlock()
		}
		fmt.Fprintln(w, lines.Text())
	}
	return errors.Join(lines.Err(), w.Flush())
}

// hasAll wants that both halves have been told something of every partition.
func (a *application) hasAll(context.Context) error {
	a.heard.Lock()
	defer a.heard.Unlock()
	if n := len(a.heard.of); n < 2*partitions {
		return fmt.Errorf("%s has been told something of %d partitions, both ways, of %d", a.name, n, 2*partitions)
	}
	return nil
}

// finish has it get everything back and end.
func (a *application) finish() error {
	if err := a.stdin.Close(); err != nil {
		return err
	}
	select {
	case err := <-a.ended:
		a.cmd = nil
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		return nil
	case <-time.After(drainMax):
		return fmt.Errorf("%s has not got everything back within %v", a.name, drainMax)
	}
}

func (a *application) kill() {
	if a.cmd != nil {
		_ = a.cmd.Process.Kill() // gone already is as good
		<-a.ended
	}
}

// rolling restarts all brokers in turn, rounds times, under applications, and judges what these were told. It returns the status to end with.
func (s *stage) rolling(ctx context.Context, rounds int, apps []*application) int {
	r := s.newRun(0)
	for _, a := range apps {
		defer a.kill()
	}
	took, err := r.restartUnder(ctx, rounds, apps)
	if err != nil {
		fmt.Printf("FAILED rolling restart: %v\n", err)
		return 1
	}
	fmt.Printf("ok     each of %d brokers restarted %d times, in %v\n", nodes.Count, rounds, took.Round(time.Millisecond))
	status := 0
	for _, a := range apps {
		note, err := r.judgeApplication(a)
		if err != nil {
			fmt.Printf("FAILED %s: %s: %v\n", a.name, note, err)
			status = 1
			continue
		}
		fmt.Printf("ok     %s: %s\n", a.name, note)
	}
	return status
}

// restartUnder returns how long the restarts took, and leaves the histories of the applications.
func (r *run) restartUnder(ctx context.Context, rounds int, apps []*application) (time.Duration, error) {
	tearDown, err := r.setUp(func(need) bool { return false })
	if err != nil {
		return 0, err
	}
	defer func() {
		r.cluster.KillAll()
		_ = tearDown()
	}()
	if err := r.cluster.StartAll(ctx); err != nil {
		return 0, err
	}
	for _, a := range apps {
		r.load.Topic = a.topic()
		if err := r.createTopic(ctx); err != nil {
			return 0, err
		}
		if err := a.start(r); err != nil {
			return 0, fmt.Errorf("%s: %w", a.name, err)
		}
	}
	for _, a := range apps {
		if err := r.cluster.Await(ctx, "the applications get on", a.hasAll); err != nil {
			return 0, err
		}
	}
	begun := time.Now()
	for ; r.struck < rounds*nodes.Count; r.struck++ {
		if err := restartInTurn(ctx, r); err != nil {
			return 0, err
		}
	}
	if err := r.cluster.Await(ctx, "the cluster is well", r.cluster.Well); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	for _, a := range apps {
		if err := a.finish(); err != nil {
			return took, err
		}
		if err := r.readBack(ctx, a); err != nil {
			return took, fmt.Errorf("%s: %w", a.name, err)
		}
	}
	return took, r.cluster.StopAll()
}

// readBack adds what is in an application's topic at the end to its history.
func (r *run) readBack(ctx context.Context, a *application) error {
	r.load.Topic = a.topic()
	reads, err := r.load.ReadAll(ctx)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(a.history(r.dir), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	w := history.NewWriter(out)
	for _, read := range reads {
		w.Read(read)
	}
	return errors.Join(w.Flush(), out.Close())
}

// judgeApplication says what an application was told, and returns an error where it was told of one, waited too long, or lost something.
func (r *run) judgeApplication(a *application) (string, error) {
	f, err := os.Open(a.history(r.dir))
	if err != nil {
		return "", err
	}
	defer f.Close()
	h, err := history.Parse(f)
	if err != nil {
		return "", err
	}
	v := h.Judge()
	if a.twice {
		v.Violations = slices.DeleteFunc(v.Violations, func(v history.Violation) bool {
			return slices.Contains([]string{"doubled", "reordered", "moved"}, v.Kind)
		})
	}
	return rollingVerdict(v)
}

func rollingVerdict(v *history.Verdict) (string, error) {
	if len(v.Stalls) != 2 {
		return "", fmt.Errorf("%d halves of the application were told something, of 2", len(v.Stalls))
	}
	note := fmt.Sprintf("longest stall of the producer %v, of the consumer %v; %d sent, %d acknowledged, %d read; %d notes", v.Stalls[producing], v.Stalls[consuming], v.Sent, v.Acked, v.Read, v.Notes)
	if !v.OK() {
		return note, fmt.Errorf("%d promises broken, the first: %v", len(v.Violations), v.Violations[0])
	}
	if v.Acked != v.Sent {
		return note, fmt.Errorf("%d of %d records were acknowledged", v.Acked, v.Sent)
	}
	for _, s := range v.Stalls {
		if s.Length >= applicationStallMax {
			return note, fmt.Errorf("told nothing for %v", s)
		}
	}
	return note, nil
}

// applications are those whose commands are given, as NAME=COMMAND with spaces in it, and that of franz-go.
func applications(commands []string) ([]*application, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	all := []*application{{name: "franz-go", command: []string{self, "-application"}}}
	for _, c := range commands {
		name, command, ok := strings.Cut(c, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not NAME=COMMAND", c)
		}
		all = append(all, &application{name: name, command: strings.Fields(command), twice: name == "librdkafka"})
	}
	return all, nil
}

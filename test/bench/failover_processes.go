package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// processes are the nodes of a cluster, each a process of this one. They belong to one goroutine.
type processes struct {
	command []string // {} stands for the node's id
	output  string   // file name, likewise
	running map[int]*process
}

type process struct {
	*exec.Cmd
	ended chan struct{}
}

func newProcesses(command []string, output string) *processes {
	return &processes{command: command, output: output, running: make(map[int]*process)}
}

func (p *processes) startAll(nodes int) error {
	for id := 1; id <= nodes; id++ {
		if err := p.start(id); err != nil {
			return err
		}
	}
	return nil
}

func (p *processes) start(id int) error {
	number := strconv.Itoa(id)
	var args []string
	for _, a := range p.command {
		args = append(args, strings.ReplaceAll(a, "{}", number))
	}
	output, err := os.OpenFile(strings.ReplaceAll(p.output, "{}", number), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	n := &process{Cmd: exec.Command(args[0], args[1:]...), ended: make(chan struct{})}
	n.Stdout, n.Stderr = output, output
	n.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		defer close(n.ended)
		defer output.Close()
		runtime.LockOSThread() // Pdeathsig is about the thread that has started the process
		err := n.Start()
		started <- err
		if err == nil {
			_ = n.Wait() // it is killed; nobody asks how it ended
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.running[id] = n
	return nil
}

func (p *processes) signal(id int, sig syscall.Signal) error {
	select {
	case <-p.running[id].ended:
		return fmt.Errorf("node %d has ended by itself; its output says why", id)
	default:
		return p.running[id].Process.Signal(sig)
	}
}

// still returns once a node that was killed or stopped does nothing any more: on a busy machine its threads go on for a while.
func (p *processes) still(ctx context.Context, id int) error {
	for {
		select {
		case <-p.running[id].ended:
			return nil
		default:
		}
		if stopped(p.running[id].Process.Pid) {
			return nil
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("node %d goes on: %w", id, err)
		}
	}
}

// stopped tells whether every thread of a process is stopped by a signal.
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, name := range threads {
		var text []byte
		text, err = os.ReadFile(name)
		// The state follows the name of the program, which is in parentheses.
		if i := bytes.LastIndexByte(text, ')'); err != nil || i < 0 || !bytes.HasPrefix(text[i+1:], []byte(" T")) {
			return false
		}
	}
	return err == nil && len(threads) > 0
}

// stop ends all nodes.
func (p *processes) stop() {
	const patience = 30 * time.Second
	for _, n := range p.running {
		_ = n.Process.Signal(syscall.SIGCONT) // fails where it has ended, as the next does
		_ = n.Process.Signal(syscall.SIGTERM)
	}
	late := time.After(patience)
	for _, n := range p.running {
		select {
		case <-n.ended:
		case <-late:
			_ = n.Process.Kill()
		}
	}
}

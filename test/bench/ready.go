package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/moldau/moldau/test/bench/internal/measure"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// runReady starts a broker and measures the time to its first answered ApiVersions, and then its weight at rest.
func runReady(args []string) error {
	c := newConfig("ready")
	settle := c.Duration("settle", 2*time.Second, "how long to leave the broker alone before it is weighed")
	keep := c.Bool("keep", false, "leave the broker running; its process id is in the result")
	logName := c.String("log", os.DevNull, "file for the broker's output")
	ctx, cancel, err := c.parse(args)
	if err != nil {
		return err
	}
	defer cancel()
	if c.NArg() == 0 {
		return errors.New("usage: bench ready [flags] -- COMMAND ARGS")
	}
	output, err := os.OpenFile(*logName, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.Command(c.Arg(0), c.Args()[1:]...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	for {
		if askVersions(c.brokers) == nil {
			break
		}
		select {
		case err := <-exited:
			return fmt.Errorf("the broker ended before it answered: %v", err)
		case <-ctx.Done():
			cmd.Process.Kill()
			return fmt.Errorf("the broker did not answer: %w", ctx.Err())
		default:
			measure.Nanosleep(500 * time.Microsecond)
		}
	}
	took := time.Since(start)
	c.pids = []int{cmd.Process.Pid}
	m := c.meter()
	if err := sleep(ctx, *settle); err != nil {
		return err
	}
	r := m.Finish(0, 0)
	r.Extra["ready_ms"] = measure.Round(took.Seconds() * 1e3)
	r.Extra["pid"] = cmd.Process.Pid
	addWeight(r, c.pids)
	if !*keep {
		stopped := time.Now()
		cmd.Process.Signal(syscall.SIGTERM)
		if err := <-exited; err != nil {
			return fmt.Errorf("the broker's end: %w", err)
		}
		r.Extra["stop_ms"] = measure.Round(time.Since(stopped).Seconds() * 1e3)
	}
	return r.Print()
}

// addWeight adds what the processes hold at this moment.
func addWeight(r *measure.Result, pids []int) {
	w := measure.Hold(pids)
	r.Extra["rss_mb"], r.Extra["threads"], r.Extra["open_files"] = measure.Round(float64(w.RSS)/1e6), w.Threads, w.Files
}

// askVersions sends one ApiVersions request on a new connection and awaits its answer.
func askVersions(address string) error {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	return versionsOn(conn)
}

// versionsOn asks a connected broker for its versions.
func versionsOn(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	req := kmsg.NewPtrApiVersionsRequest()
	if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 1)); err != nil {
		return err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	n := int64(size[0])<<24 | int64(size[1])<<16 | int64(size[2])<<8 | int64(size[3])
	if _, err := io.CopyN(io.Discard, conn, n); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// runServes tells by its exit status whether a broker advertises an API.
func runServes(args []string) error {
	c := newConfig("serves")
	key := c.Int("key", 0, "number of the API")
	ctx, cancel, err := c.parse(args)
	if err != nil {
		return err
	}
	defer cancel()
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, k := range resp.ApiKeys {
		if int(k.ApiKey) == *key {
			return nil
		}
	}
	return fmt.Errorf("%s is not served", kmsg.NameForKey(int16(*key)))
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/moldau/moldau/test/history"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const topic = "crash"

// run kills the broker as often as it should and leaves the history in its file.
func run(ctx context.Context, f *flags) error {
	file, err := os.Create(f.history)
	if err != nil {
		return err
	}
	defer file.Close()
	b := &broker{flags: f}
	defer b.kill()
	if err := b.start(ctx); err != nil {
		return err
	}
	if err := createTopic(ctx, f); err != nil {
		return err
	}
	out := history.NewWriter(file)
	var acked atomic.Int64
	writing, stopWriting := context.WithCancel(ctx)
	defer stopWriting()
	var wg sync.WaitGroup
	failed := make(chan error, f.producers)
	for i := range f.producers {
		p := &producer{flags: f, number: int32(i), out: out, acked: &acked, next: make([]int64, f.partitions)}
		wg.Go(func() { failed <- p.run(ctx, writing) })
	}
	if err := killOverAndOver(ctx, f, b, &acked, failed); err != nil {
		return errors.Join(err, out.Flush())
	}
	stopWriting()
	wg.Wait()
	for range f.producers {
		if err := <-failed; err != nil {
			return errors.Join(err, out.Flush())
		}
	}
	first, err := readAll(ctx, f)
	if err != nil {
		return err
	}
	for _, r := range first {
		out.Read(r)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return readAgain(ctx, f, b, first)
}

// readAgain stops the broker cleanly, starts it and expects to read the same.
func readAgain(ctx context.Context, f *flags, b *broker, first []history.Read) error {
	if err := b.stop(); err != nil {
		return err
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	second, err := readAll(ctx, f)
	if err != nil {
		return err
	}
	if !slices.Equal(first, second) {
		return fmt.Errorf("%d records before a clean restart, %d after it, or not the same", len(first), len(second))
	}
	return b.stop()
}

// killOverAndOver kills the broker each time it has acknowledged something and its time is up.
func killOverAndOver(ctx context.Context, f *flags, b *broker, acked *atomic.Int64, failed <-chan error) error {
	var down []time.Duration
	begun := time.Now()
	for kill := range f.kills {
		before, up := acked.Load(), time.Now()
		for acked.Load() == before || time.Since(up) < f.every {
			select {
			case err := <-failed:
				return fmt.Errorf("after %d kills: %w", kill, err)
			case <-ctx.Done():
				return fmt.Errorf("after %d kills and %v, %d acknowledged since the last: %w", kill, time.Since(begun), acked.Load()-before, ctx.Err())
			case <-time.After(5 * time.Millisecond):
			}
		}
		b.kill()
		dead := time.Now()
		if err := b.start(ctx); err != nil {
			return fmt.Errorf("after %d kills: %w", kill+1, err)
		}
		down = append(down, time.Since(dead))
		if (kill+1)%10 == 0 {
			fmt.Fprintf(os.Stderr, "%d kills, %d acknowledged, %.0f s\n", kill+1, acked.Load(), time.Since(begun).Seconds())
		}
	}
	if len(down) > 0 {
		slices.Sort(down)
		fmt.Printf("%d kills in %.0f s; from start to an answer: median %v, most %v\n", f.kills, time.Since(begun).Seconds(),
			down[len(down)/2].Round(time.Millisecond), down[len(down)-1].Round(time.Millisecond))
	}
	return nil
}

// broker is the process under test. It belongs to the goroutine of run.
type broker struct {
	flags  *flags
	cmd    *exec.Cmd
	exited chan error
}

// start runs the broker and waits until it answers a client.
func (b *broker) start(ctx context.Context) error {
	out, err := os.OpenFile(b.flags.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	b.cmd = exec.Command(b.flags.command[0], b.flags.command[1:]...)
	b.cmd.Stdout, b.cmd.Stderr = out, out
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func(cmd *exec.Cmd) { exited <- cmd.Wait() }(b.cmd)
	b.exited = exited
	cl, err := client(b.flags)
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		try, cancel := context.WithTimeout(ctx, time.Second)
		err := cl.Ping(try)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case err := <-exited:
			exited <- err
			return fmt.Errorf("the broker ended by itself: %v (its output: %s)", err, b.flags.log)
		case <-ctx.Done():
			return fmt.Errorf("the broker does not answer: %w", ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// kill ends the broker without warning.
func (b *broker) kill() {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill() // gone already is as good
	<-b.exited
	b.cmd = nil
}

// stop ends the broker as an operator does.
func (b *broker) stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := <-b.exited
	b.cmd = nil
	var status *exec.ExitError
	if errors.As(err, &status) && status.ExitCode() == 128+int(syscall.SIGTERM) { // how a JVM says it
		return nil
	}
	if err != nil {
		return fmt.Errorf("the broker's clean end: %w", err)
	}
	return nil
}

func client(f *flags, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(fmt.Sprintf("127.0.0.1:%d", f.port)),
		kgo.DisableClientMetrics(),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.DialTimeout(time.Second),
	}, opts...)...)
}

func createTopic(ctx context.Context, f *flags) error {
	cl, err := client(f)
	if err != nil {
		return err
	}
	defer cl.Close()
	segment, forever := fmt.Sprint(f.segmentBytes), "-1"
	settings := map[string]*string{"segment.bytes": &segment, "retention.ms": &forever}
	_, err = kadm.NewClient(cl).CreateTopic(ctx, int32(f.partitions), 1, settings, topic)
	return err
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/moldau/moldau/test/history"
	"github.com/moldau/moldau/test/load"
	"github.com/twmb/franz-go/pkg/kadm"
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
	if err := createTopics(ctx, f); err != nil {
		return err
	}
	out := history.NewWriter(file)
	f.load.Out, f.load.Acked = out, load.NewAcks(f.load.Partitions)
	writing, stopWriting := context.WithCancel(ctx)
	defer stopWriting()
	failed := make(chan error, 1) // the first
	wg := f.load.Produce(ctx, writing, failed)
	wg.Go(func() { load.Report(failed, writeKeys(ctx, writing, f, out)) })
	wg.Go(func() { load.Report(failed, doom(ctx, writing, f, out)) })
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	members := f.load.Consume(ctx, reading, failed)
	err = killOverAndOver(ctx, f, b, failed)
	stopWriting()
	wg.Wait()
	if err == nil {
		err = f.load.AwaitGroups(ctx)
	}
	stopReading()
	members.Wait()
	select {
	case first := <-failed:
		err = errors.Join(err, first)
	default:
	}
	if err != nil {
		return errors.Join(err, out.Flush())
	}
	return readEverything(ctx, f, b, out)
}

// readEverything notes what is there at the end, and reads it again after a clean stop and start.
func readEverything(ctx context.Context, f *flags, b *broker, out *history.Writer) error {
	first, err := f.load.ReadAll(ctx)
	if err != nil {
		return err
	}
	for _, r := range first {
		out.Read(r)
	}
	if err := readAgain(ctx, f, b, first); err != nil {
		return err
	}
	if err := errors.Join(readKeys(ctx, f, out), listDoomed(ctx, f, out)); err != nil {
		return err
	}
	return errors.Join(out.Flush(), b.stop())
}

// readAgain stops the broker cleanly, starts it and expects to read the same.
func readAgain(ctx context.Context, f *flags, b *broker, first []history.Read) error {
	if err := b.stop(); err != nil {
		return err
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	second, err := f.load.ReadAll(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(first, second) {
		return fmt.Errorf("%d records before a clean restart, %d after it, or not the same", len(first), len(second))
	}
	return nil
}

// killOverAndOver kills the broker each time it has acknowledged something and its time is up.
func killOverAndOver(ctx context.Context, f *flags, b *broker, failed <-chan error) error {
	acked := f.load.Acked
	var down []time.Duration
	begun := time.Now()
	for kill := range f.kills {
		before, up := acked.Total(), time.Now()
		for acked.Total() == before || time.Since(up) < f.every {
			select {
			case err := <-failed:
				return fmt.Errorf("after %d kills: %w", kill, err)
			case <-ctx.Done():
				return fmt.Errorf("after %d kills and %v, %d acknowledged since the last: %w", kill, time.Since(begun), acked.Total()-before, ctx.Err())
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
			fmt.Fprintf(os.Stderr, "%d kills, %d acknowledged, %.0f s\n", kill+1, acked.Total(), time.Since(begun).Seconds())
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
	cl, err := b.flags.load.Client()
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

func createTopics(ctx context.Context, f *flags) error {
	cl, err := f.load.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	segment, forever := fmt.Sprint(f.segmentBytes), "-1"
	settings := map[string]*string{"segment.bytes": &segment, "retention.ms": &forever}
	adm := kadm.NewClient(cl)
	if _, err = adm.CreateTopic(ctx, int32(f.load.Partitions), 1, settings, topic); err != nil {
		return err
	}
	compact, ratio := "compact", "0.01"
	settings = map[string]*string{"segment.bytes": &segment, "cleanup.policy": &compact, "min.cleanable.dirty.ratio": &ratio}
	_, err = adm.CreateTopic(ctx, 1, 1, settings, compactedTopic)
	return err
}

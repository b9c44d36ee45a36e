package log

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// TestScripts plays testdata/log/*.txt: commands on one log, and after each every change that it
// made to the disk, then where the log starts and ends. Run with -rewrite to accept new output.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/log", func(t *testing.T, path string) {
		s := &script{t: t, mem: vfs.NewMem()}
		s.mount()
		datadriven.RunTest(t, path, s.run)
	})
}

type script struct {
	t      *testing.T
	mem    *vfs.Mem
	env    *testEnv
	cfg    Config
	log    *Log
	slice  Slice
	events strings.Builder
}

// mount makes s.mem the disk of a new process; what is checkpointed stays.
func (s *script) mount() {
	f := vfs.NewFault(s.mem)
	old := s.env
	s.env = newTestEnv(s.t, f)
	if old != nil {
		s.env.start, s.env.recovery = old.start, old.recovery
	}
	s.env.checkpointStart = func(l *Log) error {
		s.env.start = l.StartOffset()
		fmt.Fprintf(&s.events, "  checkpoint start %d\n", s.env.start)
		return nil
	}
	s.env.checkpointRecovery = func(l *Log) error {
		s.env.recovery = l.recoveryPoint()
		fmt.Fprintf(&s.events, "  checkpoint recovery point %d\n", s.env.recovery)
		return nil
	}
	f.SetHook(func(e vfs.Event) {
		name := strings.TrimPrefix(strings.TrimPrefix(e.Name, "/data/t-0/"), "/data/")
		fmt.Fprintf(&s.events, "  %s %s\n", strings.ToLower(string(e.Op)), strings.Replace(name, "000000000000000", "", 1))
	})
	s.events.Reset()
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	s.events.Reset()
	note, err := s.command(d)
	out := s.events.String() + note
	if err != nil {
		return out + fmt.Sprintf("error: %v\n", err)
	}
	if s.log != nil {
		out += fmt.Sprintf("%d to %d, durable %d\n", s.log.StartOffset(), s.log.EndOffset(), s.log.DurableEnd())
	}
	return out
}

func (s *script) command(d *datadriven.TestData) (note string, err error) {
	var n, at int
	var ts int64
	scan := func(key string, dst any) {
		if d.HasArg(key) {
			d.ScanArgs(s.t, key, dst)
		}
	}
	scan("at", &at)
	scan("ts", &ts)
	switch d.Cmd {
	case "new":
		return "", s.newLog(d)
	case "append":
		n = 1
		scan("n", &n)
		for i := range n {
			if _, err = s.log.AppendAsLeader(s.sized(d, ts+int64(i)), ids.LeaderEpoch(at)); err != nil {
				break
			}
		}
		return "", err
	case "follow":
		b := s.sized(d, ts)
		b.SetBaseOffset(ids.Offset(at))
		_, err = s.log.AppendAsFollower(b)
		return "", err
	case "read":
		return s.read(d, at)
	case "hold":
		s.slice, err = s.log.Read(ids.Offset(at), s.log.EndOffset(), 1<<20, true)
		return fmt.Sprintf("%d bytes held\n", s.slice.Len()), err
	case "release":
		return fmt.Sprintf("held: %s\n", offsetsOf(sliceBatches(s.t, s.slice))), nil
	case "sync":
		_, err = s.log.syncFiles()
		return "", err
	case "checkpoint":
		s.env.recovery = s.log.recoveryPoint()
		return fmt.Sprintf("recovery point %d\n", s.env.recovery), nil
	case "hw":
		s.log.SetHighWatermark(ids.Offset(at))
		return "", nil
	case "retain":
		return "", s.log.retain(time.UnixMilli(ts))
	case "advance":
		return "", s.log.AdvanceStart(ids.Offset(at))
	case "truncate":
		return "", s.log.TruncateTo(ids.Offset(at))
	case "truncate-fully":
		return "", s.log.TruncateFullyAndStartAt(ids.Offset(at))
	default:
		return s.lifeCommand(d, at)
	}
}

// lifeCommand runs the commands that end a process or look at its disk.
func (s *script) lifeCommand(d *datadriven.TestData, at int) (note string, err error) {
	switch d.Cmd {
	case "close":
		err := s.log.closeClean()
		s.env.recovery = s.log.EndOffset()
		s.log = nil
		return "", err
	case "kill":
		s.log.closeAbrupt()
		s.log = nil
		return "", nil
	case "crash": // what was not synced is lost
		s.log.closeAbrupt()
		s.log = nil
		s.mem = s.mem.CrashClone(vfs.NoUnsynced, 0)
		s.mount()
		return "", nil
	case "open":
		s.log, err = s.env.open(s.cfg, d.HasArg("clean"))
		return "", err
	case "damage": // flips a byte
		var name string
		d.ScanArgs(s.t, "file", &name)
		return "", flip(s.mem, filepath.Join("/data/t-0", strings.Repeat("0", 15)+name), int64(at))
	case "ls":
		return s.ls()
	}
	s.t.Fatalf("%s: no command %s", d.Pos, d.Cmd)
	return "", nil
}

func (s *script) newLog(d *datadriven.TestData) error {
	s.cfg = DefaultConfig()
	for _, a := range d.CmdArgs {
		var n int64
		if _, err := fmt.Sscan(a.Vals[0], &n); err != nil {
			return err
		}
		switch a.Key {
		case "segment.bytes":
			s.cfg.SegmentBytes = int32(n)
		case "index.interval.bytes":
			s.cfg.IndexIntervalBytes = int32(n)
		case "segment.ms":
			s.cfg.SegmentMs = n
		case "retention.ms":
			s.cfg.RetentionMs = n
		case "retention.bytes":
			s.cfg.RetentionBytes = n
		case "file.delete.delay.ms":
			s.cfg.FileDeleteDelayMs = n
		case "segment.index.bytes":
			s.cfg.IndexBytes = int32(n)
		default:
			s.t.Fatalf("%s: no config %s", d.Pos, a.Key)
		}
	}
	s.log = s.env.create(s.cfg)
	return nil
}

// sized returns a batch of two records with the size in all that the command says.
func (s *script) sized(d *datadriven.TestData, ts int64) record.Batch {
	bytes := 200
	if d.HasArg("bytes") {
		d.ScanArgs(s.t, "bytes", &bytes)
	}
	const overhead = 61 + 2*9
	value := make([]byte, (bytes-overhead)/2)
	return record.NewBuilder().Append(ts, nil, value).Append(ts, nil, value).MustBuild()
}

func (s *script) read(d *datadriven.TestData, at int) (string, error) {
	maxBytes, bound := 1<<20, int(s.log.EndOffset())
	if d.HasArg("max") {
		d.ScanArgs(s.t, "max", &maxBytes)
	}
	if d.HasArg("bound") {
		d.ScanArgs(s.t, "bound", &bound)
	}
	slice, err := s.log.Read(ids.Offset(at), ids.Offset(bound), int32(maxBytes), !d.HasArg("exact"))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("got %q\n", offsetsOf(sliceBatches(s.t, slice))), nil
}

func (s *script) ls() (string, error) {
	names, err := s.mem.List("/data/t-0")
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, name := range names {
		info, err := s.mem.Stat(filepath.Join("/data/t-0", name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "%7d %s\n", info.Size(), strings.Replace(name, "000000000000000", "", 1))
	}
	return out.String(), nil
}

// flip changes every bit of one byte of a file.
func flip(fs vfs.FS, name string, at int64) error {
	f, err := fs.OpenReadWrite(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if err := readFull(f, b[:], at); err != nil {
		return err
	}
	b[0] = ^b[0]
	if _, err := f.WriteAt(b[:], at); err != nil {
		return err
	}
	return f.Sync()
}

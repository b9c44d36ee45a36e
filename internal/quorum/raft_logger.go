package quorum

import (
	"fmt"
	"log/slog"
)

// raftLogger passes the library's log on. What it calls information is our debugging. Its
// fatal and panic messages report broken invariants: they panic, and Core.Step tells what came of it.
type raftLogger struct{ logger *slog.Logger }

func (l raftLogger) Debug(v ...any)            { l.logger.Debug(fmt.Sprint(v...)) }
func (l raftLogger) Debugf(f string, v ...any) { l.logger.Debug(fmt.Sprintf(f, v...)) }
func (l raftLogger) Info(v ...any)             { l.logger.Debug(fmt.Sprint(v...)) }
func (l raftLogger) Infof(f string, v ...any)  { l.logger.Debug(fmt.Sprintf(f, v...)) }
func (l raftLogger) Warning(v ...any)          { l.logger.Warn(fmt.Sprint(v...)) }
func (l raftLogger) Warningf(f string, v ...any) {
	l.logger.Warn(fmt.Sprintf(f, v...))
}
func (l raftLogger) Error(v ...any)            { l.logger.Error(fmt.Sprint(v...)) }
func (l raftLogger) Errorf(f string, v ...any) { l.logger.Error(fmt.Sprintf(f, v...)) }
func (l raftLogger) Fatal(v ...any)            { panic(raftPanic(fmt.Sprint(v...))) }
func (l raftLogger) Fatalf(f string, v ...any) { panic(raftPanic(fmt.Sprintf(f, v...))) }
func (l raftLogger) Panic(v ...any)            { panic(raftPanic(fmt.Sprint(v...))) }
func (l raftLogger) Panicf(f string, v ...any) { panic(raftPanic(fmt.Sprintf(f, v...))) }

// raftPanic is a broken invariant of the library.
type raftPanic string

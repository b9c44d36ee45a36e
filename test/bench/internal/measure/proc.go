package measure

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the kernel's USER_HZ, the unit of the times in /proc/PID/stat.
const clockTick = 100

// usage is what a set of processes has used so far.
type usage struct {
	cpu       float64 // seconds, user and system
	sys       float64 // seconds, system only
	diskWrite int64   // bytes sent towards storage
}

// ParsePIDs reads a comma-separated list such as "12,34".
func ParsePIDs(list string) ([]int, error) {
	var pids []int
	for s := range strings.SplitSeq(list, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		pid, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("pid %q: %w", s, err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// CPU returns the seconds of CPU that the processes have spent.
func CPU(pids []int) float64 { return procUsage(pids).cpu }

// procUsage sums the use of the given processes; one that is gone counts nothing.
func procUsage(pids []int) usage {
	var u usage
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		// The command name may hold spaces: count fields from its closing bracket.
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
		user, _ := strconv.ParseFloat(f[11], 64)
		sys, _ := strconv.ParseFloat(f[12], 64)
		u.cpu += (user + sys) / clockTick
		u.sys += sys / clockTick
		u.diskWrite += procField(pid, "io", "write_bytes:")
	}
	return u
}

// resetPeakRSS makes VmHWM start again from the present size, where the kernel lets us.
func resetPeakRSS(pids []int) {
	for _, pid := range pids {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	}
}

// peakRSS sums the peak resident sizes, in MiB.
func peakRSS(pids []int) float64 {
	var kib int64
	for _, pid := range pids {
		kib += procField(pid, "status", "VmHWM:")
	}
	return float64(kib) / 1024
}

// A Weight is what processes hold at one moment.
type Weight struct {
	RSS     int64 // bytes
	Threads int64
	Files   int
}

// Hold sums what the processes hold now.
func Hold(pids []int) Weight {
	w := Weight{Files: openFiles(pids)}
	for _, pid := range pids {
		w.RSS += procField(pid, "status", "VmRSS:") * 1024
		w.Threads += procField(pid, "status", "Threads:")
	}
	return w
}

// procField returns the number behind a label in /proc/PID/file, or 0.
func procField(pid int, file, label string) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, label); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}

// openFiles counts the descriptors that the processes hold.
func openFiles(pids []int) int {
	n := 0
	for _, pid := range pids {
		entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		n += len(entries)
	}
	return n
}

// SelfCPU returns this process's CPU seconds.
func SelfCPU() float64 {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return (time.Duration(ru.Utime.Nano()) + time.Duration(ru.Stime.Nano())).Seconds()
}

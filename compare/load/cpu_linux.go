package load

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of the times in /proc/<pid>/stat: USER_HZ is 100 on
// every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// procStat is what the meter needs of /proc/<pid>/stat, proc(5).
type procStat struct {
	parent int
	own    time.Duration // utime + stime
	waited time.Duration // those of children that were waited for
}

// parseStat reads a stat line. The command name in parentheses may itself hold
// blanks and parentheses, so fields are counted from the last one.
func parseStat(line []byte) (procStat, error) {
	at := bytes.LastIndexByte(line, ')')
	if at < 0 {
		return procStat{}, errors.New("stat line without a command name")
	}
	fields := bytes.Fields(line[at+1:])
	if len(fields) < 15 {
		return procStat{}, fmt.Errorf("stat line of %d fields", len(fields))
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return procStat{}, fmt.Errorf("parent pid: %w", err)
	}
	s := procStat{parent: parent}
	for i, f := range fields[11:15] { // utime, stime, cutime, cstime
		ticks, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return procStat{}, fmt.Errorf("cpu time: %w", err)
		}
		if i < 2 {
			s.own += time.Duration(ticks) * clockTick
		} else {
			s.waited += time.Duration(ticks) * clockTick
		}
	}
	return s, nil
}

// cpu is what the process and the children that it waited for have used. The
// process's own CPU clock counts nanoseconds where stat counts ticks of 10 ms,
// too coarse for a short window on a fast broker.
func (s procStat) cpu(pid int) time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(cpuClock(pid), &ts) != nil {
		return s.own + s.waited // it just ended, or is not ours to look at
	}
	return time.Duration(ts.Nano()) + s.waited
}

// cpuClock is the id of a process's CPU clock, clock_getcpuclockid(3).
func cpuClock(pid int) int32 { return int32(^pid<<3 | 2) }

func readStat(pid int) (procStat, error) {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, err
	}
	return parseStat(line)
}

// treeCPU returns the CPU time that process pid, its living descendants and
// those they waited for have used.
func treeCPU(pid int) (time.Duration, error) {
	root, err := readStat(pid)
	if err != nil {
		return 0, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
	}
	all, err := readAll()
	if err != nil {
		return 0, err
	}
	delete(all, pid)
	return root.cpu(pid) + descend(all, pid), nil
}

// descend takes the descendants of pid out of all and sums their time.
func descend(all map[int]procStat, pid int) time.Duration {
	var sum time.Duration
	for child, s := range all {
		if s.parent == pid {
			delete(all, child)
			sum += s.cpu(child) + descend(all, child)
		}
	}
	return sum
}

func readAll() (map[int]procStat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	all := map[int]procStat{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil { // else it just ended
			all[pid] = s
		}
	}
	return all, nil
}

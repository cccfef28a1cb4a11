package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Settling: a broker's memory is read when it has stood still for this many
// readings in a row, or at the last of them.
const (
	settleStill  = 4
	settleMost   = 40
	settleWithin = 0.005 // of the memory itself
)

// memory returns the resident memory of the server's process tree in bytes.
func (s *server) memory() (int64, error) {
	if s.pid == 0 {
		return 0, errors.New("memory is read of a target with a known pid only")
	}
	all, err := readAll()
	if err != nil {
		return 0, err
	}
	sum, err := resident(s.pid)
	if err != nil {
		return 0, err
	}
	for pid := range all {
		if pid != s.pid && descends(all, pid, s.pid) {
			part, err := resident(pid)
			if err == nil { // else it just ended
				sum += part
			}
		}
	}
	return sum, nil
}

// descends tells whether pid has the ancestor root.
func descends(all map[int]procStat, pid, root int) bool {
	for range all { // no chain is longer, whatever changed while it was read
		s, ok := all[pid]
		if !ok {
			return false
		}
		if s.parent == root {
			return true
		}
		pid = s.parent
	}
	return false
}

func resident(pid int) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	return parseStatm(text)
}

// parseStatm reads the resident pages of a statm line, proc(5).
func parseStatm(line []byte) (int64, error) {
	fields := bytes.Fields(line)
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm line of %d fields", len(fields))
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 48)
	if err != nil || pages < 0 {
		return 0, fmt.Errorf("statm line with %q resident pages", fields[1])
	}
	return pages * int64(os.Getpagesize()), nil
}

// settle waits until read stands still and returns what it then says.
func settle(ctx context.Context, step time.Duration, read func() (int64, error)) (int64, error) {
	last, still := int64(0), 0
	clock := time.NewTicker(max(step, time.Millisecond))
	defer clock.Stop()
	for range settleMost {
		now, err := read()
		if err != nil {
			return 0, err
		}
		if still++; float64(max(now-last, last-now)) > settleWithin*float64(now) {
			still = 0
		}
		last = now
		if still >= settleStill-1 {
			break
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-clock.C:
		}
	}
	return last, nil
}

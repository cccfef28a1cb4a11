package hubtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Resources are what a process holds, as the kernel counts it.
type Resources struct {
	RSS         int64 // bytes
	Descriptors int
}

// Resources asks the kernel (Linux) what the hub holds.
func (h *Hub) Resources(t testing.TB) (r Resources) {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(h.process.cmd.Process.Pid))
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		t.Skipf("what a process holds is not to be learned here: %v", err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatalf("reading VmRSS: %v", err)
	}
	open, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Fatalf("counting descriptors: %v", err)
	}
	return Resources{kib << 10, len(open)}
}

// Dump ends the hub and has it write its goroutines to its log.
func (h *Hub) Dump() {
	h.t.Helper()
	h.process.Signal(syscall.SIGQUIT)
	_ = h.process.Wait() // its status is that of a signal
}

// Eventually waits until a condition is true; it fails the test after Patience.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(Patience); !ok(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("within %v it did not come true that %s", Patience, what)
		}
	}
}

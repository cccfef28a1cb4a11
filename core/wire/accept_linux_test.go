package wire

import (
	"runtime"
	"testing"
)

// The kernel wakes the same loop for each connection as long as that one sleeps.
func TestConnectionsAreSpreadOverTheLoops(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	s := serve(t, Options{}, echoLines)
	const each = 5
	for range 4 * each {
		c := s.dial(t)
		write(t, c, "x\n")
		expect(t, c, "x\n")
	}
	count := map[*loop]int{}
	for _, c := range s.all() {
		count[c.transport().(*polled).loop]++
	}
	for _, l := range s.loops {
		if count[l] != each {
			t.Errorf("a loop has %d connections, want %d", count[l], each)
		}
	}
	if len(s.loops) != 4 {
		t.Errorf("%d loops, want 4", len(s.loops))
	}
}

package core_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
)

// seen is how long ago an account was seen, for who may know.
func (h *hub) seen(viewer, account string) time.Duration {
	h.t.Helper()
	d, err := h.LastSeen(viewer, account)
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

func TestLastSeenIsForWhoMayWatch(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	h.register("ada", "bob", "eve")
	h.link("ada", "bob")
	for _, account := range []string{"ada", "nobody", ""} {
		if _, err := h.LastSeen("eve", account); !errors.Is(err, core.ErrForbidden) {
			t.Errorf("eve asks for %q: %v", account, err)
		}
	}
	x := h.join("ada", "x")
	if d := h.seen("bob", "ada"); d != 0 {
		t.Errorf("ada is here, and was seen %v ago", d)
	}
	x.leave(true)
	own := h.online("ada", "y") // another, so that the account goes with it alone
	y := h.attach(core.Attach{Address: core.Address{Account: "ada", Resource: "x"}, Clean: true, Inbox: true, Silent: true})
	y.leave(true)
	if d := h.seen("ada", "ada"); d != 0 {
		t.Errorf("one of ada's devices is here, and ada was seen %v ago", d)
	}
	own.leave(true)
	h.longAgo("bob", "ada", time.Millisecond)
}

// longAgo waits until an account was last seen so long ago.
func (h *hub) longAgo(viewer, account string, least time.Duration) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); h.seen(viewer, account) < least; runtime.Gosched() {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s was seen %v ago", account, h.seen(viewer, account))
		}
	}
}

func TestLastSeenSurvivesTheHub(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	h.register("ada")
	h.attach(core.Attach{Address: core.Address{Account: "ada", Resource: "x"}, Shared: true, Silent: true}).leave(true)
	before := time.Now()
	const least = 200 * time.Millisecond
	h.longAgo("ada", "ada", least)
	h.stop()
	h = newHub(t, store)
	if d, most := h.seen("ada", "ada"), time.Since(before)+time.Second; d < least || d > most {
		t.Errorf("ada was seen %v ago, want %v to %v", d, least, most)
	}
}

package core_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
)

func TestWrongPasswordsDelayTheNextLogin(t *testing.T) {
	h := newHubWith(t, bus.NewMemory(), core.Options{LoginDelay: time.Second})
	h.register("ada")
	login := func(from, password string) error {
		done := make(chan error, 1)
		h.Login(t.Context(), netip.MustParseAddr(from), "ada", password, func(_ string, err error) { done <- err })
		return <-done
	}
	for range 3 {
		if err := login("192.0.2.1", "wrong"); !errors.Is(err, core.ErrNotAuthorized) {
			t.Fatal(err)
		}
	}
	if err := login("192.0.2.2", "secret"); err != nil || h.Counters.LoginsDelayed.Load() != 0 {
		t.Errorf("from another address: %v, %d logins were delayed", err, h.Counters.LoginsDelayed.Load())
	}
	begun := time.Now()
	if err := login("192.0.2.1", "secret"); err != nil || h.Counters.LoginsDelayed.Load() != 1 {
		t.Errorf("the right password after wrong ones: %v, after %v", err, time.Since(begun))
	}
	if err := login("192.0.2.1", "secret"); err != nil || h.Counters.LoginsDelayed.Load() != 1 {
		t.Errorf("after a good login: %v", err)
	}
}

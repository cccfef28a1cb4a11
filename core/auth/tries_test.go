package auth

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("192.0.2.2")
)

func TestWrongPasswordsDelayTheNextTry(t *testing.T) {
	tries, now := NewTries(10*time.Second), time.Unix(0, 0)
	for i, seconds := range []int{0, 0, 0, 1, 2, 4, 8, 10, 10} {
		wait, ok := tries.Begin(here, "ada", now)
		if want := time.Duration(seconds) * time.Second; !ok || wait != want {
			t.Errorf("try %d waits %v, %t; want %v", i, wait, ok, want)
		}
		now = now.Add(wait)
		tries.Failed(here, "ada", now)
	}
	for _, other := range []struct {
		from    netip.Addr
		account string
	}{{there, "ada"}, {here, "bob"}, {netip.Addr{}, "ada"}} {
		if wait, ok := tries.Begin(other.from, other.account, now); wait != 0 || !ok {
			t.Errorf("%v waits %v, %t", other, wait, ok)
		}
	}
	if wait, _ := tries.Begin(here, "ada", now); wait != 10*time.Second {
		t.Errorf("the right password waits %v too", wait)
	}
	tries.Passed(here, "ada")
	if wait, _ := tries.Begin(here, "ada", now); wait != 0 {
		t.Errorf("after a login the next waits %v", wait)
	}
}

func TestTriesSideBySideTakeTurns(t *testing.T) {
	tries, now := NewTries(10*time.Second), time.Unix(0, 0)
	for range freeTries + 1 { // the delay is two seconds
		tries.Failed(here, "ada", now)
	}
	served := 0
	for i := range 100 {
		wait, ok := tries.Begin(here, "ada", now)
		if ok {
			served++
		}
		if ok && wait != time.Duration(2*i+2)*time.Second {
			t.Errorf("try %d waits %v", i, wait)
		}
	}
	if served != 5 {
		t.Errorf("%d of 100 were let wait, want those that fit ten seconds", served)
	}
}

func TestWrongPasswordsAreForgotten(t *testing.T) {
	tries, now := NewTries(10*time.Second), time.Unix(0, 0)
	for range 20 {
		tries.Failed(here, "ada", now)
	}
	now = now.Add(forgetTry + 11*time.Second)
	tries.Failed(here, "ada", now)
	if wait, ok := tries.Begin(here, "ada", now); wait != 0 || !ok {
		t.Errorf("the second try after a long time waits %v, %t", wait, ok)
	}
}

func TestMemoryOfTriesIsBounded(t *testing.T) {
	tries, now := NewTries(10*time.Second), time.Unix(0, 0)
	for i := range maxTries + 1000 {
		tries.Failed(here, fmt.Sprint(i), now)
	}
	if len(tries.m) > maxTries {
		t.Errorf("%d pairs are remembered", len(tries.m))
	}
}

func TestNoDelayRemembersNothing(t *testing.T) {
	tries, now := NewTries(0), time.Unix(0, 0)
	for range 10 {
		tries.Failed(here, "ada", now)
	}
	if wait, ok := tries.Begin(here, "ada", now); wait != 0 || !ok || len(tries.m) > 0 {
		t.Errorf("it waits %v, %t, and remembers %d", wait, ok, len(tries.m))
	}
}

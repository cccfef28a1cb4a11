package auth

import (
	"net/netip"
	"strings"
	"sync"
	"time"
)

// What a wrong password costs: the first ones nothing, since people mistype, then
// a delay that doubles up to the bound that the operator sets.
const (
	freeTries  = 3
	firstDelay = time.Second
	forgetTry  = 10 * time.Minute // after the last one
	maxTries   = 1 << 16          // pairs that are remembered: about 8 MiB
	evictAmong = 8
)

// Tries makes guessing slow: each wrong password for an account from an address
// delays the next try of the same account from the same address, right or wrong.
// Nobody else waits, neither that account at another address nor that address for
// another account.
//
// It is safe for concurrent use.
type Tries struct {
	longest time.Duration // set once; 0: there are no delays

	mu sync.Mutex // guards m
	m  map[tryKey]*try
}

type tryKey struct {
	from    netip.Addr
	account string
}

type try struct {
	failed int
	next   time.Time // when the next try may be made
}

// NewTries makes an empty memory; no delay is longer than longest, 0: there are none.
func NewTries(longest time.Duration) *Tries {
	return &Tries{longest: longest, m: map[tryKey]*try{}}
}

// Begin is asked right before a password is checked: how long to wait before. Each
// call takes a turn of its own, so that tries side by side wait for each other.
// When the turn is too far away ok is false, and the login is refused unchecked.
func (t *Tries) Begin(from netip.Addr, account string, now time.Time) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.m[keyOfTry(from, account)]
	if e == nil || e.failed < freeTries {
		return 0, true
	}
	if wait = max(0, e.next.Sub(now)); wait > t.longest {
		return 0, false
	}
	e.next = now.Add(wait + t.delay(e.failed))
	return wait, true
}

// keyOfTry is the key of a claimed name, which may be as long as a packet.
func keyOfTry(from netip.Addr, account string) tryKey {
	return tryKey{from, account[:min(len(account), MaxName)]}
}

// Failed notes a wrong password.
func (t *Tries) Failed(from netip.Addr, account string, now time.Time) {
	if t.longest <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := keyOfTry(from, account)
	key.account = strings.Clone(key.account) // of a whole packet, it may be a part
	e := t.m[key]
	if e == nil || now.Sub(e.next) > forgetTry {
		if e == nil && len(t.m) >= maxTries {
			t.evict()
		}
		e = &try{next: now}
		t.m[key] = e
	}
	e.failed++
	if next := now.Add(t.delay(e.failed)); next.After(e.next) {
		e.next = next
	}
}

// Passed notes the right one: what was wrong before is forgotten.
func (t *Tries) Passed(from netip.Addr, account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, keyOfTry(from, account))
}

// delay follows that many wrong passwords.
func (t *Tries) delay(failed int) time.Duration {
	if failed < freeTries {
		return 0
	}
	return min(firstDelay<<min(failed-freeTries, 30), t.longest)
}

// evict forgets the oldest of a few pairs. Whoever fills the memory to be forgotten
// himself needs tens of thousands of wrong passwords for it. The caller holds mu.
func (t *Tries) evict() {
	var oldest tryKey
	var at time.Time
	seen := 0
	for key, e := range t.m { // Go begins anywhere
		if seen == 0 || e.next.Before(at) {
			oldest, at = key, e.next
		}
		if seen++; seen == evictAmong {
			break
		}
	}
	delete(t.m, oldest)
}

package core_test

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
)

// A connection ends while the next one of its client begins: each will is
// published when, and only when, its own connection breaks.
func TestWillsOfQuickReconnectsAreNotMixedUp(t *testing.T) {
	for name, graceful := range map[string]bool{"said goodbye": true, "broke": false} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			watch := h.attach(durable("u", "watch"))
			watch.set(func(d *device) { d.ack = true })
			watch.subscribe(core.Subscription{Filter: "will", QoS: 1})
			marker := h.attach(clean("u", "marker"))
			// wills counts what has come since the last call, by payload.
			wills := func() map[string]int {
				marker.publish("will", "end", 1, false)
				count := map[string]int{}
				watch.until(t, "end", func() bool { n := len(watch.got); return n > 0 && watch.got[n-1].Payload == "end" })
				watch.set(func(d *device) {
					for _, x := range d.got {
						count[x.Payload]++
					}
					d.got = nil
				})
				return count
			}
			for round := range 1500 {
				old := h.attach(willedBy("old"))
				var start atomic.Bool
				var leaving sync.WaitGroup
				leaving.Go(func() {
					for !start.Load() {
						// both at the same moment, as near as can be
					}
					old.leave(graceful)
				})
				runtime.Gosched()
				start.Store(true)
				next := h.attach(willedBy("new"))
				leaving.Wait()
				// A takeover is not a goodbye: what was first counts.
				if got := wills(); got["new"] > 0 || !graceful && got["old"] != 1 {
					t.Fatalf("round %d: wills %v while the new connection is there", round, got)
				}
				next.leave(false)
				if got := wills(); got["new"] != 1 || got["old"] != 0 {
					t.Fatalf("round %d: wills %v when the new connection has broken", round, got)
				}
				h.attach(durable("u", "w")).leave(true)
			}
		})
	}
}

func willedBy(payload string) core.Attach {
	req := durable("u", "w")
	req.Will = &core.Message{Topic: "will", Payload: []byte(payload), QoS: 1}
	return req
}

// The stream of a stuck device is resumed elsewhere: what was put aside for it
// comes first.
func TestWhatWasPutAsideComesWithAResumedStream(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("ada", "bob")
	x, y := h.join("ada", "x"), h.join("ada", "y")
	p := h.attach(clean("bob", "p"))
	x.set(func(d *device) { d.ack = true })
	y.set(func(d *device) { d.full = true })
	p.mail("ada", "y", "1 for y")
	p.mail("ada", "x", "for x")
	x.expect(t, "for x")
	var b core.Batch
	y.Suspend(&b)
	again := h.attach(core.Attach{Address: core.Address{Account: "ada", Resource: "y"}, Shared: true, Silent: true, Protocol: "xmpp"})
	p.mail("ada", "y", "2 for y")
	again.expect(t, "1 for y", "2 for y")
}

// Of two connections that want a session the journal has the claim of the first,
// and refuses the second: neither is let in, and nothing of them stays.
func TestRefusedClaimLeavesNothingBehind(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	watch := h.attach(durable("u", "watch"))
	watch.subscribe(core.Subscription{Filter: "will", QoS: 1})
	store.Hold()
	var b core.Batch
	first, second := make(chan error, 1), make(chan error, 1)
	req := willedBy("of the first")
	req.Device, req.Expiry = newDevice(), time.Millisecond
	h.Attach(&b, req, func(_ *core.Batch, _ *core.Attachment, _ bool, err error) { first <- err })
	req = willedBy(strings.Repeat("x", 2<<20)) // more than a record holds
	req.Device = newDevice()
	h.Attach(&b, req, func(_ *core.Batch, _ *core.Attachment, _ bool, err error) { second <- err })
	if err := <-second; !errors.Is(err, core.ErrQuota) {
		t.Errorf("second connection: %v", err)
	}
	store.Release()
	if err := <-first; !errors.Is(err, core.ErrTakenOver) {
		t.Errorf("first connection: %v", err)
	}
	until(t, "the end of the session that nobody is on", func() bool { return h.Counters.SessionsExpired.Load() == 1 })
	h, _ = h.crash(store)
	watch = h.attach(durable("u", "watch"))
	h.attach(clean("u", "p")).publish("will", "end", 1, false)
	watch.expect(t, "end")
}

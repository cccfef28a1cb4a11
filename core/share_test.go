package core_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
)

// shared is a subscription to the group's share of "t".
func shared(qos core.QoS) core.Subscription {
	return core.Subscription{Filter: "$share/g/t", QoS: qos}
}

// together waits until the devices have n deliveries of messages between them, and
// returns how many each has.
func together(t *testing.T, n int, clients ...*client) []int {
	t.Helper()
	counts := make([]int, len(clients))
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		sum := 0
		for i, c := range clients {
			c.mu.Lock()
			counts[i] = 0
			for _, d := range c.got {
				if !d.Release {
					counts[i]++
				}
			}
			c.mu.Unlock()
			sum += counts[i]
		}
		switch {
		case sum > n:
			t.Fatalf("%v deliveries, want %d together", counts, n)
		case sum == n:
			return counts
		case time.Now().After(deadline):
			for _, c := range clients {
				t.Logf("%s: %s", c.Address(), c.list())
			}
			t.Fatalf("%v deliveries, want %d together", counts, n)
		}
	}
}

// settled waits until all that was queued for the journal is applied and given away.
func (c *client) settled() {
	c.hub.t.Helper()
	done := make(chan struct{})
	var b core.Batch
	c.Subscribe(&b, []core.Subscription{{Filter: "settled"}}, func(*core.Batch, []error) { close(done) })
	<-done
}

func TestSharedMessageGoesToOneMemberInTurn(t *testing.T) {
	for kind, req := range map[string]func(account, id string) core.Attach{"clean": clean, "durable": durable} {
		for qos := core.QoS(0); qos <= 2; qos++ {
			t.Run(fmt.Sprint(kind, qos), func(t *testing.T) {
				h := newHub(t, bus.NewMemory())
				a, b, p := h.attach(req("u", "a")), h.attach(req("v", "b")), h.attach(clean("u", "p"))
				a.subscribe(shared(2))
				b.subscribe(shared(2))
				for i := range 20 {
					p.publish("t", fmt.Sprint(i), qos, false)
				}
				p.settled()
				// A member takes by itself, too, so that turns are not exact.
				if got := together(t, 20, a, b); min(got[0], got[1]) < 7 {
					t.Errorf("the members got %v of 20", got)
				}
				seen := map[string]bool{}
				for _, d := range append(a.got, b.got...) {
					if seen[d.Payload] || d.QoS != qos {
						t.Errorf("delivered %+v", d)
					}
					seen[d.Payload] = true
				}
			})
		}
	}
}

func TestGroupsAndOrdinarySubscriptionsEachGetTheMessage(t *testing.T) {
	for kind, req := range map[string]core.Attach{"clean": clean("u", "a"), "durable": durable("u", "a")} {
		t.Run(kind, func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			a, p := h.attach(req), h.attach(clean("u", "p"))
			a.subscribe(
				core.Subscription{Filter: "$share/g/t", QoS: 1, ID: 1},
				core.Subscription{Filter: "$share/h/t", QoS: 1, ID: 2},
				core.Subscription{Filter: "$share/h/+", QoS: 1, ID: 3},
				core.Subscription{Filter: "t", QoS: 1, ID: 4})
			p.publish("t", "x", 1, false)
			together(t, 4, a)
			ids := map[uint32]bool{}
			for _, d := range a.got {
				if len(d.SubIDs) != 1 {
					t.Fatalf("delivered %+v", d)
				}
				ids[d.SubIDs[0]] = true
			}
			if len(ids) != 4 {
				t.Errorf("subscription identifiers %v", ids)
			}
		})
	}
}

func TestSharedDeliveryHasTheLowerQoS(t *testing.T) {
	for kind, req := range map[string]core.Attach{"clean": clean("u", "a"), "durable": durable("u", "a")} {
		for sub := core.QoS(0); sub <= 2; sub++ {
			for pub := core.QoS(0); pub <= 2; pub++ {
				h := newHub(t, bus.NewMemory())
				a, p := h.attach(req), h.attach(clean("u", "p"))
				a.subscribe(shared(sub))
				p.publish("t", "x", pub, false)
				if got := a.expect(t, "x"); got[0].QoS != min(sub, pub) {
					t.Errorf("%s: published at %d, subscribed at %d, delivered at %d", kind, pub, sub, got[0].QoS)
				}
				h.stop()
			}
		}
	}
}

func TestSharedSubscriptionThatIsRefused(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	a := h.attach(clean("u", "a"))
	for _, c := range []struct {
		sub  core.Subscription
		want error
	}{
		{core.Subscription{Filter: "$share/g/t"}, nil},
		{core.Subscription{Filter: "$share//t"}, core.ErrBadTopic},
		{core.Subscription{Filter: "$share/g"}, core.ErrBadTopic},
		{core.Subscription{Filter: "$share/+/t"}, core.ErrBadTopic},
		{core.Subscription{Filter: "$share/g/t#"}, core.ErrBadTopic},
		{core.Subscription{Filter: "$share/g/t", NoLocal: true}, core.ErrBadTopic},
		{core.Subscription{Filter: "$share/g/$inbox/v/#"}, core.ErrForbidden},
		{core.Subscription{Filter: "$share"}, core.ErrForbidden},
	} {
		var b core.Batch
		done := make(chan error, 1)
		a.Subscribe(&b, []core.Subscription{c.sub}, func(_ *core.Batch, errs []error) { done <- errs[0] })
		if err := <-done; !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.sub, err, c.want)
		}
	}
}

func TestSharedSubscriptionGetsNoRetainedMessages(t *testing.T) {
	for kind, req := range map[string]core.Attach{"clean": clean("u", "a"), "durable": durable("u", "a")} {
		t.Run(kind, func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			a, p := h.attach(req), h.attach(clean("u", "p"))
			p.publish("t", "kept", 1, true)
			a.subscribe(core.Subscription{Filter: "$share/g/t", QoS: 1, RetainAsPublished: true})
			p.publish("t", "live", 1, true)
			if got := a.expect(t, "live"); !got[0].Retain {
				t.Error("retain as published is not obeyed")
			}
		})
	}
}

func TestUnsubscribedMemberGetsNothingMore(t *testing.T) {
	for kind, req := range map[string]func(account, id string) core.Attach{"clean": clean, "durable": durable} {
		t.Run(kind, func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			a, b, p := h.attach(req("u", "a")), h.attach(req("u", "b")), h.attach(clean("u", "p"))
			a.subscribe(shared(1))
			b.subscribe(shared(1))
			done := make(chan []error, 1)
			var batch core.Batch
			a.Unsubscribe(&batch, []string{"$share/g/t", "t"}, func(_ *core.Batch, errs []error) { done <- errs })
			if errs := <-done; errs[0] != nil || !errors.Is(errs[1], core.ErrNotFound) {
				t.Fatalf("results %v", errs)
			}
			p.publish("t", "1", 1, false)
			p.publish("t", "2", 1, false)
			b.expect(t, "1", "2")
			a.expect(t)
		})
	}
}

func TestGroupWaitsForADurableMember(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	a, b, p := h.attach(durable("u", "a")), h.attach(durable("u", "b")), h.attach(clean("u", "p"))
	a.subscribe(shared(1))
	b.subscribe(shared(1))
	a.leave(true)
	b.leave(true)
	dropped := h.Counters.DroppedShared.Load()
	p.publish("t", "not kept", 0, false)
	if n := h.Counters.DroppedShared.Load() - dropped; n != 1 {
		t.Errorf("%d messages are counted as dropped", n)
	}
	p.publish("t", "1", 1, false)
	p.publish("t", "2", 2, false)
	b = h.attach(durable("u", "b"))
	b.expect(t, "1", "2")
	a = h.attach(durable("u", "a"))
	p.publish("t", "end", 1, false)
	p.publish("t", "end", 1, false)
	together(t, 4, a, b)
}

func TestMembersWithRoomGetWhatAStuckOneCannotTake(t *testing.T) {
	for kind, req := range map[string]func(account, id string) core.Attach{"clean": clean, "durable": durable} {
		for qos := core.QoS(0); qos <= 2; qos++ {
			t.Run(fmt.Sprint(kind, qos), func(t *testing.T) {
				h := newHub(t, bus.NewMemory())
				a, b, p := h.attach(req("u", "a")), h.attach(req("u", "b")), h.attach(clean("u", "p"))
				a.subscribe(shared(2))
				b.subscribe(shared(2))
				a.set(func(d *device) { d.full = true })
				b.set(func(d *device) { d.ack = true })
				for i := range 600 { // more than windows hold
					p.publish("t", fmt.Sprint(i), qos, false)
				}
				want := 600
				if qos == 2 && kind == "durable" {
					want = 599 // one was to be sent when the device had no room any more
				}
				until(t, "600 messages", func() bool { return b.payloads() >= want })
			})
		}
	}
}

// payloads is how many messages came.
func (c *client) payloads() int { return c.count(false) }

// releases is how many PUBRELs came.
func (c *client) releases() int { return c.count(true) }

func (c *client) count(release bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, d := range c.got {
		if d.Release == release {
			n++
		}
	}
	return n
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s", what)
		}
	}
}

func TestMembersWindowIsNotExceeded(t *testing.T) {
	for kind, req := range map[string]core.Attach{"clean": clean("u", "a"), "durable": durable("u", "a")} {
		t.Run(kind, func(t *testing.T) {
			req.Window = 2
			h := newHub(t, bus.NewMemory())
			a, p := h.attach(req), h.attach(clean("u", "p"))
			a.subscribe(shared(1))
			for i := range 4 {
				p.publish("t", fmt.Sprint(i), 1, false)
			}
			p.settled()
			got := a.expect(t, "0", "1")
			if len(got) != 2 {
				t.Fatalf("%d deliveries are out, the window is 2", len(got))
			}
			var b core.Batch
			for _, d := range got {
				if err := a.Ack(&b, d.Packet); err != nil {
					t.Fatal(err)
				}
			}
			a.expect(t, "0", "1", "2", "3")
		})
	}
}

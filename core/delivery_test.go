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

func TestMessageReachesMatchingCleanSessions(t *testing.T) {
	for qos := core.QoS(0); qos <= 2; qos++ {
		t.Run(fmt.Sprint("qos", qos), func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			a, b, p := h.attach(clean("u", "a")), h.attach(clean("u", "b")), h.attach(clean("u", "p"))
			a.subscribe(core.Subscription{Filter: "plant/+/temp", QoS: 2})
			b.subscribe(core.Subscription{Filter: "other", QoS: 2})
			p.publish("plant/7/temp", "21", qos, false)
			p.publish("other", "x", qos, false)
			if got := a.expect(t, "21"); got[0].QoS != qos || got[0].From != "u/p" {
				t.Errorf("delivered %+v", got[0])
			}
			b.expect(t, "x")
		})
	}
}

func TestOverlappingSubscriptionsDeliverOnce(t *testing.T) {
	for name, req := range map[string]core.Attach{"clean": clean("u", "a"), "durable": durable("u", "a")} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			a, p := h.attach(req), h.attach(clean("u", "p"))
			a.subscribe(core.Subscription{Filter: "a/#", QoS: 1, ID: 1}, core.Subscription{Filter: "a/+", QoS: 2, ID: 2})
			p.publish("a/b", "one", 2, false)
			p.publish("a/b", "two", 2, false)
			got := a.expect(t, "one", "two")
			if len(got) != 2 || got[0].QoS != 2 || len(got[0].SubIDs) != 2 {
				t.Errorf("delivered %+v", got)
			}
		})
	}
}

func TestDurableSessionGetsWhatItMissed(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	if a.present {
		t.Error("a new session is present")
	}
	a.subscribe(core.Subscription{Filter: "t", QoS: 2})
	p.publish("t", "1", 1, false)
	got := a.expect(t, "1")
	a.leave(true)
	p.publish("t", "2", 2, false)
	p.publish("t", "3", 1, false)
	p.publish("t", "not kept", 0, false)

	a = h.attach(durable("u", "a"))
	if !a.present {
		t.Error("the session is gone")
	}
	again := a.expect(t, "1", "2", "3")
	if !again[0].Dup || again[0].Packet != got[0].Packet {
		t.Errorf("unacknowledged: first %+v, again %+v", got[0], again[0])
	}
	if again[1].Dup || again[1].QoS != 2 {
		t.Errorf("second is %+v", again[1])
	}
}

func TestRestartKeepsWhatWasAcknowledgedToPublishers(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.subscribe(core.Subscription{Filter: "t/#", QoS: 1})
	a.leave(true)
	for i := range 300 {
		p.publish("t/x", fmt.Sprint(i), 1+core.QoS(i%2), i == 299)
	}
	p.leave(true)
	h.stop()

	h = newHub(t, store)
	a = h.attach(durable("u", "a"))
	if !a.present {
		t.Fatal("the session did not survive")
	}
	a.mu.Lock()
	a.ack = true
	first := append([]delivery(nil), a.got...)
	a.mu.Unlock()
	for _, d := range first {
		a.acks.Add(1)
		a.acknowledge(d.Delivery)
	}
	want := make([]string, 300)
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	a.expect(t, want...)
	a.acks.Wait()

	late := h.attach(clean("u", "late"))
	late.subscribe(core.Subscription{Filter: "t/+", QoS: 0})
	if got := late.expect(t, "299"); !got[0].Retain {
		t.Error("a retained message came without the retain flag")
	}
}

func TestAcknowledgedDeliveriesAreNotRepeatedAfterRestart(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.ack = true
	a.subscribe(core.Subscription{Filter: "t", QoS: 2})
	for i := range 50 {
		p.publish("t", fmt.Sprint(i), 2, false)
	}
	a.until(t, "50 messages released", func() bool {
		n := 0
		for _, d := range a.got {
			if d.Release {
				n++
			}
		}
		return n == 50
	})
	a.acks.Wait()
	a.leave(true)
	h.stop()

	h = newHub(t, store)
	a = h.attach(durable("u", "a"))
	p = h.attach(clean("u", "p"))
	p.publish("t", "fresh", 1, false)
	a.expect(t, "fresh")
}

func TestInboundQoS2IsPublishedOnce(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	sub, p := h.attach(durable("u", "sub")), h.attach(durable("u", "p"))
	sub.subscribe(core.Subscription{Filter: "t", QoS: 1})
	p.publishAs("t", "once", 2, false, 7)
	p.publishAs("t", "once", 2, false, 7)
	p.leave(false)
	h.stop()

	h = newHub(t, store) // PUBREC was lost: the client sends again
	p = h.attach(durable("u", "p"))
	p.publishAs("t", "once", 2, false, 7)
	p.release(7)
	p.publishAs("t", "another", 2, false, 7)
	sub = h.attach(durable("u", "sub"))
	if got := sub.expect(t, "once", "another"); len(got) != 2 {
		t.Errorf("got %d deliveries", len(got))
	}
}

func TestReleaseOfUnknownPacketIsNotFound(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	p := h.attach(clean("u", "p"))
	var b core.Batch
	if _, err := p.Release(&b, 9, 1); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("Release: %v", err)
	}
	if err := p.Ack(&b, 9); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("Ack: %v", err)
	}
	if err := p.Received(&b, 9); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("Received: %v", err)
	}
}

func TestFullDeviceGoesOnWhereItStopped(t *testing.T) {
	for name, req := range map[string]core.Attach{"clean": clean("u", "a"), "durable": durable("u", "a")} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			a, p := h.attach(req), h.attach(clean("u", "p"))
			a.subscribe(core.Subscription{Filter: "t", QoS: 1})
			a.mu.Lock()
			a.full = true
			a.mu.Unlock()
			for i := range 10 {
				p.publish("t", fmt.Sprint(i), 1, false)
			}
			a.mu.Lock()
			a.full = false
			a.mu.Unlock()
			var b core.Batch
			a.Drained(&b)
			a.expect(t, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
		})
	}
}

func TestWindowBoundsUnacknowledgedDeliveries(t *testing.T) {
	for name, req := range map[string]core.Attach{"clean": clean("u", "a"), "durable": durable("u", "a")} {
		t.Run(name, func(t *testing.T) {
			req.Window = 2
			h := newHub(t, bus.NewMemory())
			a, p := h.attach(req), h.attach(clean("u", "p"))
			a.subscribe(core.Subscription{Filter: "t", QoS: 1})
			for i := range 4 {
				p.publish("t", fmt.Sprint(i), 1, false)
			}
			got := a.expect(t, "0", "1")
			if len(got) != 2 {
				t.Fatalf("%d deliveries are out, the window is 2", len(got))
			}
			var b core.Batch
			if err := a.Ack(&b, got[0].Packet); err != nil {
				t.Fatal(err)
			}
			a.expect(t, "0", "1", "2")
		})
	}
}

func TestNewConnectionTakesTheSessionOver(t *testing.T) {
	for name, req := range map[string]core.Attach{"clean": clean("u", "a"), "durable": durable("u", "a")} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			old := h.attach(req)
			fresh := h.attach(req)
			old.until(t, "the end", func() bool { return old.closed != nil })
			if !errors.Is(old.closed, core.ErrTakenOver) {
				t.Errorf("closed with %v", old.closed)
			}
			if fresh.present != !req.Clean {
				t.Errorf("present %t", fresh.present)
			}
			old.leave(false) // too late to matter
			fresh.subscribe(core.Subscription{Filter: "t", QoS: 1})
			h.attach(clean("u", "p")).publish("t", "x", 1, false)
			fresh.expect(t, "x")
		})
	}
}

func TestCleanStartForgetsTheSession(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	a := h.attach(durable("u", "a"))
	a.subscribe(core.Subscription{Filter: "t", QoS: 1})
	a.leave(true)
	req := durable("u", "a")
	req.Clean = true
	if a = h.attach(req); a.present {
		t.Error("a clean start found a session")
	}
	a.leave(true)
	h.attach(clean("u", "a")).leave(true)
	h.stop()
	h = newHub(t, store)
	if a = h.attach(durable("u", "a")); a.present {
		t.Error("a session of a clean connection came back")
	}
}

func TestWillIsPublishedUnlessTheDeviceSaysGoodbye(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	w := h.attach(clean("u", "w"))
	w.subscribe(core.Subscription{Filter: "will", QoS: 1})
	for _, graceful := range []bool{true, false} {
		req := clean("u", "dying")
		req.Will = &core.Message{Topic: "will", Payload: fmt.Append(nil, graceful), QoS: 1}
		h.attach(req).leave(graceful)
	}
	w.expect(t, "false")
}

func TestRetainedMessage(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	p := h.attach(clean("u", "p"))
	p.publish("r/1", "old", 0, true)
	p.publish("r/1", "new", 1, true)
	p.publish("r/2", "gone", 1, true)
	p.publish("r/2", "", 1, true)
	a := h.attach(clean("u", "a"))
	a.subscribe(core.Subscription{Filter: "r/#", QoS: 1})
	if got := a.expect(t, "new"); !got[0].Retain || len(got) != 1 {
		t.Errorf("got %s", a.list())
	}
	p.publish("r/1", "live", 1, true)
	if got := a.expect(t, "new", "live"); got[1].Retain {
		t.Error("a live message has the retain flag [MQTT-3.3.1-9]")
	}
	b := h.attach(clean("u", "b"))
	b.subscribe(core.Subscription{Filter: "r/#", QoS: 1, RetainHandling: 2})
	p.publish("r/3", "x", 1, false)
	b.expect(t, "x")
}

func TestUnsubscribeStopsDeliveries(t *testing.T) {
	for name, req := range map[string]core.Attach{"clean": clean("u", "a"), "durable": durable("u", "a")} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			a, p := h.attach(req), h.attach(clean("u", "p"))
			a.subscribe(core.Subscription{Filter: "a", QoS: 1}, core.Subscription{Filter: "b", QoS: 1})
			done := make(chan []error, 1)
			var batch core.Batch
			a.Unsubscribe(&batch, []string{"a", "never"}, func(_ *core.Batch, errs []error) { done <- errs })
			if errs := <-done; errs[0] != nil || !errors.Is(errs[1], core.ErrNotFound) {
				t.Fatalf("results %v", errs)
			}
			p.publish("a", "no", 1, false)
			p.publish("b", "yes", 1, false)
			a.expect(t, "yes")
		})
	}
}

// A second SUBSCRIBE replaces the first [MQTT-3.8.4-3], and the log goes on serving it.
func TestSubscribingAgainKeepsDeliveries(t *testing.T) {
	for _, filter := range []string{"t", "$share/g/t"} {
		for kind, req := range map[string]core.Attach{"clean": clean("u", "a"), "durable": durable("u", "a")} {
			h := newHub(t, bus.NewMemory())
			a, p := h.attach(req), h.attach(clean("u", "p"))
			a.subscribe(core.Subscription{Filter: filter, QoS: 1})
			a.subscribe(core.Subscription{Filter: filter, QoS: 2, ID: 7})
			p.publish("t", "x", 2, false)
			if got := a.expect(t, "x"); got[0].QoS != 2 || len(got[0].SubIDs) != 1 {
				t.Errorf("%s %s: delivered %+v", kind, filter, got[0])
			}
			h.stop()
		}
	}
}

func willed(id string, delay time.Duration) core.Attach {
	req := durable("u", id)
	req.Will = &core.Message{Topic: "will", Payload: []byte(id), QoS: 1}
	req.WillDelay = delay
	return req
}

func TestWillsOfAHubThatDiedArePublishedOnce(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	w := h.attach(durable("u", "w"))
	w.subscribe(core.Subscription{Filter: "will", QoS: 1})
	h.attach(willed("now", 0))
	h.attach(willed("goodbye", 0)).leave(true)
	late := h.attach(willed("late", time.Hour))
	late.leave(false)
	h.attach(durable("u", "late")) // in time: the will is withdrawn
	h.kill()

	for range 2 {
		store = store.Reopen()
		h = newHub(t, store)
		w = h.attach(durable("u", "w"))
		if got := w.expect(t, "now"); len(got) != 1 {
			t.Errorf("wills: %s", w.list())
		}
		h.kill()
	}
}

func TestDelayedWillIsPublishedWhenNobodyComesBack(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	w := h.attach(clean("u", "w"))
	w.subscribe(core.Subscription{Filter: "will", QoS: 1})
	soon := willed("soon", 10*time.Millisecond)
	soon.Will.Expires = time.Hour.Milliseconds()
	h.attach(soon).leave(false)
	got := w.expect(t, "soon")
	if left := time.Until(time.UnixMilli(got[0].Expires)); left < 59*time.Minute || left > time.Hour {
		t.Errorf("the will's message is of use for %v, want an hour from its publishing on", left)
	}
	gone := h.attach(willed("begins anew", time.Hour))
	gone.leave(false)
	anew := durable("u", "begins anew")
	anew.Clean = true
	h.attach(anew)
	w.expect(t, "soon", "begins anew")
}

func TestResumeNeedsTheSessionsTag(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	h.register("ada", "bob")
	req := durable("ada", "x")
	req.Tag, req.Inbox, req.Silent = "secret", true, true
	c := h.attach(req)
	var b core.Batch
	c.SetPresence(&b, &core.Presence{Kind: core.Available})
	rt, err := c.Route([]byte("$inbox/bob/ada"))
	if err != nil {
		t.Fatal(err)
	}
	pending, err := c.Publish(&b, rt, &core.Message{Payload: []byte("hi"), QoS: 1, Number: 17}, 0, 1)
	if err != nil || !pending {
		t.Fatalf("pending %t, %v", pending, err)
	}
	c.wait(1)
	if pending, err := c.Count(19, 2); err != nil || !pending {
		t.Fatalf("pending %t, %v", pending, err)
	}
	c.wait(2)
	c.Suspend(&b)
	if len(h.DevicesOf("ada")) != 1 {
		t.Error("a suspended device is not present any more")
	}
	h.kill()

	h = newHub(t, store.Reopen())
	for tag, want := range map[string]error{"wrong": core.ErrNotFound, "secret": nil} {
		again := req
		again.Tag, again.Resume, again.Device = tag, true, newDevice()
		got := make(chan error, 1)
		h.Attach(&b, again, func(_ *core.Batch, att *core.Attachment, present bool, err error) {
			if err == nil && (!present || att.Handled() != 19) {
				t.Errorf("resumed: present %t, handled %d", present, att.Handled())
			}
			got <- err
		})
		if err := <-got; !errors.Is(err, want) {
			t.Errorf("resuming with tag %q: %v, want %v", tag, err, want)
		}
	}
}

// A device that takes nothing more holds up what is for it alone, in order, and
// nothing that is for the account's others.
func TestStuckDeviceHoldsUpNoOtherOfItsAccount(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("ada", "bob")
	x, y := h.join("ada", "x"), h.join("ada", "y")
	p := h.attach(clean("bob", "p"))
	x.set(func(d *device) { d.ack = true })
	y.set(func(d *device) { d.full = true })
	var forY []string
	for n := range 300 { // more than a window holds
		forY = append(forY, fmt.Sprint(n, " for y"))
		p.mail("ada", "y", forY[n])
	}
	p.mail("ada", "x", "for x")
	forY = append(forY, "one more for y")
	p.mail("ada", "y", forY[300])
	p.mail("ada", "", "for all")
	x.expect(t, "for x", "for all")
	y.expect(t)
	y.set(func(d *device) { d.full, d.ack = false, true })
	var b core.Batch
	y.Drained(&b)
	y.expect(t, forY...)
	y.acks.Wait() // what it has not acknowledged would be for the others
	y.set(func(d *device) { d.full = true })
	p.mail("ada", "y", "for y or others")
	p.mail("ada", "x", "end")
	x.expect(t, "for x", "for all", "end")
	x.acks.Wait()
	y.leave(false)
	x.expect(t, "for x", "for all", "end", "for y or others")
}

func TestMessageToOneDeviceOfAnAccount(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("ada", "bob")
	x, y := h.join("ada", "x"), h.join("ada", "y")
	p := h.attach(clean("bob", "p"))
	p.mail("ada", "y", "for y")
	p.mail("ada", "", "for all")
	p.mail("ada", "gone", "for whoever is there")
	x.expect(t, "for all", "for whoever is there")
	y.expect(t, "for y", "for all", "for whoever is there")
	y.leave(false) // it has acknowledged nothing
	x.expect(t, "for all", "for whoever is there", "for y", "for all", "for whoever is there")
}

func TestSuspendedDeviceIsAbsentOnceItsSessionEnds(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("ada")
	watcher := h.online("ada", "watcher")
	req := durable("ada", "x")
	req.Tag, req.Inbox, req.Silent, req.Expiry = "tag", true, true, 50*time.Millisecond
	c := h.attach(req)
	var b core.Batch
	c.SetPresence(&b, &core.Presence{Kind: core.Available})
	watcher.presence(t, core.Available, "ada/x")
	c.Suspend(&b)
	watcher.presence(t, core.Unavailable, "ada/x")
}

func TestCheckpointReplacesTheLogBeforeIt(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.subscribe(core.Subscription{Filter: "t/#", QoS: 2, ID: 5}, core.Subscription{Filter: "q0"})
	a.leave(true)
	h.attach(willed("late", time.Hour)).leave(false)
	for i := range 20 {
		p.publish("t/x", fmt.Sprint(i), 1+core.QoS(i%2), false)
	}
	h.stop() // writes a checkpoint
	h = newHub(t, store)
	p = h.attach(clean("u", "p"))
	p.publish("t/x", "after", 1, false)
	h.stop()

	h = newHub(t, store)
	a = h.attach(durable("u", "a"))
	want := make([]string, 21)
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	want[20] = "after"
	got := a.expect(t, want...)
	if !a.present || len(got) != 21 || len(got[0].SubIDs) != 1 || len(a.Subscriptions()) != 2 {
		t.Errorf("present %t, %d deliveries, subscriptions %+v", a.present, len(got), a.Subscriptions())
	}
}

func TestTooFarBehindLosesTheOldestAndIsCounted(t *testing.T) {
	h := newHubWith(t, bus.NewMemory(), core.Options{OfflineMessages: 10})
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.subscribe(core.Subscription{Filter: "t", QoS: 1})
	a.leave(true)
	for i := range 25 {
		p.publish("t", fmt.Sprint(i), 1, false)
	}
	for deadline := time.Now().Add(patience); h.Counters.DroppedOffline.Load() != 15; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d dropped, want 15", h.Counters.DroppedOffline.Load())
		}
	}
	a = h.attach(durable("u", "a"))
	a.expect(t, "15", "16", "17", "18", "19", "20", "21", "22", "23", "24")
}

// A full disk refuses the PUBREC; the device comes back; the hub dies. Had the
// new connection been sent PUBREL, the message would come twice.
func TestRefusedReceiptIsNotReleasedToANewConnection(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.subscribe(core.Subscription{Filter: "t", QoS: 2})
	p.publish("t", "once", 2, false)
	got := a.expect(t, "once")
	store.FailAppend(errors.New("disk full"))
	var b core.Batch
	if err := a.Received(&b, got[0].Packet); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	p.Subscribe(&b, []core.Subscription{{Filter: "after"}}, func(_ *core.Batch, _ []error) { done <- nil })
	<-done // what was queued before has been refused
	a.leave(false)
	store.FailAppend(nil)
	a = h.attach(durable("u", "a"))
	if got = a.expect(t, "once"); got[0].Release || !got[0].Dup {
		t.Fatalf("the new connection gets %s", a.list())
	}
	if err := a.Received(&b, got[0].Packet); err != nil {
		t.Fatal(err)
	}
	a.until(t, "PUBREL", func() bool { return a.got[len(a.got)-1].Release })
}

func TestRefusedReceiptIsTriedAgain(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.subscribe(core.Subscription{Filter: "t", QoS: 2})
	p.publish("t", "once", 2, false)
	got := a.expect(t, "once")
	store.FailAppend(errors.New("disk full"))
	var b core.Batch
	if err := a.Received(&b, got[0].Packet); err != nil {
		t.Fatal(err)
	}
	store.FailAppend(nil)
	a.until(t, "PUBREL", func() bool { return a.got[len(a.got)-1].Release })
}

// A session ends while a stream asks to resume it: the stream goes on without,
// and its next attachment is not taken for a rival.
func TestResumeOfASessionThatJustEnded(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	req := durable("u", "x")
	req.Tag = "tag"
	c := h.attach(req)
	store.Hold()
	var b core.Batch
	c.SetExpiry(0)
	c.Detach(&b, true) // its end waits for the store
	dev := newDevice()
	again := req
	again.Resume, again.Device = true, dev
	got := make(chan error, 2)
	h.Attach(&b, again, func(_ *core.Batch, _ *core.Attachment, _ bool, err error) { got <- err })
	store.Release()
	if err := <-got; !errors.Is(err, core.ErrNotFound) {
		t.Fatalf("resuming: %v", err)
	}
	bind := clean("u", "x")
	bind.Device = dev
	h.Attach(&b, bind, func(_ *core.Batch, _ *core.Attachment, _ bool, err error) { got <- err })
	if err := <-got; err != nil || dev.closed != nil {
		t.Errorf("binding: %v, closed with %v", err, dev.closed)
	}
}

// Two connections want one session while the store is slow: the first is never on
// it. What it sent would be stored behind the second one's claim, and published
// again when the second one repeats it.
func TestOnlyTheLastOfSeveralClaimsIsBound(t *testing.T) {
	for name, last := range map[string]core.Attach{"durable": durable("u", "x"), "ending": {Address: core.Address{Account: "u", Resource: "x"}, Clean: true}} {
		t.Run(name, func(t *testing.T) {
			store := bus.NewMemory()
			h := newHub(t, store)
			h.attach(durable("u", "x")).leave(true)
			first := durable("u", "x")
			first.Will = &core.Message{Topic: "will", Payload: []byte("of the first"), QoS: 1}
			w := h.attach(durable("u", "watcher"))
			w.subscribe(core.Subscription{Filter: "will", QoS: 1})
			store.Hold()
			errs := make(chan error, 2)
			var b core.Batch
			for _, req := range []core.Attach{first, last} {
				req.Device = newDevice()
				h.Attach(&b, req, func(_ *core.Batch, _ *core.Attachment, _ bool, err error) { errs <- err })
			}
			store.Release()
			if err := <-errs; !errors.Is(err, core.ErrTakenOver) {
				t.Errorf("the first connection: %v, want that it was taken over", err)
			}
			if err := <-errs; err != nil {
				t.Errorf("the last connection: %v", err)
			}
			h.stop() // whose wills are published when the next hub starts
			h = newHub(t, store)
			h.attach(clean("u", "p")).publish("will", "end", 1, false)
			h.attach(durable("u", "watcher")).expect(t, "end")
		})
	}
}

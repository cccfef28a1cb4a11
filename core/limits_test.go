package core_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
)

// ask subscribes and returns the results.
func (c *client) ask(filters ...string) []error {
	done := c.begin(filters...)
	return <-done
}

// begin subscribes and does not wait.
func (c *client) begin(filters ...string) chan []error {
	subs := make([]core.Subscription, len(filters))
	for i, f := range filters {
		subs[i] = core.Subscription{Filter: f, QoS: 1}
	}
	done := make(chan []error, 1) // sent by the router, once
	var b core.Batch
	c.Subscribe(&b, subs, func(_ *core.Batch, errs []error) { done <- append([]error(nil), errs...) })
	b.Flush()
	return done
}

func outcome(errs []error) string {
	s := ""
	for _, err := range errs {
		switch {
		case err == nil:
			s += "."
		case errors.Is(err, core.ErrQuota):
			s += "Q"
		default:
			s += "?"
		}
	}
	return s
}

func TestSessionHasAtMostSoManySubscriptions(t *testing.T) {
	for name, req := range map[string]core.Attach{"clean": clean("u", "a"), "durable": durable("u", "a")} {
		t.Run(name, func(t *testing.T) {
			store := bus.NewMemory()
			h := newHubWith(t, store, core.Options{Subscriptions: 3})
			a := h.attach(req)
			for _, c := range []struct {
				filters []string
				want    string
			}{
				{[]string{"a", "a", "b"}, "..."},       // the same filter twice is one
				{[]string{"b", "c", "d", "a"}, "..Q."}, // what it has, it may replace
				{[]string{"e", "e"}, "QQ"},
			} {
				if got := outcome(a.ask(c.filters...)); got != c.want {
					t.Errorf("%v: %s, want %s", c.filters, got, c.want)
				}
			}
			if n := len(a.Subscriptions()); n != 3 {
				t.Errorf("it has %d subscriptions", n)
			}
			done := make(chan []error, 1)
			var b core.Batch
			a.Unsubscribe(&b, []string{"b"}, func(_ *core.Batch, errs []error) { done <- errs })
			b.Flush()
			<-done
			if got := outcome(a.ask("d", "e")); got != ".Q" {
				t.Errorf("after one was given back: %s", got)
			}
			if h.Counters.OverSubscribed.Load() != 4 {
				t.Errorf("%d were counted", h.Counters.OverSubscribed.Load())
			}
		})
	}
}

func TestSubscriptionsOnTheirWayToTheJournalCount(t *testing.T) {
	h := newHubWith(t, bus.NewMemory(), core.Options{Subscriptions: 100})
	a := h.attach(durable("u", "a"))
	var asked []chan []error
	for i := range 50 { // 10 requests of 10 new filters, each asked for five times
		filters := make([]string, 10)
		for j := range filters {
			filters[j] = fmt.Sprint("f", i/5, "/", j)
		}
		asked = append(asked, a.begin(filters...))
	}
	over := a.begin("one more")
	for i, done := range asked {
		if got := outcome(<-done); got != strings.Repeat(".", 10) {
			t.Errorf("request %d: %s", i, got)
		}
	}
	if got := outcome(<-over); got != "Q" {
		t.Errorf("one more: %s", got)
	}
	if n := len(a.Subscriptions()); n != 100 {
		t.Errorf("it has %d subscriptions", n)
	}
	if got := outcome(a.ask("one more")); got != "Q" {
		t.Errorf("later: %s", got)
	}
}

func TestSubscriptionsOverALoweredLimitStay(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	h.attach(durable("u", "a")).ask("a", "b", "c")
	h.stop()
	h = newHubWith(t, store, core.Options{Subscriptions: 2})
	a := h.attach(durable("u", "a"))
	if got := outcome(a.ask("a", "d")); got != ".Q" || len(a.Subscriptions()) != 3 {
		t.Errorf("%s, and it has %v", got, a.Subscriptions())
	}
}

func TestTopicsBeyondTheLimits(t *testing.T) {
	h := newHubWith(t, bus.NewMemory(), core.Options{TopicBytes: 20, TopicLevels: 3})
	a := h.attach(clean("u", "a"))
	for name, good := range map[string]bool{
		"a/b/c": true, "a/b/c/d": false, strings.Repeat("x", 20): true, strings.Repeat("x", 21): false,
	} {
		_, err := a.Route([]byte(name))
		sub := a.ask(name)[0]
		will := clean("u", "w")
		will.Device, will.Will = newDevice(), &core.Message{Topic: name}
		attached := make(chan error, 1)
		var b core.Batch
		h.Attach(&b, will, func(_ *core.Batch, _ *core.Attachment, _ bool, err error) { attached <- err })
		b.Flush()
		for what, err := range map[string]error{"a publication": err, "a subscription": sub, "a will": <-attached} {
			if good != (err == nil) || !good && !errors.Is(err, core.ErrBadTopic) {
				t.Errorf("%s to %q: %v", what, name, err)
			}
		}
	}
	if errs := a.ask("$SYS/broker/load/messages/received/1min"); errs[0] != nil {
		t.Errorf("the hub's own topics are not limited: %v", errs[0])
	}
}

// tooOld is how long messages may wait in the tests.
const tooOld = 700 * time.Millisecond

func TestMessagesThatWaitTooLongForWhoIsAwayAreDropped(t *testing.T) {
	h := newHubWith(t, bus.NewMemory(), core.Options{OfflineAge: tooOld, Window: 1})
	away, there := h.attach(durable("u", "away")), h.attach(durable("u", "there"))
	sub := core.Subscription{Filter: "t", QoS: 1}
	away.subscribe(sub)
	there.subscribe(sub)
	away.leave(true)
	p := h.attach(clean("u", "p"))
	p.publish("t", "old 1", 1, false)
	p.publish("t", "old 2", 1, false)
	slow := there.expect(t, "old 1") // the second has no room in the window
	waitFor(t, "what is old to be dropped", func() bool { return h.Counters.DroppedOld.Load() >= 2 })
	p.publish("t", "new", 1, false)
	h.attach(durable("u", "away")).expect(t, "new")
	there.set(func(d *device) { d.ack = true })
	var b core.Batch
	if err := there.Ack(&b, slow[0].Packet); err != nil {
		t.Fatal(err)
	}
	b.Flush()
	there.expect(t, "old 1", "old 2", "new")
	if n := h.Counters.DroppedOld.Load(); n != 2 {
		t.Errorf("%d were dropped", n)
	}
	there.acks.Wait()
}

func TestMessagesThatWaitTooLongForAGroupAreDropped(t *testing.T) {
	h := newHubWith(t, bus.NewMemory(), core.Options{OfflineAge: tooOld})
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.subscribe(shared(1))
	a.leave(true)
	p.publish("t", "old 1", 1, false)
	p.publish("t", "old 2", 1, false)
	waitFor(t, "what is old to be dropped", func() bool { return h.Counters.DroppedOld.Load() == 2 })
	p.publish("t", "new", 1, false)
	h.attach(durable("u", "a")).expect(t, "new")
}

func TestRestartMakesNothingYoungAgain(t *testing.T) {
	store := bus.NewMemory()
	h := newHubWith(t, store, core.Options{OfflineAge: tooOld})
	away := h.attach(durable("u", "away"))
	away.subscribe(core.Subscription{Filter: "t", QoS: 1})
	away.leave(true)
	p := h.attach(clean("u", "p"))
	p.publish("t", "old", 1, false)
	p.leave(true)
	h.stop()
	<-time.After(tooOld)

	h = newHubWith(t, store, core.Options{OfflineAge: tooOld})
	begun := time.Now()
	waitFor(t, "what is old to be dropped", func() bool { return h.Counters.DroppedOld.Load() == 1 })
	if took := time.Since(begun); took > tooOld {
		t.Errorf("it was dropped %v after the start", took)
	}
}

// waitFor waits for what another goroutine is about to do.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waiting for %s", what)
		}
	}
}

package core_test

import (
	"fmt"
	"testing"

	"pushhub/bus"
	"pushhub/core"
	"pushhub/core/journal"
)

// A message is in the journal only when something of it has to outlive the hub;
// it is published once either way.
func TestQoS2IsStoredWhenItHasTo(t *testing.T) {
	for name, c := range map[string]struct {
		publisher, subscriber core.Attach
		retain, stored        bool
	}{
		"clean to clean":   {publisher: clean("u", "p"), subscriber: clean("u", "s")},
		"durable to clean": {publisher: durable("u", "p"), subscriber: clean("u", "s"), stored: true},
		"clean to durable": {publisher: clean("u", "p"), subscriber: durable("u", "s"), stored: true},
		"retained":         {publisher: clean("u", "p"), subscriber: clean("u", "s"), retain: true, stored: true},
	} {
		t.Run(name, func(t *testing.T) {
			store := bus.NewMemory()
			h := newHub(t, store)
			s, p := h.attach(c.subscriber), h.attach(c.publisher)
			s.subscribe(core.Subscription{Filter: "t", QoS: 2})
			p.publishAs("t", "once", 2, c.retain, 7)
			p.publishAs("t", "once", 2, c.retain, 7)
			p.release(7)
			p.publishAs("t", "another", 2, c.retain, 7)
			s.expect(t, "once", "another")
			if n := len(bodies(t, store, journal.KindPub)); (n > 0) != c.stored {
				t.Errorf("%d records of messages, want some: %t", n, c.stored)
			}
		})
	}
}

// What has to be stored is not overtaken by what need not be.
func TestQoS2KeepsItsOrderBehindWhatIsBeingStored(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	s, p := h.attach(clean("u", "s")), h.attach(clean("u", "p"))
	s.subscribe(core.Subscription{Filter: "t", QoS: 2})
	store.Hold()
	var b core.Batch
	for i, retain := range []bool{true, false} {
		rt, err := p.Route([]byte("t"))
		if err != nil {
			t.Fatal(err)
		}
		m := core.Message{Payload: []byte(fmt.Sprint(i)), QoS: 2, Retain: retain}
		if pending, err := p.Publish(&b, rt, &m, uint16(i+1), uint64(i+1)); !pending || err != nil {
			t.Errorf("message %d: pending %t, %v", i, pending, err)
		}
	}
	store.Release()
	s.expect(t, "0", "1")
}

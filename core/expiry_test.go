package core_test

import (
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
)

// An MQTT 5 client may ask for the session that it left and, in the same CONNECT, that it end with the connection.
func TestSessionIsResumedByAConnectionWithoutExpiry(t *testing.T) {
	for name, will := range map[string]*core.Message{"": nil, "with a will": {Topic: "will"}} {
		t.Run(name, func(t *testing.T) {
			store := bus.NewMemory()
			h := newHub(t, store)
			a := h.attach(durable("u", "a"))
			a.subscribe(core.Subscription{Filter: "t", QoS: 1})
			a.leave(true)
			h.attach(clean("u", "p")).publish("t", "missed", 1, false)

			last := durable("u", "a")
			last.Expiry, last.Will = 0, will
			if a = h.attach(last); !a.present {
				t.Error("the session is gone") // [MQTT-3.1.2-5] [MQTT-3.2.2-3]
			}
			a.expect(t, "missed")
			a.leave(true)
			if a = h.attach(durable("u", "a")); a.present {
				t.Error("the session outlived a connection without expiry")
			}
		})
	}
}

// A session ends when its time is over, not when the hub gets round to it [MQTT-4.1.0-2].
func TestSessionIsNotResumedAfterItsExpiry(t *testing.T) {
	for _, expiry := range []time.Duration{time.Hour, 0} {
		h := newHubWith(t, bus.NewMemory(), core.Options{Flush: time.Hour})
		req := durable("u", "a")
		req.Expiry = time.Millisecond
		a := h.attach(req)
		a.subscribe(core.Subscription{Filter: "t", QoS: 1})
		a.leave(true)
		over := time.NewTimer(2 * time.Millisecond)
		<-over.C
		req.Expiry = expiry
		if a = h.attach(req); a.present {
			t.Error("an expired session is present")
		}
		h.attach(clean("u", "p")).publish("t", "no", 1, false)
		a.subscribe(core.Subscription{Filter: "other", QoS: 1})
		h.attach(clean("u", "p")).publish("other", "yes", 1, false)
		a.expect(t, "yes")
	}
}

func TestSessionLastsAsLongAsItsConnection(t *testing.T) {
	h := newHubWith(t, bus.NewMemory(), core.Options{Flush: 100 * time.Microsecond})
	req := durable("u", "a")
	req.Expiry = time.Millisecond
	a := h.attach(req)
	a.subscribe(core.Subscription{Filter: "t", QoS: 1})
	rounds := time.NewTimer(20 * time.Millisecond) // in which the hub looks for sessions whose time is over
	<-rounds.C
	h.attach(clean("u", "p")).publish("t", "still there", 1, false)
	a.expect(t, "still there") // [MQTT-4.1.0-1]
}

func TestDelayedWillIsNotPublishedWhenTheDeviceComesBack(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	w := h.attach(clean("u", "w"))
	w.subscribe(core.Subscription{Filter: "will", QoS: 1})
	h.attach(willed("back", 20*time.Millisecond)).leave(false)
	h.attach(durable("u", "back")) // [MQTT-3.1.3-9]
	h.attach(willed("later", 40*time.Millisecond)).leave(false)
	w.expect(t, "later")
}

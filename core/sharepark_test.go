package core_test

import (
	"fmt"
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
	"pushhub/core/auth"
)

// plant is everybody's share of a tree of which eve may not see one topic.
var plant = core.Subscription{Filter: "$share/g/plant/#", QoS: 2}

func plantHub(t *testing.T, opt core.Options) *hub {
	t.Helper()
	rule := auth.Rule{Account: "eve", Action: auth.ActionSubscribe, Filter: "plant/secret"}
	opt.ACL = auth.NewACL([]auth.Rule{rule})
	return newHubWith(t, bus.NewMemory(), opt)
}

// The member who may receive it has no room when it comes. No flush comes either.
func TestMemberGetsWhatOnlyItMayReceiveAsItFindsRoom(t *testing.T) {
	for kind, req := range map[string]core.Attach{"clean": clean("eve", "x"), "durable": durable("eve", "x")} {
		t.Run(kind, func(t *testing.T) {
			h := plantHub(t, core.Options{Flush: time.Hour})
			narrow := durable("ada", "x")
			narrow.Window = 2
			eve, ada, p := h.attach(req), h.attach(narrow), h.attach(clean("u", "p"))
			eve.subscribe(plant)
			ada.subscribe(plant)
			for i := range 200 {
				p.publish("plant/secret", fmt.Sprint(i), 1, false)
			}
			p.publish("plant/open", "end", 1, false)
			eve.expect(t, "end")
			for n := 0; n < 200; {
				ada.until(t, "the next ones", func() bool { return len(ada.got) > n })
				ada.mu.Lock()
				fresh := ada.got[n:len(ada.got):len(ada.got)]
				ada.mu.Unlock()
				for _, d := range fresh {
					if d.Payload != fmt.Sprint(n) {
						t.Fatalf("delivery %d is %q", n, d.Payload)
					}
					n++
					var b core.Batch
					if err := ada.Ack(&b, d.Packet); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// Much waits for a member that is away; a flush finds nothing to do about it.
func TestWhatWaitsForAMemberThatIsAwayHoldsNobodyUp(t *testing.T) {
	h := plantHub(t, core.Options{Flush: time.Millisecond})
	eve, ada, p := h.attach(clean("eve", "x")), h.attach(durable("ada", "x")), h.attach(clean("u", "p"))
	eve.set(func(d *device) { d.ack = true })
	eve.subscribe(plant)
	ada.subscribe(plant)
	ada.leave(false)
	const many = 3000
	for i := range many {
		p.publish("plant/secret", fmt.Sprint(i), 1, false)
		p.publish("plant/open", fmt.Sprint(i), 1, false)
	}
	until(t, "what eve may receive", func() bool { return eve.payloads() == many })
	ada = h.attach(durable("ada", "x"))
	ada.set(func(d *device) { d.ack = true })
	h.attach(clean("eve", "y")).subscribe(plant)
	var b core.Batch
	for _, d := range ada.expect(t, "0") { // those that came before it acknowledged by itself
		_ = ada.Ack(&b, d.Packet)
	}
	until(t, "what waited", func() bool { return ada.payloads() == many })
}

func TestWhatNobodyOfTheGroupMayReceiveAnyMoreIsDropped(t *testing.T) {
	for kind, req := range map[string]core.Attach{"clean": clean("ada", "x"), "durable": durable("ada", "x")} {
		t.Run(kind, func(t *testing.T) {
			h := plantHub(t, core.Options{Flush: time.Hour})
			eveReq := clean("eve", "x")
			if kind == "durable" {
				eveReq = durable("eve", "x")
			}
			eve, ada, p := h.attach(eveReq), h.attach(req), h.attach(clean("u", "p"))
			eve.subscribe(plant)
			ada.subscribe(plant)
			ada.set(func(d *device) { d.full = true })
			p.publish("plant/secret", "1", 1, false)
			p.publish("plant/secret", "2", 1, false)
			p.settled()
			ada.SetExpiry(0)
			ada.leave(false)
			until(t, "both dropped", func() bool { return h.Counters.Forbidden.Load() == 2 })
			p.publish("plant/open", "3", 1, false)
			p.publish("plant/open", "4", 1, false)
			eve.expect(t, "3", "4")
		})
	}
}

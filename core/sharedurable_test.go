package core_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
	"pushhub/core/auth"
	"pushhub/core/journal"
)

// crash ends a hub as kill -9 does, and starts another on what was stored.
func (h *hub) crash(store *bus.Memory) (*hub, *bus.Memory) {
	h.t.Helper()
	store.FailRows(errors.New("the process is gone"))
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = store.Close(gone)
	h.kill()
	store.FailRows(nil)
	store = store.Reopen()
	return newHub(h.t, store), store
}

func TestUnacknowledgedStaysWithADurableMember(t *testing.T) {
	for qos := core.QoS(1); qos <= 2; qos++ {
		t.Run(fmt.Sprint("qos", qos), func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
			a.subscribe(shared(2))
			p.publish("t", "1", qos, false)
			first := a.expect(t, "1")
			b := h.attach(durable("u", "b"))
			b.subscribe(shared(2))
			a.leave(false)
			p.publish("t", "2", qos, false)
			b.expect(t, "2")
			a = h.attach(durable("u", "a"))
			again := a.expect(t, "1")
			if !again[0].Dup || again[0].Packet != first[0].Packet {
				t.Errorf("first %+v, again %+v", first[0], again[0])
			}
			p.settled()
			together(t, 2, a, b)
		})
	}
}

// What ends the session of a member, and whether what it was sent goes on.
func TestEndOfAMembersSessionFreesWhatItHas(t *testing.T) {
	ends := map[string]func(h *hub, c *client){
		"disconnect of a clean session": func(_ *hub, c *client) { c.leave(false) },
		"expiry": func(_ *hub, c *client) {
			c.SetExpiry(0)
			c.leave(true)
		},
		"clean start": func(h *hub, c *client) {
			req := durable(c.Address().Account, c.Address().Resource)
			req.Clean = true
			h.attach(req)
		},
		"takeover by a clean session": func(h *hub, c *client) { h.attach(clean(c.Address().Account, c.Address().Resource)) },
	}
	for name, end := range ends {
		for qos := core.QoS(1); qos <= 2; qos++ {
			for _, logged := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " qos", qos, " logged ", logged), func(t *testing.T) {
					h := newHub(t, bus.NewMemory())
					req := durable("u", "a")
					if name == "disconnect of a clean session" || !logged {
						req = clean("u", "a")
					}
					if name == "expiry" && !logged {
						t.Skip("a clean session does not expire")
					}
					a, p := h.attach(req), h.attach(clean("u", "p"))
					a.subscribe(shared(2))
					other := clean("u", "b")
					if logged {
						other = durable("u", "b")
					}
					b := h.attach(other)
					b.set(func(d *device) { d.full = true })
					b.subscribe(shared(2))
					p.publish("t", "1", qos, false)
					p.publish("t", "2", qos, false)
					p.publish("t", "end", 1, false)
					until(t, "deliveries", func() bool { return a.payloads() >= 2 })
					b.set(func(d *device) { d.full = false })
					end(h, a)
					var batch core.Batch
					b.Drained(&batch)
					b.until(t, "the last one", func() bool {
						for _, d := range b.got {
							if d.Payload == "end" {
								return true
							}
						}
						return false
					})
					p.settled()
					if qos == 1 {
						together(t, 3, b)
						return
					}
					together(t, 4, a, b) // "end" twice: it is QoS 1
					seen := map[string]bool{"end": true}
					for _, d := range append(a.got, b.got...) {
						if d.Payload != "end" && seen[d.Payload] {
							t.Errorf("%q was sent twice [MQTT-4.8.2-5]", d.Payload)
						}
						seen[d.Payload] = true
					}
				})
			}
		}
	}
}

func TestGroupSurvivesACrash(t *testing.T) {
	for qos := core.QoS(1); qos <= 2; qos++ {
		t.Run(fmt.Sprint("qos", qos), func(t *testing.T) {
			store := bus.NewMemory()
			h := newHub(t, store)
			a, b, p := h.attach(durable("u", "a")), h.attach(durable("u", "b")), h.attach(clean("u", "p"))
			a.subscribe(shared(2))
			b.subscribe(shared(2))
			a.leave(true)
			b.set(func(d *device) { d.ack = true })
			for i := range 10 {
				p.publish("t", fmt.Sprint(i), qos, false)
			}
			until(t, "what b gets", func() bool {
				return b.payloads() == 10 && (qos == 1 || b.releases() == 10)
			})
			b.acks.Wait()
			b.leave(true)
			for i := range 10 {
				p.publish("t", fmt.Sprint(10+i), qos, false)
			}
			p.publish("t", "wait", 2, false)
			h, _ = h.crash(store)
			a = h.attach(durable("u", "a"))
			seen := map[string]int{}
			a.until(t, "what waits", func() bool {
				clear(seen)
				for _, d := range a.got {
					seen[d.Payload]++
				}
				for i := range 10 {
					if seen[fmt.Sprint(10+i)] == 0 {
						return false
					}
				}
				return seen["wait"] > 0
			})
			for payload, n := range seen {
				var i int
				_, _ = fmt.Sscan(payload, &i)
				if qos == 2 && (i < 10 && payload != "wait" || n > 1) {
					t.Errorf("%s came again, %d times", payload, n)
				}
			}
		})
	}
}

func TestCheckpointKeepsWhatMembersHave(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	a, b, p := h.attach(durable("u", "a")), h.attach(durable("u", "b")), h.attach(clean("u", "p"))
	a.subscribe(shared(2))
	b.subscribe(shared(2))
	for i := range 10 {
		p.publish("t", fmt.Sprint(i), 1+core.QoS(i%2), false)
	}
	together(t, 10, a, b)
	had := map[string]bool{}
	for _, d := range a.got {
		had[d.Payload] = true
	}
	a.leave(true)
	b.leave(true)
	p.publish("t", "waits", 1, false)
	h.stop()
	h = newHub(t, store)
	a = h.attach(durable("u", "a"))
	a.until(t, "its own and what waits", func() bool { return len(a.got) == len(had)+1 })
	for _, d := range a.got {
		if !had[d.Payload] && d.Payload != "waits" || d.Dup != had[d.Payload] {
			t.Errorf("a gets %q, dup %t; it had %v", d.Payload, d.Dup, had)
		}
	}
	b = h.attach(durable("u", "b"))
	together(t, 11, a, b)
}

// A clean member of a group with durable ones: what it was sent at QoS 2 is nobody
// else's, also when the hub dies.
func TestQoS2OfACleanMemberIsNotSentToAnotherAfterACrash(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	a, c, p := h.attach(durable("u", "a")), h.attach(clean("u", "c")), h.attach(clean("u", "p"))
	a.subscribe(shared(2))
	c.subscribe(shared(2))
	a.leave(true)
	p.publish("t", "two", 2, false)
	p.publish("t", "one", 1, false)
	c.until(t, "both", func() bool { return len(c.got) == 2 })
	h, _ = h.crash(store)
	a = h.attach(durable("u", "a"))
	h.attach(clean("u", "p")).publish("t", "end", 1, false)
	a.expect(t, "one", "end")
}

// Publishers send all at once while a member comes and goes.
func TestGroupUnderLoad(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	var members []*client
	for _, req := range []core.Attach{durable("u", "a"), durable("u", "b"), clean("u", "c"), durable("u", "restless")} {
		m := h.attach(req)
		m.set(func(d *device) { d.ack = true })
		m.subscribe(shared(2))
		members = append(members, m)
	}
	const publishers, each = 4, 150
	var wg sync.WaitGroup
	for i := range publishers {
		p := h.attach(clean("u", fmt.Sprint("p", i)))
		wg.Go(func() {
			for n := range each {
				p.publish("t", fmt.Sprint(i, "/", n), 1+core.QoS(n%2), false)
			}
		})
	}
	for range 50 {
		members[len(members)-1].leave(false)
		again := h.attach(durable("u", "restless"))
		again.set(func(d *device) { d.ack = true })
		members = append(members, again)
	}
	wg.Wait()
	seen := map[string]map[string]bool{} // members by payload
	until(t, "all messages", func() bool {
		for _, m := range members {
			m.mu.Lock()
			for _, d := range m.got {
				if d.Release {
					continue
				}
				if seen[d.Payload] == nil {
					seen[d.Payload] = map[string]bool{}
				}
				seen[d.Payload][m.Address().Resource] = true
			}
			m.mu.Unlock()
		}
		return len(seen) == publishers*each
	})
	for payload, who := range seen {
		if len(who) != 1 {
			t.Errorf("%s was delivered to %v", payload, who)
		}
	}
}

// What a member handed back unsent is in another's window by the time of the crash,
// and its own window, as the journal has it, still shows it.
func TestHandedBackIsNotDeliveredTwiceAfterACrash(t *testing.T) {
	store := bus.NewMemory()
	h := newHubWith(t, store, core.Options{Flush: time.Hour})
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.subscribe(shared(2))
	a.set(func(d *device) { d.full = true })
	p.publish("t", "once", 2, false)
	p.settled() // twice: what a is about to be sent is stored
	p.settled()
	b := h.attach(durable("u", "b"))
	b.subscribe(shared(2))
	a.leave(false)
	b.expect(t, "once")
	h, _ = h.crash(store)
	a, p = h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	p.publish("t", "end", 2, false)
	a.expect(t, "end")
	b = h.attach(durable("u", "b"))
	if got := b.expect(t, "once"); !got[0].Dup {
		t.Errorf("b gets %s", b.list())
	}
}

func TestMessageThatAMemberMayNotReceiveGoesToAnother(t *testing.T) {
	rule := auth.Rule{Account: "eve", Action: auth.ActionSubscribe, Filter: "plant/secret"}
	for kind, req := range map[string]func(account, id string) core.Attach{"clean": clean, "durable": durable} {
		for qos := core.QoS(0); qos <= 2; qos++ {
			t.Run(fmt.Sprint(kind, qos), func(t *testing.T) {
				h := newHubWith(t, bus.NewMemory(), core.Options{ACL: auth.NewACL([]auth.Rule{rule})})
				eve, ada, p := h.attach(req("eve", "x")), h.attach(req("ada", "x")), h.attach(clean("u", "p"))
				all := core.Subscription{Filter: "$share/g/plant/#", QoS: 2}
				eve.subscribe(all)
				ada.subscribe(all)
				for i := range 4 {
					p.publish("plant/secret", fmt.Sprint(i), qos, false)
				}
				ada.expect(t, "0", "1", "2", "3")
				if kind == "clean" || qos == 0 {
					return
				}
				ada.leave(false)
				p.publish("plant/secret", "waits for ada", qos, false)
				p.publish("plant/open", "end", qos, false)
				eve.expect(t, "end")
				ada = h.attach(durable("ada", "x"))
				ada.expect(t, "0", "1", "2", "3", "waits for ada")
			})
		}
	}
}

// journaled reports whether the log knows that a share has nothing open, and that
// its cursor is behind all messages.
func journaled(t *testing.T, store *bus.Memory) bool {
	t.Helper()
	var last, cursor journal.Position
	open := uint64(1)
	for seq := uint64(1); ; seq++ {
		frame, err := store.Journal().Read(t.Context(), seq)
		if err != nil {
			return cursor > last && open == 0
		}
		records, err := journal.Split(frame)
		if err != nil {
			t.Fatal(err)
		}
		for i, raw := range records {
			var rec journal.Record
			if err := rec.Decode(raw); err != nil {
				t.Fatal(err)
			}
			switch rec.Kind {
			case journal.KindPub:
				last = journal.At(seq, i)
			case journal.KindShare:
				d := journal.Decoder{Rest: rec.Body}
				d.Bytes()
				cursor, open = journal.Position(d.Uvarint()), d.Uvarint()
			}
		}
	}
}

func TestAcknowledgedOfAGroupIsNotRepeatedAfterACrash(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	a := h.attach(durable("u", "a"))
	a.subscribe(shared(1))
	h, store = h.crash(store) // also what is empty must come back
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.set(func(d *device) { d.ack = true })
	for i := range 50 {
		p.publish("t", fmt.Sprint(i), 1, false)
	}
	until(t, "50 deliveries", func() bool { return a.payloads() == 50 })
	a.acks.Wait()
	until(t, "the share in the journal", func() bool { return journaled(t, store) })
	h, _ = h.crash(store)
	a = h.attach(durable("u", "a"))
	h.attach(clean("u", "p")).publish("t", "fresh", 1, false)
	a.expect(t, "fresh")
}

func TestGroupTooFarBehindLosesTheOldest(t *testing.T) {
	h := newHubWith(t, bus.NewMemory(), core.Options{OfflineMessages: 10})
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.subscribe(shared(1))
	a.leave(true)
	for i := range 25 {
		p.publish("t", fmt.Sprint(i), 1, false)
	}
	until(t, "15 dropped", func() bool { return h.Counters.DroppedOffline.Load() == 15 })
	a = h.attach(durable("u", "a"))
	a.expect(t, "15", "16", "17", "18", "19", "20", "21", "22", "23", "24")
}

func TestExpiredMessageOfAGroupIsNotDelivered(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.subscribe(shared(1))
	a.leave(true)
	rt, err := p.Route([]byte("t"))
	if err != nil {
		t.Fatal(err)
	}
	var b core.Batch
	if _, err := p.Publish(&b, rt, &core.Message{Payload: []byte("old"), QoS: 1, Expires: time.Now().UnixMilli() - 1}, 0, 99); err != nil {
		t.Fatal(err)
	}
	p.publish("t", "end", 1, false)
	a = h.attach(durable("u", "a"))
	a.expect(t, "end")
}

// What members have does not count against what may wait, nor is it dropped: also
// after a start, at which the share learns late who has what.
func TestWhatMembersHaveIsNotDroppedAfterAStart(t *testing.T) {
	store := bus.NewMemory()
	opt := core.Options{OfflineMessages: 10, Flush: time.Millisecond}
	h := newHubWith(t, store, opt)
	a, b, p := h.attach(durable("u", "a")), h.attach(durable("u", "b")), h.attach(clean("u", "p"))
	a.subscribe(shared(1))
	b.subscribe(shared(1))
	b.leave(true)
	for i := range 5 {
		p.publish("t", fmt.Sprint("held", i), 1, false)
	}
	until(t, "what a has", func() bool { return a.payloads() == 5 })
	a.leave(false)
	for i := range 8 {
		p.publish("t", fmt.Sprint("wait", i), 1, false)
	}
	h.stop()
	h = newHubWith(t, store, opt)
	far := h.attach(durable("u", "far"))
	far.subscribe(core.Subscription{Filter: "far", QoS: 1})
	far.leave(false)
	p = h.attach(clean("u", "p"))
	for range 11 {
		p.publish("far", "x", 1, false)
	}
	// Both are looked at in one go: once a session's is dropped, what the share had is in doubt no more.
	until(t, "one dropped", func() bool { return h.Counters.DroppedOffline.Load() > 0 })
	p.publish("far", "x", 1, false)
	until(t, "another dropped", func() bool { return h.Counters.DroppedOffline.Load() != 1 })
	if n := h.Counters.DroppedOffline.Load(); n != 2 {
		t.Errorf("%d messages were dropped, want 2", n)
	}
	req := durable("u", "a")
	req.Clean = true
	h.attach(req)
	b = h.attach(durable("u", "b"))
	until(t, "all of them", func() bool { return b.payloads() == 13 })
}

// As above, but who takes it is not durable: a record of the share says that it is
// done, and the first one's window still shows it.
func TestHandedBackToACleanMemberIsNotDeliveredTwiceAfterACrash(t *testing.T) {
	store := bus.NewMemory()
	h := newHubWith(t, store, core.Options{Flush: time.Hour})
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.subscribe(shared(2))
	a.set(func(d *device) { d.full = true })
	p.publish("t", "once", 2, false)
	p.settled() // twice: what a is about to be sent is stored
	p.settled()
	b := h.attach(clean("u", "b"))
	b.subscribe(shared(2))
	a.leave(false)
	b.expect(t, "once")
	h, _ = h.crash(store)
	a, p = h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	p.publish("t", "end", 2, false)
	a.expect(t, "end")
}

// The journal knows that it was about to be sent, and the device had no room. That
// it goes to another must be known to the journal, too.
func TestUnsentOfACleanMemberThatLeavesGoesToAnother(t *testing.T) {
	for name, after := range map[string]func(*hub, *bus.Memory) (*hub, *bus.Memory){
		"as it runs":    func(h *hub, store *bus.Memory) (*hub, *bus.Memory) { return h, store },
		"after a crash": func(h *hub, store *bus.Memory) (*hub, *bus.Memory) { return h.crash(store) },
	} {
		t.Run(name, func(t *testing.T) { unsentGoesToAnother(t, after) })
	}
}

func unsentGoesToAnother(t *testing.T, after func(*hub, *bus.Memory) (*hub, *bus.Memory)) {
	store := bus.NewMemory()
	h := newHub(t, store)
	a, c, p := h.attach(durable("u", "a")), h.attach(clean("u", "c")), h.attach(clean("u", "p"))
	a.subscribe(shared(2))
	a.leave(true)
	c.subscribe(shared(2))
	c.set(func(d *device) { d.full = true })
	p.publish("t", "once", 2, false)
	p.settled()
	p.settled()
	c.leave(false)
	p.settled()
	h, store = after(h, store)
	p = h.attach(clean("u", "p"))
	a = h.attach(durable("u", "a"))
	p.publish("t", "end", 2, false)
	a.expect(t, "once", "end")
	p.settled()
	h, _ = h.crash(store)
	for _, d := range h.attach(durable("u", "a")).expect(t, "once", "end") {
		if !d.Dup { // a has had it, under that packet identifier
			t.Errorf("sent again as new: %+v", d)
		}
	}
}

// bodies are the bodies of the journal's records of a kind.
func bodies(t *testing.T, store *bus.Memory, kind journal.Kind) (found [][]byte) {
	t.Helper()
	for seq := uint64(1); ; seq++ {
		frame, err := store.Journal().Read(t.Context(), seq)
		if err != nil {
			return found
		}
		raws, err := journal.Split(frame)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range raws {
			var rec journal.Record
			if err := rec.Decode(raw); err != nil {
				t.Fatal(err)
			}
			if rec.Kind == kind {
				found = append(found, rec.Body)
			}
		}
	}
}

// Neither a delivery to a clean member nor each flush writes all that is open.
func TestJournalIsToldOfALargeGroupInFewBytes(t *testing.T) {
	const many = 6000
	begun := time.Now()
	store := bus.NewMemory()
	h := newHubWith(t, store, core.Options{Flush: time.Millisecond, Window: many})
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.subscribe(shared(1))
	for i := range many {
		p.publish("t", fmt.Sprint(i), 1, false)
	}
	until(t, "what a has", func() bool { return a.payloads() == many })
	c := h.attach(clean("u", "c"))
	c.subscribe(shared(2))
	for i := range 20 {
		p.publish("t", fmt.Sprint("x", i), 2, false)
		until(t, "what c gets", func() bool { return c.payloads() == i+1 })
	}
	told := bodies(t, store, journal.KindDone)
	if len(told) == 0 {
		t.Error("no DONE record")
	}
	for _, body := range told {
		if len(body) > 200 {
			t.Errorf("a DONE record of %d bytes", len(body))
		}
	}
	large := 0
	for _, body := range bodies(t, store, journal.KindShare) {
		if len(body) > 4<<10 {
			large++
		}
	}
	if most := 1 + int(time.Since(begun)/(4*time.Second)); large > most {
		t.Errorf("%d large SHARE records, want at most %d", large, most)
	}
}

// What waits is counted in bytes, too; there has to be room for the newest.
func TestGroupLosesTheOldestBeyondItsBytes(t *testing.T) {
	h := newHubWith(t, bus.NewMemory(), core.Options{OfflineBytes: 10 << 10})
	a, p := h.attach(durable("u", "a")), h.attach(clean("u", "p"))
	a.subscribe(shared(1))
	a.leave(true)
	for i := range 25 {
		p.publish("t", fmt.Sprintf("%02d%01022d", i, 0), 1, false)
	}
	until(t, "16 dropped", func() bool { return h.Counters.DroppedOffline.Load() >= 16 })
	a = h.attach(durable("u", "a"))
	p.publish("t", "end", 1, false)
	a.until(t, "the newest", func() bool { return len(a.got) > 0 && a.got[len(a.got)-1].Payload == "end" })
	a.set(func(d *device) {
		for i, x := range d.got[:len(d.got)-1] {
			if want := fmt.Sprintf("%02d", 25-len(d.got)+1+i); x.Payload[:2] != want {
				t.Errorf("delivery %d is %s, want %s", i, x.Payload[:2], want)
			}
		}
		if n := len(d.got) - 1; n < 8 || n > 9 {
			t.Errorf("%d messages of about 1 KiB were left, want those of 10 KiB", n)
		}
	})
}

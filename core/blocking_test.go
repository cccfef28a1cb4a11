package core_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pushhub/bus"
	"pushhub/core"
)

func (h *hub) block(account string, peers ...core.Address) error {
	done := make(chan error, 1)
	h.Block(account, peers, func(err error) { done <- err })
	return <-done
}

func (h *hub) unblock(account string, peers ...core.Address) error {
	done := make(chan error, 1)
	h.Unblock(account, peers, func(err error) { done <- err })
	return <-done
}

// try sends a direct message, and returns what the hub says to it.
func (c *client) try(account, resource, payload string, qos core.QoS) error {
	c.hub.t.Helper()
	var b core.Batch
	defer b.Flush()
	rt, err := c.Route([]byte(core.InboxTopic(account, c.Address().Account)))
	if err != nil {
		return err
	}
	c.token++
	pending, err := c.Publish(&b, rt, &core.Message{Payload: []byte(payload), QoS: qos, Resource: resource}, uint16(c.token), c.token)
	if pending {
		c.wait(c.token)
	}
	return err
}

func TestMessagesBetweenBlockedAccountsAreRefused(t *testing.T) {
	romeo, phone := core.Address{Account: "romeo"}, core.Address{Account: "romeo", Resource: "phone"}
	other := core.Address{Account: "romeo", Resource: "other"}
	for _, c := range []struct {
		name     string
		blocked  core.Address
		from, to error // romeo/phone to juliet, and back to that device
		back     error // juliet to romeo's account
	}{
		{"account", romeo, core.ErrUnwanted, core.ErrBlocked, core.ErrBlocked},
		{"device", phone, core.ErrUnwanted, core.ErrBlocked, nil},
		{"another device", other, nil, nil, nil},
		{"everybody", core.Address{Account: core.Everybody}, core.ErrUnwanted, core.ErrBlocked, core.ErrBlocked},
		{"another domain", core.Address{Account: "@romeo"}, nil, nil, nil},
		{"another account", core.Address{Account: "mercutio"}, nil, nil, nil},
		{"nobody's account", core.Address{Account: "tybalt"}, nil, nil, nil},
		{"herself", core.Address{Account: "juliet"}, nil, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			h.register("romeo", "juliet", "mercutio")
			r, j := h.attach(clean("romeo", "phone")), h.attach(clean("juliet", "x"))
			check := func(when string, from, to, back error) {
				t.Helper()
				for _, qos := range []core.QoS{0, 1, 2} {
					if err := r.try("juliet", "", "a", qos); !errors.Is(err, from) {
						t.Errorf("%s, QoS %d to juliet: %v, want %v", when, qos, err, from)
					}
					if err := j.try("romeo", "phone", "b", qos); !errors.Is(err, to) {
						t.Errorf("%s, QoS %d to romeo/phone: %v, want %v", when, qos, err, to)
					}
					if err := j.try("romeo", "", "c", qos); !errors.Is(err, back) {
						t.Errorf("%s, QoS %d to romeo: %v, want %v", when, qos, err, back)
					}
				}
				if err := j.try("juliet", "", "d", 1); err != nil {
					t.Errorf("%s, to herself: %v", when, err)
				}
			}
			check("before", nil, nil, nil) // and the routes are cached
			if err := h.block("juliet", c.blocked); err != nil {
				t.Fatal(err)
			}
			before := h.Counters.Forbidden.Load()
			check("blocked", c.from, c.to, c.back)
			refused := uint64(0)
			for _, err := range []error{c.from, c.to, c.back} {
				if err != nil {
					refused += 3
				}
			}
			if got := h.Counters.Forbidden.Load() - before; got != refused {
				t.Errorf("%d counted as forbidden, want %d", got, refused)
			}
			if err := h.unblock("juliet", c.blocked); err != nil {
				t.Fatal(err)
			}
			check("after", nil, nil, nil)
		})
	}
	if !errors.Is(core.ErrUnwanted, core.ErrForbidden) || !errors.Is(core.ErrBlocked, core.ErrForbidden) {
		t.Error("they are not forbidden")
	}
}

func TestBlockListsOutliveTheHub(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	h.register("romeo", "juliet")
	list := []core.Address{{Account: "@"}, {Account: "romeo"}, {Account: "romeo", Resource: "x"}}
	if err := h.block("juliet", list[1], list[0], list[2]); err != nil {
		t.Fatal(err)
	}
	h.kill()
	h = newHub(t, store)
	if got := h.Blocked("juliet"); !slices.Equal(got, list) {
		t.Errorf("%v, want %v", got, list)
	}
	r := h.attach(clean("romeo", "phone"))
	if err := r.try("juliet", "", "a", 1); !errors.Is(err, core.ErrUnwanted) {
		t.Errorf("after a restart: %v", err)
	}
	if err := h.unblock("juliet"); err != nil { // all
		t.Fatal(err)
	}
	if got := h.Blocked("juliet"); len(got) != 0 {
		t.Errorf("%v are blocked", got)
	}
	if err := r.try("juliet", "", "a", 1); err != nil {
		t.Errorf("unblocked: %v", err)
	}
}

func TestBlockListsAreBounded(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("juliet")
	var many []core.Address
	for i := range 1001 {
		many = append(many, core.Address{Account: fmt.Sprint("a", i)})
	}
	if err := h.block("juliet", many...); !errors.Is(err, core.ErrQuota) {
		t.Errorf("too many: %v", err)
	}
	if err := h.block("juliet", core.Address{Account: "@" + strings.Repeat("x", 65<<10)}); !errors.Is(err, core.ErrQuota) {
		t.Errorf("too long: %v", err)
	}
	if err := h.block("juliet", many[1:]...); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
	if err := h.block("juliet", many[0]); !errors.Is(err, core.ErrQuota) {
		t.Errorf("one more: %v", err)
	}
	if err := h.block("nobody", many[0]); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("an unknown account: %v", err)
	}
}

// What was stored before is not delivered once its sender is blocked.
func TestWaitingMessagesOfABlockedSenderAreDropped(t *testing.T) {
	for name, peer := range map[string]core.Address{
		"account": {Account: "romeo"}, "device": {Account: "romeo", Resource: "phone"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			h.register("romeo", "juliet", "nurse")
			if err := h.attach(clean("romeo", "phone")).try("juliet", "", "from romeo", 1); err != nil {
				t.Fatal(err)
			}
			if err := h.attach(clean("nurse", "x")).try("juliet", "", "from the nurse", 1); err != nil {
				t.Fatal(err)
			}
			if err := h.block("juliet", peer); err != nil {
				t.Fatal(err)
			}
			j := h.attach(core.Attach{Address: core.Address{Account: "juliet"}, Shared: true, Protocol: "xmpp"})
			j.expect(t, "from the nurse")
		})
	}
}

// Nobody asks before a will is published.
func TestWillsOfABlockedSenderAreDropped(t *testing.T) {
	for _, qos := range []core.QoS{0, 1, 2} {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			h := newHub(t, bus.NewMemory())
			h.register("romeo", "juliet", "nurse")
			j := h.attach(clean("juliet", "x"))
			j.subscribe(core.Subscription{Filter: "$inbox/juliet/#", QoS: qos})
			if err := h.block("juliet", core.Address{Account: "romeo", Resource: "phone"}); err != nil {
				t.Fatal(err)
			}
			for _, who := range []string{"romeo", "nurse"} {
				c := h.attach(core.Attach{
					Address: core.Address{Account: who, Resource: "phone"}, Clean: true, Protocol: "mqtt",
					Will: &core.Message{Topic: core.InboxTopic("juliet", who), Payload: []byte("will of " + who), QoS: qos},
				})
				c.leave(false)
			}
			j.expect(t, "will of nurse")
		})
	}
}

// withoutPresence fails when a device was told of another since it was reset.
func (c *client) withoutPresence(t *testing.T, from string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.seen {
		if p, ok := n.(*core.Presence); ok && strings.HasPrefix(p.From.String(), from) {
			t.Errorf("%s is told that %s is %v", c.Address(), p.From, p.Kind)
		}
	}
}

func (c *client) forget() { c.set(func(d *device) { d.seen = nil }) }

func TestBlockingHidesPresenceBothWays(t *testing.T) {
	romeo := core.Address{Account: "romeo"}
	h := newHub(t, bus.NewMemory())
	h.register("romeo", "juliet", "nurse")
	h.link("romeo", "juliet")
	h.link("nurse", "juliet")
	r, j, n := h.online("romeo", "phone"), h.online("juliet", "x"), h.online("nurse", "y")
	watcher := h.attach(clean("romeo", "mqtt"))
	watcher.subscribe(core.Subscription{Filter: "$presence/juliet/#"})
	r.presence(t, core.Available, "juliet/x")
	j.presence(t, core.Available, "romeo/phone")
	n.presence(t, core.Available, "juliet/x")
	r.forget()
	j.forget()
	n.forget()
	if err := h.block("juliet", romeo); err != nil {
		t.Fatal(err)
	}
	r.presence(t, core.Unavailable, "juliet/x")
	j.presence(t, core.Unavailable, "romeo/phone")
	n.withoutPresence(t, "juliet")
	j.until(t, "the list", func() bool {
		return slices.ContainsFunc(j.seen, func(n core.Notice) bool {
			p, ok := n.(*core.BlockPush)
			return ok && !p.Removed && slices.Equal(p.Peers, []core.Address{romeo})
		})
	})

	// While it holds, nothing of the one comes to the other: not what changes, not
	// to who comes, not on the topics.
	r.forget()
	j.forget()
	watcher.set(func(d *device) { d.got = nil })
	var b core.Batch
	j.SetPresence(&b, &core.Presence{Kind: core.Available, Show: "away"})
	r.SetPresence(&b, &core.Presence{Kind: core.Available, Show: "away"})
	b.Flush()
	late, mine := h.online("romeo", "late"), h.online("juliet", "late")
	n.presence(t, core.Available, "juliet/late")
	r.withoutPresence(t, "juliet")
	late.withoutPresence(t, "juliet")
	j.withoutPresence(t, "romeo")
	mine.withoutPresence(t, "romeo")
	if watcher.set(func(d *device) {
		if len(d.got) > 0 {
			t.Errorf("the topics tell %s", d.list())
		}
	}); t.Failed() {
		return
	}

	if err := h.unblock("juliet", romeo); err != nil {
		t.Fatal(err)
	}
	r.presence(t, core.Available, "juliet/x")
	late.presence(t, core.Available, "juliet/late")
	j.presence(t, core.Available, "romeo/phone")
	mine.presence(t, core.Available, "romeo/late")
}

func TestBlockingOneDeviceHidesFromItAlone(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("romeo", "juliet")
	h.link("romeo", "juliet")
	phone, tablet, j := h.online("romeo", "phone"), h.online("romeo", "tablet"), h.online("juliet", "x")
	phone.presence(t, core.Available, "juliet/x")
	tablet.presence(t, core.Available, "juliet/x")
	phone.forget()
	tablet.forget()
	if err := h.block("juliet", core.Address{Account: "romeo", Resource: "phone"}); err != nil {
		t.Fatal(err)
	}
	phone.presence(t, core.Unavailable, "juliet/x")
	j.presence(t, core.Unavailable, "romeo/phone")
	tablet.withoutPresence(t, "juliet")
}

// Who blocks is not told of what the blocked one does, and does not show it that
// the block is undone while it blocks, too.
func TestMutualBlocksEndWithTheLast(t *testing.T) {
	romeo, juliet := core.Address{Account: "romeo"}, core.Address{Account: "juliet"}
	h := newHub(t, bus.NewMemory())
	h.register("romeo", "juliet")
	h.link("romeo", "juliet")
	r, j := h.online("romeo", "phone"), h.online("juliet", "x")
	r.presence(t, core.Available, "juliet/x")
	if err := h.block("juliet", romeo); err != nil {
		t.Fatal(err)
	}
	r.presence(t, core.Unavailable, "juliet/x")
	r.forget()
	j.forget()
	for _, err := range []error{h.block("romeo", juliet), h.unblock("juliet", romeo)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r.withoutPresence(t, "juliet")
	j.withoutPresence(t, "romeo")
	if err := h.unblock("romeo", juliet); err != nil {
		t.Fatal(err)
	}
	r.presence(t, core.Available, "juliet/x")
	j.presence(t, core.Available, "romeo/phone")
}

func TestRequestsOfABlockedAccountAreNotRead(t *testing.T) {
	romeo := core.Address{Account: "romeo"}
	h := newHub(t, bus.NewMemory())
	h.register("romeo", "juliet")
	r, j := h.online("romeo", "phone"), h.online("juliet", "x")
	if err := h.block("juliet", romeo); err != nil {
		t.Fatal(err)
	}
	request := func(c *client, to string) error {
		done := make(chan error, 1)
		var b core.Batch
		c.RequestPresence(&b, core.Subscribe, to, nil, func(_ *core.Batch, err error) { done <- err })
		return <-done
	}
	if err := request(r, "juliet"); err != nil {
		t.Errorf("the blocked one learns: %v", err)
	}
	if err := request(j, "romeo"); !errors.Is(err, core.ErrBlocked) {
		t.Errorf("to the blocked one: %v", err)
	}
	h.online("juliet", "y").withoutPresence(t, "romeo")
	j.withoutPresence(t, "romeo")
	if err := r.Signal(new(core.Batch), core.Address{Account: "juliet", Resource: "x"}, &core.Message{}); !errors.Is(err, core.ErrUnwanted) {
		t.Errorf("from the blocked one: %v", err)
	}
	if err := j.Signal(new(core.Batch), core.Address{Account: "romeo", Resource: "phone"}, &core.Message{}); !errors.Is(err, core.ErrBlocked) {
		t.Errorf("to the blocked one: %v", err)
	}
	if err := h.unblock("juliet", romeo); err != nil {
		t.Fatal(err)
	}
	h.online("juliet", "z").withoutPresence(t, "romeo")
}

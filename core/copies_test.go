package core_test

import (
	"testing"

	"pushhub/bus"
	"pushhub/core"
)

// copying is online, and wants copies of what its account's other devices send and are given.
func (h *hub) copying(account, resource string) *client {
	h.t.Helper()
	c := h.online(account, resource)
	c.WantCopies(true)
	return c
}

// talk sends a message of which the other devices may have copies.
func (c *client) talk(account, resource, payload string, qos core.QoS) {
	c.hub.t.Helper()
	rt, err := c.Route([]byte(core.InboxTopic(account, c.Address().Account)))
	if err != nil {
		c.hub.t.Fatal(err)
	}
	c.token++
	var b core.Batch
	pending, err := c.Publish(&b, rt, &core.Message{Payload: []byte(payload), QoS: qos, Resource: resource, Copies: true}, 0, c.token)
	b.Flush()
	if err != nil {
		c.hub.t.Fatal(err)
	}
	if pending {
		c.wait(c.token)
	}
}

// copied waits for exactly these payloads, each of them a copy of that kind.
func (c *client) copied(kind core.Copy, payloads ...string) {
	c.hub.t.Helper()
	for _, d := range c.expect(c.hub.t, payloads...) {
		if d.Copy != kind || d.QoS != 0 || d.Packet != 0 || d.To.Address() != c.Address() {
			c.hub.t.Errorf("%s was given %q as %d at QoS %d to %s", c.Address(), d.Payload, d.Copy, d.QoS, d.To.Address())
		}
	}
	if got := c.given(); got != len(payloads) {
		c.hub.t.Errorf("%s was given %d messages, want %q", c.Address(), got, payloads)
	}
}

func (c *client) given() (n int) {
	c.set(func(d *device) { n = len(d.got) })
	return n
}

func TestOtherDevicesGetCopiesOfWhatIsSent(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("ada", "bob")
	phone, laptop, tv, bob := h.copying("ada", "phone"), h.copying("ada", "laptop"), h.online("ada", "tv"), h.join("bob", "x")
	phone.talk("bob", "", "stored", 1)
	bob.expect(t, "stored")
	phone.talk("bob", "", "at once", 0)
	phone.talk("bob", "x", "to one", 0)
	phone.mail("bob", "", "without copies")
	bob.expect(t, "stored", "at once", "without copies")
	laptop.copied(core.CopySent, "stored", "at once", "to one")
	for _, c := range []*client{phone, tv} {
		if n := c.given(); n != 0 {
			t.Errorf("%s was given %d copies", c.Address(), n)
		}
	}
}

func TestDevicesThatMissAMessageGetCopiesOfIt(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("ada", "bob")
	phone, laptop := h.join("ada", "phone"), h.join("ada", "laptop")
	phoneToo, shy := h.copying("ada", "phone"), h.copying("ada", "shy") // phone: as a front has it, beside the account's session
	bob := h.online("bob", "x")
	bob.talk("ada", "", "to all", 1)
	phone.expect(t, "to all")
	bob.talk("ada", "phone", "to the phone", 1)
	phone.expect(t, "to all", "to the phone")
	laptop.expect(t, "to all")
	shy.copied(core.CopyReceived, "to all", "to the phone")
	bob.talk("ada", "phone", "typing", 0)
	phoneToo.expect(t, "typing")
	shy.copied(core.CopyReceived, "to all", "to the phone", "typing")
	bob.talk("ada", "shy", "to the shy one", 1)
	got := shy.expect(t, "to all", "to the phone", "typing", "to the shy one")
	if got[3].Copy != core.NoCopy {
		t.Error("the device that a message names was given a copy of it")
	}
	if d := phoneToo.expect(t, "typing"); len(d) != 1 || d[0].Copy != core.NoCopy {
		t.Errorf("the phone was given %s", phoneToo.list())
	}
}

func TestWhatAnAccountSendsItselfIsCopiedToNoneThatHasIt(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("ada")
	inbox := h.join("ada", "laptop")
	phone, laptop, shy := h.copying("ada", "phone"), h.copying("ada", "laptop"), h.copying("ada", "shy")
	phone.talk("ada", "laptop", "note", 1)
	inbox.expect(t, "note")
	shy.copied(core.CopyReceived, "note")
	for _, c := range []*client{phone, laptop} {
		if n := c.given(); n != 0 {
			t.Errorf("%s was given %s", c.Address(), c.list())
		}
	}
}

func TestMessageDeliveredAgainIsCopiedOnce(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("ada", "bob")
	x, y := h.join("ada", "x"), h.join("ada", "y")
	shy := h.copying("ada", "shy")
	bob := h.online("bob", "b")
	bob.talk("ada", "x", "for x", 1)
	x.expect(t, "for x")
	x.leave(false) // it has acknowledged nothing
	y.expect(t, "for x")
	shy.copied(core.CopyReceived, "for x")
}

func TestNobodyIsGivenCopiesWhoDoesNotWantThemAnyMore(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("ada", "bob")
	phone, laptop, gone := h.copying("ada", "phone"), h.copying("ada", "laptop"), h.copying("ada", "gone")
	laptop.WantCopies(false)
	gone.leave(true)
	gone.WantCopies(true) // too late
	phone.talk("bob", "", "hello", 1)
	last := h.copying("ada", "last")
	phone.talk("bob", "", "end", 1)
	last.copied(core.CopySent, "end")
	for _, c := range []*client{laptop, gone} {
		if n := c.given(); n != 0 {
			t.Errorf("%s was given %s", c.Address(), c.list())
		}
	}
}

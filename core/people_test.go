package core_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"pushhub/bus"
	"pushhub/core"
)

// online attaches a device that takes notices and its account's own messages.
func (h *hub) online(account, resource string) *client {
	c := h.attach(core.Attach{
		Address: core.Address{Account: account, Resource: resource}, Clean: true, Inbox: true, Silent: true, Protocol: "xmpp",
	})
	var b core.Batch
	c.SetPresence(&b, &core.Presence{Kind: core.Available})
	return c
}

// join is online on the account's own session, beside its other devices.
func (h *hub) join(account, resource string) *client {
	h.t.Helper()
	h.online(account, resource)
	return h.attach(core.Attach{Address: core.Address{Account: account, Resource: resource}, Shared: true, Protocol: "xmpp"})
}

func (h *hub) link(one, other string) {
	h.t.Helper()
	done := make(chan error, 1)
	h.LinkContacts(one, other, func(err error) { done <- err })
	if err := <-done; err != nil {
		h.t.Fatal(err)
	}
}

func (c *client) presence(t *testing.T, kind core.PresenceKind, from string) {
	t.Helper()
	c.until(t, "presence of "+from, func() bool {
		for _, n := range c.seen {
			if p, ok := n.(*core.Presence); ok && p.Kind == kind && p.From.String() == from {
				return true
			}
		}
		return false
	})
}

func TestInboxKeepsMessagesForAnAccount(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	h.register("alice", "bob")
	p := h.attach(clean("alice", "phone"))
	p.publish(core.InboxTopic("bob", "alice"), "hello", 1, false)
	h.stop()

	h = newHub(t, store)
	bob := h.attach(core.Attach{Address: core.Address{Account: "bob"}, Shared: true, Protocol: "xmpp"})
	got := bob.expect(t, "hello")
	if got[0].From != "alice/phone" || got[0].Message.ResponseTopic != "$inbox/alice/bob" {
		t.Errorf("from %q, answers to %q", got[0].From, got[0].Message.ResponseTopic)
	}
}

func TestNobodyTouchesAnothersInbox(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("alice", "bob", "eve")
	eve := h.attach(clean("eve", "x"))
	for _, topic := range []string{"$inbox/bob/alice", "$inbox/eve/bob", "$presence/bob/x"} {
		if _, err := eve.Route([]byte(topic)); !errors.Is(err, core.ErrForbidden) {
			t.Errorf("publish to %s: %v", topic, err)
		}
	}
	for _, filter := range []string{"$inbox/bob/#", "$inbox/+/eve", "$inbox/#"} {
		var b core.Batch
		done := make(chan []error, 1)
		eve.Subscribe(&b, []core.Subscription{{Filter: filter}}, func(_ *core.Batch, errs []error) { done <- errs })
		if errs := <-done; !errors.Is(errs[0], core.ErrForbidden) {
			t.Errorf("subscribe to %s: %v", filter, errs[0])
		}
	}
	eve.subscribe(core.Subscription{Filter: "#", QoS: 1}, core.Subscription{Filter: "$inbox/eve/#", QoS: 1}, core.Subscription{Filter: "$presence/#"})
	alice := h.attach(clean("alice", "x"))
	alice.publish("$inbox/bob/alice", "secret", 1, false)
	alice.publish("$inbox/eve/alice", "for eve", 1, false)
	alice.publish("done", "done", 1, false)
	eve.until(t, "the last message", func() bool { return strings.Contains(eve.list(), `[done "done"`) })
	for _, d := range eve.got {
		if d.Payload == "secret" || strings.HasPrefix(d.Topic, "$presence/alice") {
			t.Errorf("eve got %s", eve.list())
		}
	}
	if _, err := alice.Route([]byte("$inbox/nobody/alice")); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("an unknown account: %v", err)
	}
}

func TestPresenceIsSeenByWhoMaySeeIt(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("ada", "thermo", "eve")
	h.link("ada", "thermo")
	ada, eve := h.online("ada", "laptop"), h.online("eve", "x")
	w := h.attach(clean("thermo", "watcher"))
	w.subscribe(core.Subscription{Filter: "$presence/ada/#"})
	w.until(t, "what is retained", func() bool { return strings.Contains(w.list(), `$presence/ada/laptop "{\"state\":\"online\"`) })
	device := h.attach(clean("thermo", "dev1"))
	ada.presence(t, core.Available, "thermo/dev1")
	device.leave(false)
	ada.presence(t, core.Unavailable, "thermo/dev1")
	ada.leave(true)
	w.until(t, "ada offline", func() bool { return strings.Contains(w.list(), `$presence/ada/laptop "{\"state\":\"offline\"`) })
	eve.mu.Lock()
	defer eve.mu.Unlock()
	for _, n := range eve.seen {
		if p, ok := n.(*core.Presence); ok && p.From.Account != "eve" {
			t.Errorf("eve sees %s", p.From)
		}
	}
}

func TestSubscriptionHandshake(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("romeo", "juliet")
	r, j := h.online("romeo", "x"), h.online("juliet", "y")
	ask := func(c *client, kind core.PresenceKind, to string) {
		t.Helper()
		done := make(chan error, 1)
		var b core.Batch
		c.RequestPresence(&b, kind, to, nil, func(_ *core.Batch, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	ask(r, core.Subscribe, "juliet")
	j.presence(t, core.Subscribe, "romeo")
	ask(j, core.Subscribed, "romeo")
	r.presence(t, core.Subscribed, "juliet")
	r.presence(t, core.Available, "juliet/y")
	if c := h.Roster("romeo"); len(c) != 1 || c[0].Subscription() != "to" || c[0].Account != "juliet" {
		t.Errorf("romeo's roster: %+v", c)
	}
	if c := h.Roster("juliet"); len(c) != 1 || c[0].Subscription() != "from" {
		t.Errorf("juliet's roster: %+v", c)
	}
	ask(j, core.Unsubscribed, "romeo")
	r.presence(t, core.Unavailable, "juliet/y")
}

func TestLogin(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("Ada")
	for _, c := range []struct {
		name, password, account string
		err                     error
	}{
		{"ada", "secret", "ada", nil},
		{"ADA", "secret", "ada", nil},
		{"ada", "wrong", "", core.ErrNotAuthorized},
		{"nobody", "secret", "", core.ErrNotAuthorized},
		{"a/b", "secret", "", core.ErrNotAuthorized},
	} {
		done := make(chan error, 1)
		h.Login(t.Context(), netip.Addr{}, c.name, c.password, func(account string, err error) {
			if account != c.account {
				t.Errorf("login as %q: account %q", c.name, account)
			}
			done <- err
		})
		if err := <-done; !errors.Is(err, c.err) {
			t.Errorf("login as %q: %v, want %v", c.name, err, c.err)
		}
	}
}

func TestVouchedKnowsAccountsOnly(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("Ada")
	for _, c := range []struct{ name, account string }{
		{"ada", "ada"}, {"ADA", "ada"}, {"nobody", ""}, {"a/b", ""}, {"", ""}, {core.Anonymous, ""},
	} {
		account, err := h.Vouched(c.name)
		if account != c.account || (err == nil) != (c.account != "") || err != nil && !errors.Is(err, core.ErrForbidden) {
			t.Errorf("%q is %q, %v", c.name, account, err)
		}
	}
}

func TestStrangersLearnNothing(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("eve", "victim")
	eve, victim := h.online("eve", "x"), h.online("victim", "secret")
	call := func(f func(done func(error))) {
		t.Helper()
		done := make(chan error, 1)
		f(func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	request := func(c *client, kind core.PresenceKind, to string) {
		t.Helper()
		call(func(done func(error)) {
			var b core.Batch
			c.RequestPresence(&b, kind, to, nil, func(_ *core.Batch, err error) { done(err) })
		})
	}
	request(eve, core.Unsubscribe, "victim")
	call(func(done func(error)) { h.SetContact("eve", "victim", "", nil, done) })
	call(func(done func(error)) { h.RemoveContact("eve", "victim", done) })
	request(eve, core.Subscribe, "victim")
	request(victim, core.Unsubscribed, "eve")
	eve.presence(t, core.Unsubscribed, "victim")
	eve.mu.Lock()
	defer eve.mu.Unlock()
	for _, n := range eve.seen {
		if p, ok := n.(*core.Presence); ok && p.From.Account == "victim" && p.From.Resource != "" {
			t.Errorf("eve learns of %s", p.From)
		}
	}
}

func TestNewOwnerOfANameInheritsNothing(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.register("ada", "bob")
	h.link("ada", "bob")
	h.attach(clean("ada", "p")).publish("$inbox/bob/ada", "for the first bob", 1, false)
	done := make(chan error, 1)
	h.RemoveAccount("bob", func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	h.register("bob")
	if c := h.Roster("ada"); len(c) != 0 {
		t.Errorf("ada's roster still has %+v", c)
	}
	bob := h.attach(core.Attach{Address: core.Address{Account: "bob", Resource: "x"}, Shared: true})
	h.attach(clean("ada", "q")).publish("$inbox/bob/ada", "for the second", 1, false)
	bob.expect(t, "for the second")
}

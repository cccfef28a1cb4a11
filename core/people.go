package core

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"pushhub/core/auth"
	"pushhub/core/presence"
)

// watch registers a device that takes notices; unwatch forgets it.
func (r *Router) watch(a *Attachment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watchers[a.addr.Account] == nil {
		r.watchers[a.addr.Account] = map[*Attachment]bool{}
	}
	r.watchers[a.addr.Account][a] = true
}

func (r *Router) unwatch(a *Attachment) {
	if !a.inbox {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.watchers[a.addr.Account], a)
	if len(r.watchers[a.addr.Account]) == 0 {
		delete(r.watchers, a.addr.Account)
	}
}

// notify gives a notice to the devices of an account that take them.
func (r *Router) notify(b *Batch, account string, n Notice) {
	r.mu.RLock()
	var devices []*Attachment
	for a := range r.watchers[account] {
		devices = append(devices, a)
	}
	r.mu.RUnlock()
	for _, a := range devices {
		a.dev.Notice(b, n)
	}
}

// announce makes a device present that does not speak for itself (MQTT).
func (r *Router) announce(b *Batch, a *Attachment) {
	if a.addr.Account == Anonymous || a.addr.Resource == "" {
		return
	}
	r.setPresence(b, &Presence{Kind: Available, From: a.addr, Protocol: a.protocol, Since: r.now()})
}

// withdraw makes a device absent whose connection ended.
func (r *Router) withdraw(b *Batch, a *Attachment) {
	if a.addr.Account == Anonymous || a.addr.Resource == "" {
		return
	}
	if s := r.session(a.addr); s != nil && len(s.attached()) > 0 {
		return // another connection is there already
	}
	r.setPresence(b, &Presence{Kind: Unavailable, From: a.addr, Protocol: a.protocol, Since: r.now()})
}

// SetPresence says that the device is available or not. Those who may see it are
// told; when it becomes available, it is told what it may see (RFC 6121 §4.2).
func (a *Attachment) SetPresence(b *Batch, p *Presence) {
	p.From, p.Protocol = a.addr, a.protocol
	if p.Since == 0 {
		p.Since = a.r.now()
	}
	first := a.r.setPresence(b, p)
	if first && p.Kind == Available {
		a.r.showContacts(b, a)
	}
}

// setPresence notes a device's presence and tells who may see it. It reports
// whether that changed availability; an absent device that goes is no news.
func (r *Router) setPresence(b *Batch, p *Presence) (changed bool) {
	acct, res := p.From.Account, p.From.Resource
	r.people.Lock()
	_, was := r.people.devices.Get(acct, res)
	if p.Kind == Available {
		r.people.devices.Set(acct, res, p)
	} else {
		r.people.devices.Remove(acct, res)
	}
	count := r.people.devices.Count(acct)
	r.people.Unlock()
	if p.Kind == Unavailable && !was {
		return false
	}
	r.publishPresence(b, p, count)
	for _, viewer := range r.viewers(acct) {
		r.notify(b, viewer, p)
	}
	return was != (p.Kind == Available)
}

// viewers are the accounts that see an account's presence, itself among them.
func (r *Router) viewers(account string) []string {
	viewers := []string{account}
	if acct := r.accounts.get(account); acct != nil {
		for name, c := range acct.Contacts {
			if c.From {
				viewers = append(viewers, name)
			}
		}
	}
	return viewers
}

// showContacts tells a device who is there: its account's other devices and the
// contacts that it may see.
func (r *Router) showContacts(b *Batch, a *Attachment) {
	seen := []string{a.addr.Account}
	if acct := r.accounts.get(a.addr.Account); acct != nil {
		for name, c := range acct.Contacts {
			if c.To {
				seen = append(seen, name)
			}
		}
	}
	for _, name := range seen {
		for _, p := range r.devicesOf(name) {
			if p.From != a.addr {
				a.dev.Notice(b, p)
			}
		}
	}
	if acct := r.accounts.get(a.addr.Account); acct != nil {
		for name, c := range acct.Contacts {
			if c.PendingIn { // RFC 6121 §3.1.3: asked while nobody was there
				a.dev.Notice(b, &Presence{Kind: Subscribe, From: Address{Account: name}, To: Address{Account: a.addr.Account}})
			}
		}
	}
}

// devicesOf lists the presences of an account's devices.
func (r *Router) devicesOf(account string) []*Presence {
	r.people.Lock()
	defer r.people.Unlock()
	var list []*Presence
	r.people.devices.Of(account, func(_ string, p *Presence) bool {
		list = append(list, p)
		return true
	})
	slices.SortFunc(list, func(a, b *Presence) int { return strings.Compare(a.From.Resource, b.From.Resource) })
	return list
}

// DevicesOf lists the presences of an account's devices, for who may see them.
func (r *Router) DevicesOf(account string) []*Presence { return r.devicesOf(account) }

// presenceState is the JSON on $presence/<account>/<resource> and, with the
// number of devices, on $presence/<account>.
type presenceState struct {
	State    string `json:"state"` // online, offline
	Show     string `json:"show,omitempty"`
	Status   string `json:"status,omitempty"`
	Priority int8   `json:"priority,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	Devices  *int   `json:"devices,omitempty"`
	Since    int64  `json:"since"` // Unix milliseconds
}

// publishPresence shows a presence on its topics. The device's topic keeps
// nothing once it is offline, or clients with random names would fill the store.
func (r *Router) publishPresence(b *Batch, p *Presence, devices int) {
	state := presenceState{
		State: "online", Show: p.Show, Status: p.Status, Priority: p.Priority, Protocol: p.Protocol, Since: p.Since,
	}
	if p.Kind == Unavailable {
		state = presenceState{State: "offline", Status: p.Status, Protocol: p.Protocol, Since: p.Since}
	}
	sum := presenceState{State: "online", Devices: &devices, Since: p.Since}
	if devices == 0 {
		sum.State = "offline"
	}
	r.publishState(b, presencePrefix+p.From.Account+"/"+p.From.Resource, p.From, state, p.Kind == Available)
	r.publishState(b, presencePrefix+p.From.Account, p.From, sum, true)
}

func (r *Router) publishState(b *Batch, name string, from Address, state presenceState, keep bool) {
	payload, err := json.Marshal(state)
	if err != nil {
		r.log.Error("encoding a presence", "err", err)
		return
	}
	m := &Message{Topic: name, Payload: payload, Retain: true, UTF8: true, ContentType: "application/json", From: from, Time: r.now()}
	rt := &Route{Topic: name}
	r.compute(rt)
	r.deliverOnline(b, rt, m)
	if !keep {
		m = nil
	}
	r.retainOwn(name, m)
}

// Roster lists an account's contacts that are roster items, by name.
func (r *Router) Roster(account string) []Contact {
	acct := r.accounts.get(account)
	if acct == nil {
		return nil
	}
	var list []Contact
	for name, c := range acct.Contacts {
		if shown(c) {
			c.Account = name
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b Contact) int { return strings.Compare(a.Account, b.Account) })
	return list
}

// shown reports whether a contact is a roster item: one that only asked is not, RFC 6121 §3.1.3.
func shown(c Contact) bool {
	c.Approved = false
	return c.Listed || c.To || c.From || c.Ask
}

// SetContact adds or renames a roster item; the account's devices are told.
// done is called on another goroutine. Errors: ErrNotFound (the account).
func (r *Router) SetContact(account, contact, name string, groups []string, done func(err error)) {
	r.later(context.Background(), func() error {
		err := r.changeContact(account, contact, func(c *Contact) { c.Name, c.Groups, c.Listed = name, groups, true }, true)
		if err == nil {
			done(nil)
		}
		return err
	}, done)
}

// changeContact stores a change of one contact and pushes the item.
func (r *Router) changeContact(account, contact string, change func(*Contact), push bool) error {
	var now Contact
	err := r.changeAccount(account, func(acct *auth.Account) error {
		now = acct.Contacts[contact]
		change(&now)
		acct.Contacts[contact] = now
		return nil
	})
	if err != nil || !push {
		return err
	}
	now.Account = contact
	var b Batch
	r.notify(&b, account, &RosterPush{Contact: now, Removed: !shown(now)})
	b.Flush()
	return nil
}

// RemoveContact removes a roster item and both subscriptions, RFC 6121 §2.5.
// Errors: ErrNotFound.
func (r *Router) RemoveContact(account, contact string, done func(err error)) {
	r.later(context.Background(), func() error {
		err := r.changeAccount(account, func(acct *auth.Account) error {
			if _, ok := acct.Contacts[contact]; !ok {
				return fmt.Errorf("%w: %q is no contact", ErrNotFound, contact)
			}
			delete(acct.Contacts, contact)
			return nil
		})
		if err != nil {
			return err
		}
		var b Batch
		r.notify(&b, account, &RosterPush{Contact: Contact{Account: contact}, Removed: true})
		r.hide(&b, account, contact)
		r.hide(&b, contact, account)
		if r.accounts.exists(contact) {
			_ = r.changeContact(contact, account, func(c *Contact) { c.To, c.From, c.Ask = false, false, false }, true)
		}
		b.Flush()
		done(nil)
		return nil
	}, done)
}

// LinkContacts makes two accounts see each other's presence, without asking them.
func (r *Router) LinkContacts(one, other string, done func(err error)) {
	r.later(context.Background(), func() error {
		for _, pair := range [][2]string{{one, other}, {other, one}} {
			if !r.accounts.exists(pair[0]) {
				return fmt.Errorf("%w: there is no account %q", ErrNotFound, pair[0])
			}
		}
		for _, pair := range [][2]string{{one, other}, {other, one}} {
			err := r.changeContact(pair[0], pair[1], func(c *Contact) {
				c.To, c.From, c.Ask, c.PendingIn, c.Listed = true, true, false, false, true
			}, true)
			if err != nil {
				return err
			}
		}
		var b Batch
		r.show(&b, one, other)
		r.show(&b, other, one)
		b.Flush()
		done(nil)
		return nil
	}, done)
}

// show tells an account's devices of another account's; hide tells that they are gone.
func (r *Router) show(b *Batch, viewer, account string) {
	for _, p := range r.devicesOf(account) {
		r.notify(b, viewer, p)
	}
}

func (r *Router) hide(b *Batch, viewer, account string) {
	for _, p := range r.devicesOf(account) {
		r.notify(b, viewer, &Presence{Kind: Unavailable, From: p.From, To: Address{Account: viewer}, Protocol: p.Protocol, Since: r.now()})
	}
}

// RequestPresence handles subscribe, subscribed, unsubscribe and unsubscribed
// towards an account, RFC 6121 §3. done is called on another goroutine. Errors:
// ErrNotFound when there is no such account.
func (a *Attachment) RequestPresence(b *Batch, kind PresenceKind, to string, native []byte, done func(b *Batch, err error)) {
	r, own := a.r, a.addr.Account
	r.later(context.Background(), func() error {
		if !r.accounts.exists(to) {
			return fmt.Errorf("%w: there is no account %q", ErrNotFound, to)
		}
		var b Batch
		if err := r.exchange(&b, kind, own, to, native); err != nil {
			return err
		}
		done(&b, nil)
		b.Flush()
		return nil
	}, func(err error) {
		var b Batch
		done(&b, err)
		b.Flush()
	})
}

// exchange takes a subscription presence through the sender's side and then the receiver's.
func (r *Router) exchange(b *Batch, kind PresenceKind, from, to string, native []byte) error {
	out, err := r.step(from, to, kind, presence.Outbound)
	if err != nil || !out.Deliver {
		return err
	}
	in, err := r.step(to, from, kind, presence.Inbound)
	if err != nil {
		return err
	}
	if in.Deliver {
		r.notify(b, to, &Presence{Kind: kind, From: Address{Account: from}, To: Address{Account: to}, Native: native})
	}
	switch kind {
	case Subscribed:
		r.show(b, to, from)
	case Unsubscribed:
		r.hide(b, to, from)
	case Unsubscribe:
		r.hide(b, from, to)
	}
	if in.Replies {
		return r.answer(b, to, from)
	}
	return nil
}

// answer approves a request in the name of an account that approves beforehand.
func (r *Router) answer(b *Batch, from, to string) error {
	if _, err := r.step(to, from, Subscribed, presence.Inbound); err != nil {
		return err
	}
	r.notify(b, to, &Presence{Kind: Subscribed, From: Address{Account: from}, To: Address{Account: to}})
	r.show(b, to, from)
	return nil
}

// step applies one side of a subscription change to an account's roster.
func (r *Router) step(account, contact string, kind PresenceKind, f func(presence.Kind, presence.State) presence.Step) (presence.Step, error) {
	acct := r.accounts.get(account)
	if acct == nil {
		return presence.Step{}, fmt.Errorf("%w: there is no account %q", ErrNotFound, account)
	}
	was := acct.Contacts[contact]
	st := f(kind, presence.State{To: was.To, From: was.From, Ask: was.Ask, PendingIn: was.PendingIn, Approved: was.Approved})
	err := r.changeContact(account, contact, func(c *Contact) {
		c.To, c.From, c.Ask, c.PendingIn, c.Approved = st.State.To, st.State.From, st.State.Ask, st.State.PendingIn, st.State.Approved
	}, st.Push)
	return st, err
}

// Signal passes a whole native stanza (m.Native) to one device that is there.
// ErrNotFound when it is not, or does not take it.
func (a *Attachment) Signal(b *Batch, to Address, m *Message) error {
	m.From, m.Topic = a.addr, ""
	s := a.r.session(to)
	if s == nil {
		return fmt.Errorf("%w: %s is not there", ErrNotFound, to)
	}
	for _, att := range s.attached() {
		if att.inbox && att.dev.Deliver(b, Delivery{Message: m, To: att}) == Queued {
			return nil
		}
	}
	return fmt.Errorf("%w: %s does not take it", ErrNotFound, to)
}

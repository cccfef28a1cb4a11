package core

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
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

// watching are the devices of an account that take notices.
func (r *Router) watching(account string) (devices []*Attachment) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for a := range r.watchers[account] {
		devices = append(devices, a)
	}
	return devices
}

// notify gives a notice to the devices of an account that take them; presence only
// where neither side has blocked the other.
func (r *Router) notify(b *Batch, account string, n Notice) {
	p, isPresence := n.(*Presence)
	for _, a := range r.watching(account) {
		if isPresence {
			r.showPresence(b, a, p)
		} else {
			a.dev.Notice(b, n)
		}
	}
}

// showPresence gives a presence to a device unless one of the two has blocked the
// other. Whoever does so at the same moment may have told it before that the other
// is gone: it is told again.
func (r *Router) showPresence(b *Batch, a *Attachment, p *Presence) {
	if r.accounts.apart(p.From, a.addr) {
		return
	}
	a.dev.Notice(b, p)
	if p.Kind == Available && r.accounts.apart(p.From, a.addr) {
		a.dev.Notice(b, r.gone(p, a.addr.Account))
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
	known := r.accounts.exists(acct)
	r.people.Lock()
	_, was := r.people.devices.Get(acct, res)
	if p.Kind == Available {
		r.people.devices.Set(acct, res, p)
	} else {
		r.people.devices.Remove(acct, res)
	}
	count := r.people.devices.Count(acct)
	if was && count == 0 && known {
		r.people.left[acct] = r.now()
	}
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
				r.showPresence(b, a, p)
			}
		}
	}
	if acct := r.accounts.get(a.addr.Account); acct != nil {
		for name, c := range acct.Contacts {
			if c.PendingIn && !r.accounts.blocks(a.addr.Account, Address{Account: name}) { // RFC 6121 §3.1.3: asked while nobody was there
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
	r.publishState(b, presencePrefix+p.From.Account, p.From, sum, devices > 0)
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

// Signal passes a whole native stanza (m.Native) to one device that is there.
// ErrNotFound when it is not, or does not take it; ErrBlocked, ErrUnwanted.
func (a *Attachment) Signal(b *Batch, to Address, m *Message) error {
	if err := a.r.mayWrite(a.addr, to); err != nil {
		return err
	}
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

package core

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pushhub/core/auth"
	"pushhub/core/presence"
)

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
		saw, seen := r.accounts.mayWatch(account, contact), r.accounts.mayWatch(contact, account)
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
		if saw {
			r.hide(&b, account, contact)
		}
		if seen {
			r.hide(&b, contact, account)
		}
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

// show tells an account's devices of another account's; hide tells that they are
// gone. The caller knows that the viewer may, or might, see them.
func (r *Router) show(b *Batch, viewer, account string) {
	for _, p := range r.devicesOf(account) {
		r.notify(b, viewer, p)
	}
}

func (r *Router) hide(b *Batch, viewer, account string) {
	for _, p := range r.devicesOf(account) {
		r.notify(b, viewer, r.gone(p, viewer))
	}
}

// gone is what an account is told in place of a presence that it sees no more.
func (r *Router) gone(p *Presence, viewer string) *Presence {
	return &Presence{Kind: Unavailable, From: p.From, To: Address{Account: viewer}, Protocol: p.Protocol, Since: r.now()}
}

// RequestPresence handles subscribe, subscribed, unsubscribe and unsubscribed
// towards an account, RFC 6121 §3. done is called on another goroutine. Errors:
// ErrNotFound when there is no such account, ErrBlocked.
func (a *Attachment) RequestPresence(b *Batch, kind PresenceKind, to string, native []byte, done func(b *Batch, err error)) {
	r, own := a.r, a.addr.Account
	r.later(context.Background(), func() error {
		if !r.accounts.exists(to) {
			return fmt.Errorf("%w: there is no account %q", ErrNotFound, to)
		}
		if r.accounts.blocks(own, Address{Account: to}) {
			return fmt.Errorf("%w: %s", ErrBlocked, to)
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
	saw, seen := r.accounts.mayWatch(from, to), r.accounts.mayWatch(to, from) // before
	out, err := r.step(from, to, kind, presence.Outbound)
	if err != nil || !out.Deliver {
		return err
	}
	if kind == Subscribe && r.accounts.blocks(to, Address{Account: from}) {
		return nil // XEP-0191 §3.3: as if nobody had read it
	}
	in, err := r.step(to, from, kind, presence.Inbound)
	if err != nil {
		return err
	}
	if in.Deliver {
		r.notify(b, to, &Presence{Kind: kind, From: Address{Account: from}, To: Address{Account: to}, Native: native})
	}
	switch {
	case kind == Subscribed:
		r.show(b, to, from)
	case kind == Unsubscribed && seen:
		r.hide(b, to, from)
	case kind == Unsubscribe && saw:
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

package core

import (
	"context"
	"fmt"
	"maps"

	"pushhub/core/auth"
)

// What one account may block.
const (
	maxBlocked      = 1000
	maxBlockedBytes = 64 << 10 // of their names
)

// Everybody, as the account of a blocked Address, stands for all accounts of the
// hub; with a name behind it, for another domain.
const Everybody = auth.Everybody

// Blocked lists whom an account has blocked, in order: accounts, single devices,
// domains.
func (r *Router) Blocked(account string) []Address {
	acct := r.accounts.get(account)
	if acct == nil {
		return nil
	}
	var list []Address
	for _, p := range acct.BlockedPeers() {
		list = append(list, Address(p))
	}
	return list
}

// Block ends all direct messages and presence between an account and some others,
// until it is undone; who saw the account's presence sees it go, and the account's
// devices are told of the new list. done is called on another goroutine when that
// is durable. Errors: ErrNotFound (the account), ErrQuota.
func (r *Router) Block(account string, peers []Address, done func(err error)) {
	r.changeBlocked(account, &BlockPush{Peers: peers}, func(blocked map[auth.Peer]bool) {
		for _, p := range peers {
			blocked[auth.Peer(p)] = true
		}
	}, done)
}

// Unblock undoes Block, for all when no peers are named. Whom nobody has blocked
// does not matter.
func (r *Router) Unblock(account string, peers []Address, done func(err error)) {
	r.changeBlocked(account, &BlockPush{Peers: peers, Removed: true}, func(blocked map[auth.Peer]bool) {
		if len(peers) == 0 {
			clear(blocked)
		}
		for _, p := range peers {
			delete(blocked, auth.Peer(p))
		}
	}, done)
}

func (r *Router) changeBlocked(account string, push *BlockPush, change func(map[auth.Peer]bool), done func(err error)) {
	r.later(context.Background(), func() error {
		var was, is auth.Account
		err := r.changeAccount(account, func(acct *auth.Account) error {
			was = *acct
			acct.Blocked = maps.Clone(was.Blocked)
			if acct.Blocked == nil {
				acct.Blocked = map[auth.Peer]bool{}
			}
			change(acct.Blocked)
			is = *acct
			return checkBlocked(was.Blocked, is.Blocked)
		})
		if err != nil {
			return err
		}
		var b Batch
		r.notify(&b, account, push)
		r.retell(&b, &was, &is)
		b.Flush()
		done(nil)
		return nil
	}, done)
}

// checkBlocked holds a block list to its bounds; a shorter one than before is fine.
func checkBlocked(was, is map[auth.Peer]bool) error {
	size := 0
	for p := range is {
		size += len(p.Account) + len(p.Resource)
	}
	if len(is) > len(was) && (len(is) > maxBlocked || size > maxBlockedBytes) {
		return fmt.Errorf("%w: an account blocks at most %d others, of together %d bytes", ErrQuota, maxBlocked, maxBlockedBytes)
	}
	return nil
}

// retell shows or hides presence where a changed block list makes a difference, both
// ways: XEP-0191 §3.3 and §3.4 ask for it towards those who see the account.
func (r *Router) retell(b *Batch, was, is *auth.Account) {
	tell := func(a *Attachment, p *Presence, own, peer Address) {
		before, after := was.Blocks(peer.Account, peer.Resource), is.Blocks(peer.Account, peer.Resource)
		switch {
		case before == after, r.accounts.blocks(peer.Account, own):
		case after:
			a.dev.Notice(b, r.gone(p, a.addr.Account))
		default:
			a.dev.Notice(b, p)
		}
	}
	watching, devices := r.watching(is.Name), r.devicesOf(is.Name)
	for name, c := range is.Contacts {
		if c.From {
			for _, a := range r.watching(name) {
				for _, p := range devices {
					tell(a, p, p.From, a.addr)
				}
			}
		}
		if !c.To {
			continue
		}
		for _, p := range r.devicesOf(name) {
			for _, a := range watching {
				tell(a, p, a.addr, p.From)
			}
		}
	}
}

// blocks reports whether an account has blocked a device, or (without a resource)
// an account. It costs nothing while nobody blocks anybody.
func (a *accounts) blocks(account string, peer Address) bool {
	if a.blocking.Load() == 0 {
		return false
	}
	acct := a.get(account)
	return acct != nil && acct.Blocks(peer.Account, peer.Resource)
}

// apart reports whether one of two has blocked the other.
func (a *accounts) apart(one, other Address) bool {
	return a.blocks(one.Account, other) || a.blocks(other.Account, one)
}

// mayWrite refuses what goes from a device to an account that blocks it, or (with
// a resource) to one of that account's devices; and what goes to whom the sender
// has blocked itself. Errors: ErrBlocked, ErrUnwanted.
func (r *Router) mayWrite(from, to Address) error {
	switch {
	case r.accounts.blocks(from.Account, to):
		r.Counters.Forbidden.Add(1)
		return fmt.Errorf("%w: %s", ErrBlocked, to)
	case r.accounts.blocks(to.Account, from):
		r.Counters.Forbidden.Add(1)
		return fmt.Errorf("%w: %s", ErrUnwanted, to)
	}
	return nil
}

// MayWrite reports what stands between the device and a direct exchange with
// another account or device. Errors: ErrBlocked, ErrUnwanted.
func (a *Attachment) MayWrite(to Address) error { return a.r.mayWrite(a.addr, to) }

// turnsAway reports whether m is a direct message whose receiver has blocked its
// sender since it was sent, or it is a will, which nobody was asked about.
func (r *Router) turnsAway(m *Message) bool {
	if r.accounts.blocking.Load() == 0 {
		return false
	}
	to, _, ok := Inbox(m.Topic)
	return ok && r.accounts.blocks(to, m.From)
}

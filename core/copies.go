package core

import (
	"slices"
	"sync"
	"sync/atomic"

	"pushhub/core/journal"
)

// A Copy says whether a delivery is the message itself, or what of its account's
// other devices it is a copy of.
type Copy uint8

const (
	NoCopy       Copy = iota
	CopySent          // another device of the account sent it
	CopyReceived      // another device of the account was given it
)

// copies are the devices that want copies of what their account's other devices
// send and are given. The zero value is ready.
type copies struct {
	devices atomic.Int64 // how many; while it is 0 nobody takes mu to look

	mu sync.RWMutex             // guards m
	m  map[string][]*Attachment // by account; a list is replaced, never changed
}

func (c *copies) add(a *Attachment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.m[a.addr.Account]
	if slices.Contains(old, a) {
		return
	}
	if c.m == nil {
		c.m = map[string][]*Attachment{}
	}
	c.m[a.addr.Account] = append(slices.Clone(old), a)
	c.devices.Add(1)
}

func (c *copies) remove(a *Attachment) {
	if c.devices.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.m[a.addr.Account]
	i := slices.Index(old, a)
	if i < 0 {
		return
	}
	c.devices.Add(-1)
	if len(old) == 1 {
		delete(c.m, a.addr.Account)
		return
	}
	c.m[a.addr.Account] = slices.Delete(slices.Clone(old), i, i+1)
}

// of lists the devices of an account that want copies. The list is read-only.
func (c *copies) of(account string) []*Attachment {
	if c.devices.Load() == 0 {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.m[account]
}

// WantCopies says whether the device is given copies of the messages with Copies
// that its account's other devices send and are given. They come at QoS 0, while
// it is attached: what it misses is not kept for it.
func (a *Attachment) WantCopies(on bool) {
	a.session.mu.Lock()
	defer a.session.mu.Unlock()
	if on && !a.over {
		a.r.copies.add(a)
		return
	}
	a.r.copies.remove(a)
}

// storedCopied is stored for a message of which the sender's other devices have a
// copy: not before it is stored, as until then it may be refused.
func (a *Attachment) storedCopied(token uint64, m *Message) func(journal.Position, error) {
	stored := a.stored(token)
	if !m.Copies || len(a.r.copies.of(a.addr.Account)) == 0 {
		return stored
	}
	c := m.clone()
	return func(pos journal.Position, err error) {
		if err == nil { // first: what the sender sends next comes behind it
			a.r.copySent(&a.r.tail.batch, c)
		}
		stored(pos, err)
	}
}

// copySent gives a copy to the sender's other devices. What an account sends
// itself they are given anyhow.
func (r *Router) copySent(b *Batch, m *Message) {
	if !m.Copies {
		return
	}
	devices := r.copies.of(m.From.Account)
	if len(devices) == 0 {
		return
	}
	if to, _, ok := Inbox(m.Topic); !ok || to == m.From.Account {
		return
	}
	for _, a := range devices {
		if a.addr != m.From {
			a.offer(b, m, CopySent)
		}
	}
}

// copyReceived gives a copy to the devices of an account that were not given the
// message itself and have not sent it. One that the message names, and that does
// not take what comes for its account, is given the message itself.
func (r *Router) copyReceived(b *Batch, m *Message, account string, given []*Attachment) {
	for _, a := range r.copies.of(account) {
		had := func(other *Attachment) bool { return other.resource == a.resource }
		switch {
		case a.addr == m.From || slices.ContainsFunc(given, had):
		case a.resource == m.Resource:
			a.offer(b, m, NoCopy)
		default:
			a.offer(b, m, CopyReceived)
		}
	}
}

// offer gives the device a message that is not kept for it.
func (a *Attachment) offer(b *Batch, m *Message, c Copy) {
	switch a.dev.Deliver(b, Delivery{Message: m, To: a, Copy: c}) {
	case Full:
		a.r.Counters.DroppedSlow.Add(1)
	case Refused:
		a.r.Counters.DroppedDevice.Add(1)
	case Queued:
	}
}

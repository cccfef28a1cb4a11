package core

import (
	"errors"
	"time"

	"pushhub/core/journal"
)

// goOffline takes the session out of the online index. The caller holds mu.
func (s *Session) goOffline() {
	s.active = false
	if len(s.subs) == 0 {
		return
	}
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, sub := range s.subs {
		r.exit(name, sub)
	}
	s.subs = nil
	r.changed()
}

// close ends every device on the session, for example because another took it over.
func (s *Session) close(b *Batch, reason error) {
	for _, att := range s.attached() {
		if att.leave(b, false, errors.Is(reason, ErrTakenOver)) {
			att.dev.Close(b, reason)
		}
	}
}

// Detach ends the attachment; unless graceful, the will is published. What a
// durable session did not acknowledge is delivered to the next device.
func (a *Attachment) Detach(b *Batch, graceful bool) { a.leave(b, graceful, false) }

// Suspend is Detach for a device that is expected back: it stays present until
// its session expires (XEP-0198 §5).
func (a *Attachment) Suspend(b *Batch) { a.leave(b, true, true) }

// Handled is the number of the device's last counted message that is stored.
func (a *Attachment) Handled() uint32 {
	a.session.mu.Lock()
	defer a.session.mu.Unlock()
	return a.session.state.Handled
}

// leave reports false when the attachment had ended before. A device that is
// replaced by another under its address stays present.
func (a *Attachment) leave(b *Batch, graceful, replaced bool) bool {
	s, r := a.session, a.r
	s.mu.Lock()
	if a.over {
		s.mu.Unlock()
		return false
	}
	a.over = true
	last := s.remove(a)
	if !last && !replaced {
		s.inherit(b)
	}
	// Under the lock: whoever sees that the device has left finds this in the journal
	// before what it queues itself, another will for example.
	if last && s.durable && s.state.Expiry <= 0 && s.addr.Resource != "" {
		r.end(s.addr, a.epoch)
	}
	if a.hasWill {
		r.connectionEnded(a.addr, graceful)
	}
	r.unwatch(a)
	r.copies.remove(a)
	s.mu.Unlock()
	if last && !s.durable {
		r.mu.Lock()
		if r.sessions[s.addr] == s {
			delete(r.sessions, s.addr)
		}
		r.mu.Unlock()
	}
	if !replaced {
		r.withdraw(b, a)
	}
	return true
}

// inherit gives what a device that left had not acknowledged to the others on the
// session. The caller holds mu.
func (s *Session) inherit(b *Batch) {
	s.full = false
	s.state.Out.Rewind()
	s.pump(b)
}

// remove takes an attachment off the session; last when no other is left. The caller holds mu.
func (s *Session) remove(a *Attachment) (last bool) {
	var rest []*Attachment
	for _, other := range s.attached() {
		if other != a {
			rest = append(rest, other)
		}
	}
	if len(rest) > 0 {
		s.online.Store(&rest)
		return false
	}
	s.online.Store(&nobody)
	s.goOffline()
	if !s.durable {
		s.queue = nil
		s.surrender()
		return true
	}
	s.unsend()
	s.state.Detached = s.r.now()
	s.markDirty()
	return true
}

// end has the journal end a durable session, unless it is claimed again first.
func (r *Router) end(addr Address, epoch uint64) {
	err := r.append(&journal.Record{Kind: journal.KindEnd, Epoch: epoch}, addr, nil, func(_ journal.Position, err error) {
		if err != nil {
			r.log.Error("ending a session", "session", addr.String(), "err", err)
		}
	})
	if err != nil {
		r.log.Error("ending a session", "session", addr.String(), "err", err)
	}
}

// SetExpiry changes how long the session outlives its connection.
func (a *Attachment) SetExpiry(d time.Duration) {
	a.session.mu.Lock()
	defer a.session.mu.Unlock()
	a.session.state.Expiry = d.Milliseconds()
	a.session.markDirty()
}

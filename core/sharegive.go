package core

import (
	"context"
	"slices"
)

// next takes the oldest message that is not in the log and that an account may
// receive; nil where there is none. What it may not receive others do not wait for.
func (sh *share) next(r *Router, account string) *Message {
	if sh.count.Load() == 0 {
		return nil
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i, m := range slices.Backward(sh.back) {
		if r.mayReceive(account, m.Topic) {
			sh.back = slices.Delete(sh.back, i, i+1)
			sh.count.Add(-1)
			return m
		}
	}
	for i, m := range sh.waiting {
		if !r.mayReceive(account, m.Topic) {
			continue
		}
		if i == 0 {
			sh.waiting[0] = nil
			sh.waiting = sh.waiting[1:]
		} else {
			sh.waiting = slices.Delete(sh.waiting, i, i+1)
		}
		sh.count.Add(-1)
		return m
	}
	return nil
}

// putBack makes a message the next one again.
func (sh *share) putBack(m *Message) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.back = append(sh.back, m)
	sh.count.Add(1)
}

// wait queues a message, which the share keeps, until a member has room; false
// when too many wait already.
func (sh *share) wait(m *Message, limit int) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.waiting) >= limit {
		return false
	}
	sh.waiting = append(sh.waiting, m)
	sh.count.Add(1)
	return true
}

// A shareRoute is a share that a topic matches, as a Route has it.
type shareRoute struct {
	share   *share
	members []*subscriber // those that may receive it
	logged  bool          // above QoS 0, members take from the log
}

// allow leaves the members that may receive a topic.
func (st *shareRoute) allow(r *Router, name string) {
	var may []*subscriber
	for _, sub := range st.members {
		if r.mayReceive(sub.session.addr.Account, name) {
			may = append(may, sub)
		}
	}
	st.members = may
}

// deliverShared gives a message to one member of a share, unless the log does.
func (r *Router) deliverShared(b *Batch, st *shareRoute, m *Message) {
	sh, n := st.share, uint32(len(st.members))
	if m.QoS == 0 {
		for range n {
			sub := st.members[(sh.turn.Add(1)-1)%n]
			if sub.session.deliverShared(b, sub, m) {
				return
			}
		}
		r.Counters.DroppedShared.Add(1)
		return
	}
	if st.logged {
		return
	}
	kept := m.clone()
	for range n {
		if sh.count.Load() > 0 {
			break // it is not its turn
		}
		sub := st.members[(sh.turn.Add(1)-1)%n]
		if sub.session.acceptShared(b, sub, kept) {
			return
		}
	}
	if n == 0 || !sh.wait(kept, r.opt.QueueMessages) {
		r.Counters.DroppedShared.Add(1)
		return
	}
	r.wakeShare(sh) // somebody may have found room meanwhile
}

// acceptShared is offer for a message that does not wait yet.
func (s *Session) acceptShared(b *Batch, sub *subscriber, m *Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subs[sub.share.text] != sub || !s.active || s.full || !s.state.Out.Room() || !s.holdShared(b, sub, m) {
		return false
	}
	s.sendDue(b)
	return true
}

// takesPerDispatch is how much of a share is given away at once, or looked at,
// before others have their turn: publishers wait for the tail's dispatch.
const takesPerDispatch = 64

// dispatch gives away what a share holds, to each member in turn, until nobody
// has room, nothing is left, or others have their turn. It is called without any lock.
func (r *Router) dispatch(b *Batch, sh *share) {
	r.dropForbidden(sh)
	for left := takesPerDispatch; left > 0; {
		r.mu.RLock()
		members := sh.members
		r.mu.RUnlock()
		offers, more := sh.round(b, members)
		if !more {
			r.stall(sh)
			return
		}
		left -= offers
	}
	r.wakeShare(sh)
}

// round offers one delivery to the members in turn, until one takes it; more when
// there may be another. It says how many were asked.
func (sh *share) round(b *Batch, members []*subscriber) (offers int, more bool) {
	n, turn := uint32(len(members)), sh.turn.Load()
	for i := range n {
		sub := members[(turn+i)%n]
		offers++
		switch sub.session.offer(b, sub) {
		case tookOne:
			sh.turn.Store(turn + i + 1)
			return offers, true
		case passed:
			more = true
		case tookNone:
			if !more && sh.empty() {
				return offers, false
			}
		}
	}
	return offers, more
}

// stall has a share that has something, and members, looked at again at the next
// flush: a device may have found room without saying so.
func (r *Router) stall(sh *share) {
	if !r.attended(sh) || !sh.pending(r) {
		return
	}
	sh.mu.Lock()
	stalled := sh.stalled
	sh.stalled = true
	sh.mu.Unlock()
	if stalled {
		return
	}
	q := &r.shares
	q.mu.Lock()
	q.stalled = append(q.stalled, sh)
	q.mu.Unlock()
}

// shareLoop dispatches the shares that were woken, until ctx ends.
func (r *Router) shareLoop(ctx context.Context) {
	var b Batch
	for {
		select {
		case <-r.shares.wake:
		case <-ctx.Done():
			return
		}
		q := &r.shares
		q.mu.Lock()
		woken := q.woken
		q.woken = nil
		q.mu.Unlock()
		for _, sh := range woken {
			sh.mu.Lock()
			sh.woken = false
			sh.mu.Unlock()
			r.dispatch(&b, sh)
			b.Flush()
		}
	}
}

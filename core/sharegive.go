package core

import (
	"context"

	"pushhub/core/journal"
)

// next takes the oldest message that is not in the log; nil where there is none.
func (sh *share) next() *Message {
	if sh.count.Load() == 0 {
		return nil
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.waiting) == 0 {
		return nil
	}
	m := sh.waiting[0]
	sh.waiting[0] = nil
	sh.waiting = sh.waiting[1:]
	sh.count.Add(-1)
	return m
}

// putBack makes a message the next one again.
func (sh *share) putBack(m *Message) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.waiting = append([]*Message{m}, sh.waiting...)
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

// dispatch gives away what a share holds, to each member in turn, until nobody
// has room or nothing is left. It is called without any lock.
func (r *Router) dispatch(b *Batch, sh *share) {
	for {
		r.mu.RLock()
		members := sh.members
		r.mu.RUnlock()
		n := uint32(len(members))
		if n == 0 {
			return
		}
		took, refused, turn := false, journal.Position(0), sh.turn.Load()
		for i := range n {
			sub := members[(turn+i)%n]
			res, pos := sub.session.offer(b, sub)
			if res == tookNone && sh.count.Load() == 0 {
				return
			}
			if res == forbidden {
				refused = pos
			}
			if took = res == tookOne; took {
				sh.turn.Store(turn + i + 1)
				break
			}
		}
		switch {
		case took:
		case refused != 0:
			r.passOver(sh, refused)
		default:
			return
		}
	}
}

// passOver puts a position aside that no attached member can take: others behind
// it do not wait for it. When no member at all may receive it, it is done.
func (r *Router) passOver(sh *share, pos journal.Position) {
	m, _ := r.frames.message(r, pos)
	r.mu.RLock()
	accounts := map[string]bool{}
	for _, sub := range sh.members {
		accounts[sub.session.addr.Account] = true
	}
	for s := range sh.owners {
		accounts[s.addr.Account] = true
	}
	r.mu.RUnlock()
	for account := range accounts {
		if m == nil || r.mayReceive(account, m.Topic) {
			sh.park(pos)
			return
		}
	}
	r.Counters.Forbidden.Add(1)
	sh.done(r, pos)
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

package core

import (
	"slices"

	"pushhub/core/journal"
)

// parking is what some member of a share may not receive, in the order in which
// that was found. Each member goes through it once: a place in it is never used
// for something else.
type parking struct {
	list  []parkedAt
	first uint64 // place of the first in list
	live  int    // how many of list are not taken
}

// parkedAt is one position; 0 where it was taken.
type parkedAt struct {
	pos   journal.Position
	topic string
}

func (p *parking) end() uint64 { return p.first + uint64(len(p.list)) }

// clear notes that an entry of list is taken.
func (p *parking) clear(i int) {
	p.list[i] = parkedAt{}
	p.live--
}

// trim forgets the front as far as it is nobody's to take any more, and all places
// that were taken when they are the most of it. Members begin anew then.
func (p *parking) trim(open map[journal.Position]*Session) {
	for len(p.list) > 0 {
		if pos := p.list[0].pos; pos != 0 {
			if holder, is := open[pos]; is && holder == nil {
				break
			}
			p.clear(0)
		}
		p.list = p.list[1:]
		p.first++
	}
	if len(p.list) < 2*p.live+64 {
		return
	}
	list := make([]parkedAt, 0, p.live)
	for _, e := range p.list {
		if e.pos != 0 {
			list = append(list, e)
		}
	}
	p.first, p.list = p.end(), list
}

// looksPerTake is how much of what is parked a member looks at before others have their turn.
const looksPerTake = 64

// takeParked gives a member what others may not receive. The caller holds mu.
func (sh *share) takeParked(r *Router, sub *subscriber) (journal.Position, taken) {
	p := &sh.parked
	if rights := r.accounts.rights.Load(); sub.rights != rights {
		sub.rights, sub.seen = rights, 0
	}
	p.trim(sh.open)
	sub.seen = max(sub.seen, p.first)
	for range looksPerTake {
		if sub.seen >= p.end() {
			return 0, tookNone
		}
		i := int(sub.seen - p.first)
		sub.seen++
		e := p.list[i]
		if e.pos == 0 {
			continue
		}
		if holder, open := sh.open[e.pos]; !open || holder != nil {
			p.clear(i)
			continue
		}
		if r.mayReceive(sub.session.addr.Account, e.topic) {
			p.clear(i)
			sh.open[e.pos] = sub.session
			return e.pos, tookOne
		}
	}
	return 0, passed
}

// park puts a position aside that a member has and may not receive: it does not
// wait for who may, nor does anybody else.
func (sh *share) park(sub *subscriber, pos journal.Position, topic string) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if holder, open := sh.open[pos]; !open || holder != sub.session {
		return
	}
	sh.open[pos] = nil
	p := &sh.parked
	if sub.seen == p.end() {
		sub.seen++ // it has seen this one
	}
	p.list = append(p.list, parkedAt{pos, topic})
	p.live++
}

// passOver parks a position that a member has and may not receive. When nobody of
// the group may, it is done. The caller holds the Session.mu of the member.
func (r *Router) passOver(sub *subscriber, pos journal.Position, topic string) {
	if r.anyMayReceive(r.accountsOf(sub.share), topic) {
		sub.share.park(sub, pos, topic)
		return
	}
	r.Counters.Forbidden.Add(1)
	sub.share.done(r, pos)
}

// accountsOf are the accounts of those who may take from the share, now or when
// they are back.
func (r *Router) accountsOf(sh *share) map[string]bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	accounts := map[string]bool{}
	for _, sub := range sh.members {
		accounts[sub.session.addr.Account] = true
	}
	for s := range sh.owners {
		accounts[s.addr.Account] = true
	}
	return accounts
}

func (r *Router) anyMayReceive(accounts map[string]bool, topic string) bool {
	for account := range accounts {
		if r.mayReceive(account, topic) {
			return true
		}
	}
	return false
}

// lessen notes that somebody left the share who may have been the only one to
// receive what waits.
func (r *Router) lessen(sh *share) {
	sh.mu.Lock()
	waits := sh.parked.live > 0 || sh.count.Load() > 0
	sh.fewer = sh.fewer || waits
	sh.mu.Unlock()
	if waits {
		r.wakeShare(sh)
	}
}

// reconsider has all that waits given away as the rosters are now.
func (r *Router) reconsider() {
	for _, sh := range r.allShares() {
		r.lessen(sh)
	}
}

// dropForbidden drops what waits and nobody of the group may receive any more.
func (r *Router) dropForbidden(sh *share) {
	sh.mu.Lock()
	fewer := sh.fewer
	sh.fewer = false
	sh.mu.Unlock()
	if !fewer {
		return
	}
	accounts := r.accountsOf(sh)
	if len(accounts) == 0 {
		return // the share is gone
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	known := map[string]bool{}
	forbidden := func(topic string) bool {
		no, found := known[topic]
		if !found {
			no = !r.anyMayReceive(accounts, topic)
			known[topic] = no
		}
		return no
	}
	for i, e := range sh.parked.list {
		if e.pos == 0 || !forbidden(e.topic) {
			continue
		}
		sh.parked.clear(i)
		if holder, open := sh.open[e.pos]; open && holder == nil {
			delete(sh.open, e.pos)
			sh.markDirty(r)
			r.Counters.Forbidden.Add(1)
		}
	}
	for _, list := range []*[]*Message{&sh.back, &sh.waiting} {
		*list = slices.DeleteFunc(*list, func(m *Message) bool {
			if !forbidden(m.Topic) {
				return false
			}
			sh.count.Add(-1)
			r.Counters.Forbidden.Add(1)
			return true
		})
	}
}

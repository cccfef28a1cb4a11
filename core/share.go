package core

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pushhub/core/journal"
	"pushhub/core/topic"
)

// A share is one shared subscription, "$share/{ShareName}/{filter}": each message
// that its filter matches goes to one of its members, MQTT 5 §4.8.2. It exists
// while a session subscribes to it.
//
// Members take from a share; nothing is pushed past a member's own window. What
// the log holds for a share that has durable members is a cursor, shared by all
// of them, and the positions before it that are not done: taken by a member, or
// free to be taken. Done is final. Which member has a position stands in the
// member's own window, in memory as in the journal.
type share struct {
	text   string        // the whole subscription
	filter string        // what it matches
	turn   atomic.Uint32 // whose turn it is
	count  atomic.Int32  // of waiting and back

	members []*subscriber         // of attached sessions; guarded by Router.mu, never changed in place
	owners  map[*Session]struct{} // durable sessions that take from the log; guarded by Router.mu

	mu       sync.Mutex // guards what follows
	postings *journal.Postings
	cursor   journal.Position              // what is before is done or in open
	place    int                           // of the cursor in postings
	open     map[journal.Position]*Session // who has it; nil: nobody
	seen     journal.Position              // the last DONE or OPEN record that is in cursor and open
	known    bool                          // which of open nobody has: not so while the log is followed at the start
	free     []journal.Position            // those of open that nobody has, in order, and some that are no longer
	parked   parking                       // the same: some member may not receive them
	waiting  []*Message                    // messages above QoS 0 that are not in the log; at most as many as wait for a session
	back     []*Message                    // the same: what came back, which goes first; the next one is the last
	dirty    bool                          // changed since the journal was told
	told     time.Time                     // when that was
	size     int                           // of what it was told
	woken    bool                          // in shares.woken
	stalled  bool                          // in shares.stalled
	fewer    bool                          // somebody left, or may receive less: what waits may be nobody's
}

// shares are the shared subscriptions of the hub.
type shares struct {
	byText map[string]*share    // guarded by Router.mu
	index  *topic.Index[*share] // by their filter; guarded by Router.mu

	rights uint64 // of the rosters at the last flush; belongs to flushLoop

	mu      sync.Mutex // guards what follows
	woken   []*share   // have something to give away, each at most once
	stalled []*share   // have something, and nobody who takes it; each at most once
	dirty   []*share   // are to be journaled, each at most once
	stuck   []*Session // wait until the journal takes something again
	unsent  []unsent   // the same
	wake    chan struct{}
}

func newShares() shares {
	return shares{byText: map[string]*share{}, index: topic.NewIndex[*share](), wake: make(chan struct{}, 1)}
}

// share finds or makes the share of a subscription; nil when it is not a shared
// one. The caller holds Router.mu.
func (r *Router) share(text string) *share {
	if !topic.IsShared(text) {
		return nil
	}
	if sh := r.shares.byText[text]; sh != nil {
		return sh
	}
	filter, _, err := topic.SplitShare(text)
	if err != nil {
		return nil // of no use, and refused when it was asked for
	}
	sh := &share{text: text, filter: filter}
	r.shares.byText[text] = sh
	r.shares.index.Add(filter, sh)
	return sh
}

// unshare forgets a share that nobody subscribes to. The caller holds Router.mu.
func (r *Router) unshare(sh *share) {
	if len(sh.members) == 0 && len(sh.owners) == 0 {
		delete(r.shares.byText, sh.text)
		r.shares.index.Remove(sh.filter, sh)
	}
}

// shareOf finds the share of a delivery; nil where it is gone.
func (r *Router) shareOf(text string) *share {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.shares.byText[text]
}

// attended reports whether a member of the share is attached.
func (r *Router) attended(sh *share) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(sh.members) > 0
}

// allShares lists the shares.
func (r *Router) allShares() []*share {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]*share, 0, len(r.shares.byText))
	for _, sh := range r.shares.byText {
		list = append(list, sh)
	}
	return list
}

// loggedShares lists the shares that the log serves.
func (r *Router) loggedShares() []*share {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var list []*share
	for _, sh := range r.shares.byText {
		if len(sh.owners) > 0 {
			list = append(list, sh)
		}
	}
	return list
}

// enter puts the subscription of an attached session where publishers find it.
// The caller holds Session.mu and Router.mu.
func (r *Router) enter(filter string, sub *subscriber) {
	s := sub.session
	if sub.share = r.share(filter); sub.share == nil {
		r.online.Add(filter, sub)
		if df := r.filters[filter]; df != nil && s.durable && sub.QoS > 0 {
			df.goOnline(s)
		}
		return
	}
	sh := sub.share
	sh.members = append(slices.Clone(sh.members), sub)
	s.shared = append(s.shared, sub)
	r.wakeShare(sh)
}

// exit undoes enter. The caller holds Session.mu and Router.mu.
func (r *Router) exit(filter string, sub *subscriber) {
	s := sub.session
	if sub.share == nil {
		r.online.Remove(filter, sub)
		if df := r.filters[filter]; df != nil {
			df.goOffline(s)
		}
		return
	}
	is := func(other *subscriber) bool { return other == sub }
	sub.share.members = slices.DeleteFunc(slices.Clone(sub.share.members), is)
	s.shared = slices.DeleteFunc(s.shared, is)
	r.lessen(sub.share)
	r.unshare(sub.share)
}

// own makes a durable session an owner of the share: from then on the log serves
// it. The caller holds Router.mu.
func (sh *share) own(s *Session, df *durableFilter, since journal.Position, live bool) {
	if sh.owners == nil {
		sh.owners = map[*Session]struct{}{}
	}
	sh.owners[s] = struct{}{}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.postings == nil {
		sh.postings, sh.cursor, sh.place = &df.postings, since+1, 0
		sh.open, sh.known = map[journal.Position]*Session{}, live
	}
}

// disown undoes own; without an owner, nothing waits for the share. The caller holds Router.mu.
func (r *Router) disown(sh *share, s *Session) {
	delete(sh.owners, s)
	if len(sh.owners) > 0 {
		r.lessen(sh)
		return
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.postings, sh.open, sh.free, sh.parked = nil, nil, nil, parking{}
}

// wakeShare has what the share holds given away soon. It may be called under any lock.
func (r *Router) wakeShare(sh *share) {
	q := &r.shares
	sh.mu.Lock()
	woken := sh.woken
	sh.woken = true
	sh.mu.Unlock()
	if woken {
		return
	}
	q.mu.Lock()
	q.woken = append(q.woken, sh)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default: // it is awake
	}
}

// markDirty has the share journaled soon. The caller holds sh.mu.
func (sh *share) markDirty(r *Router) {
	if sh.dirty {
		return
	}
	sh.dirty = true
	r.checkpoints.old.Store(true)
	q := &r.shares
	q.mu.Lock()
	q.dirty = append(q.dirty, sh)
	q.mu.Unlock()
}

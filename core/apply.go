package core

import (
	"fmt"

	"pushhub/core/journal"
	"pushhub/core/qos"
	"pushhub/core/session"
)

// tail is what the goroutine that follows the journal owns.
type tail struct {
	batch   Batch
	live    bool // what was stored before the start has been applied
	routes  map[string]*Route
	touched map[*Session]struct{} // sessions with something new in the frame at hand
	shares  map[*share]struct{}   // shares with something new in it
	peers   map[string]string     // interned account and resource names
}

const maxTailRoutes = 8192

// apply changes the state by one frame of the log. It is the only way in which
// durable state changes, while the hub runs and when it starts.
func (r *Router) apply(seq uint64, frame []byte) error {
	r.checkpoints.bytes.Add(int64(len(frame)))
	r.checkpoints.old.Store(true)
	records, err := journal.Split(frame)
	if err != nil {
		r.Counters.Corrupt.Add(1)
		r.log.Error("a frame of the journal is damaged; its records are lost", "sequence", seq, "err", err)
		r.frames.put(&cached{seq: seq, gone: true})
		return nil
	}
	r.frames.put(&cached{seq: seq, records: records})
	for i, raw := range records {
		var rec journal.Record
		err := rec.Decode(raw)
		if err == nil {
			err = r.applyRecord(journal.At(seq, i), &rec)
		}
		if err != nil {
			r.Counters.Corrupt.Add(1)
			r.log.Error("a record of the journal cannot be applied", "position", journal.At(seq, i).String(), "err", err)
		}
	}
	r.applied.Store(uint64(journal.At(seq, max(0, len(records)-1))))
	for sh := range r.tail.shares { // first, so that members take turns
		delete(r.tail.shares, sh)
		r.dispatch(&r.tail.batch, sh)
	}
	for s := range r.tail.touched {
		delete(r.tail.touched, s)
		s.mu.Lock()
		s.pump(&r.tail.batch)
		s.mu.Unlock()
	}
	return nil
}

func (r *Router) applyRecord(pos journal.Position, rec *journal.Record) error {
	switch rec.Kind {
	case journal.KindPub, journal.KindFired:
		return r.applyPub(pos, rec)
	case journal.KindWill:
		return r.applyWill(pos, rec)
	case journal.KindClaim:
		return r.applyClaim(pos, rec)
	case journal.KindEnd:
		r.applyEnd(pos, rec)
		return nil
	case journal.KindFence:
		return nil
	case journal.KindShare, journal.KindDone, journal.KindOpen:
		return r.applyShare(pos, rec)
	}
	s := r.session(r.recordAddress(rec))
	if s == nil || !s.durable {
		return nil // it ended later
	}
	strays, err := r.applyTo(s, pos, rec)
	forfeit(strays)
	return err
}

// applyTo applies a record of a durable session. strays are other sessions'.
func (r *Router) applyTo(s *Session, pos journal.Position, rec *journal.Record) (strays []stray, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pos <= s.state.Applied || uint64(pos) < s.state.Epoch {
		return nil, nil // the checkpoint held it already
	}
	if rec.Kind == journal.KindWindow || rec.Kind == journal.KindCursor {
		return r.applyCursor(s, rec)
	}
	return nil, r.applySession(s, pos, rec)
}

// applyCursor sets a session's window to what the journal has of it. The caller holds its mu.
func (r *Router) applyCursor(s *Session, rec *journal.Record) (strays []stray, err error) {
	if r.tail.live || rec.Epoch != s.state.Epoch {
		return nil, nil // what is in memory is ahead of it, or it is of a session that ended
	}
	had := s.takings()
	r.posted.RLock() // postings are trimmed at the start, too
	err = s.state.ApplyCursor(rec.Body)
	r.posted.RUnlock()
	if err != nil {
		return nil, err
	}
	return r.settleShares(s, had), nil
}

// applySession applies a record of one durable session. The caller holds its mu.
func (r *Router) applySession(s *Session, pos journal.Position, rec *journal.Record) error {
	switch rec.Kind {
	case journal.KindSub:
		d := journal.Decoder{Rest: rec.Body}
		filter, opt := session.DecodeSub(&d)
		if d.Err != nil {
			return d.Err
		}
		r.setDurable(s, filter, opt, pos)
	case journal.KindUnsub:
		r.unsetDurable(s, string(rec.Body))
	case journal.KindHandled:
		if rec.Epoch == s.state.Epoch {
			s.state.Handled = rec.PacketID
		}
	case journal.KindRelease:
		s.state.Release(uint16(rec.PacketID))
	case journal.KindReceived:
		if r.tail.live || rec.Epoch != s.state.Epoch {
			return nil
		}
		if e := s.state.Out.Get(uint16(rec.PacketID)); e != nil {
			e.Phase = qos.Received
		}
	default:
		return fmt.Errorf("%w: record kind %d is unknown", journal.ErrCorrupt, rec.Kind)
	}
	return nil
}

// setDurable subscribes a durable session. The caller holds its mu.
func (r *Router) setDurable(s *Session, filter string, opt session.Options, pos journal.Position) {
	had := s.state.Filter(filter)
	wasLogged := had != nil && had.QoS > 0
	postings := &nothing
	switch {
	case opt.QoS > 0 && wasLogged:
		postings = had.Postings()
	case opt.QoS > 0:
		df := r.refer(s, filter, pos)
		filter, postings = df.text, df.forSession()
	case wasLogged:
		r.unrefer(s, filter)
	}
	r.posted.RLock()
	s.state.Subscribe(filter, opt, pos, postings)
	r.posted.RUnlock()
	if s.active {
		s.setOnline(filter, opt)
	}
}

// unsetDurable unsubscribes it. The caller holds its mu.
func (r *Router) unsetDurable(s *Session, filter string) {
	had := s.state.Filter(filter)
	if had == nil {
		return
	}
	s.state.Unsubscribe(filter)
	s.unsetOnline(filter)
	if had.QoS > 0 {
		r.unrefer(s, filter)
	}
}

// applyClaim makes a connection the owner of a durable session.
func (r *Router) applyClaim(pos journal.Position, rec *journal.Record) error {
	c, err := decodeClaim(rec.Body)
	if err != nil {
		return err
	}
	addr := r.recordAddress(rec)
	s := r.session(addr)
	if s != nil && s.durable && (pos <= s.state.Applied || uint64(pos) <= s.state.Epoch) {
		return nil
	}
	if s != nil {
		s.close(&r.tail.batch, ErrTakenOver)
	}
	if s != nil && s.durable && c.clean {
		r.dropSession(s)
	}
	if s == nil || !s.durable || c.clean {
		s = newSession(r, addr, true)
		s.state.Advance(pos) // nothing from before is the new session's
		r.mu.Lock()
		r.sessions[addr] = s
		r.mu.Unlock()
	} else {
		s.mu.Lock()
		s.resumed = true
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.state.Epoch = uint64(pos)
	s.state.Detached = r.now() // until its connection is bound
	s.state.Expiry, s.state.Tag = c.expiry, c.tag
	s.mu.Unlock()
	return nil
}

// applyEnd forgets a durable session.
func (r *Router) applyEnd(pos journal.Position, rec *journal.Record) {
	addr := r.recordAddress(rec)
	s := r.session(addr)
	if s == nil || !s.durable || pos <= s.state.Applied || uint64(pos) < s.state.Epoch {
		return
	}
	if rec.Epoch != 0 && rec.Epoch != s.state.Epoch {
		return // a device came back before it expired
	}
	s.close(&r.tail.batch, ErrEnded)
	r.dropSession(s)
	r.mu.Lock()
	if r.sessions[addr] == s {
		delete(r.sessions, addr)
	}
	r.mu.Unlock()
	// A suspended device was still present, and its account's messages waited for it.
	gone := &Presence{Kind: Unavailable, From: addr, Since: r.now()}
	if addr.Resource != "" && r.setPresence(&r.tail.batch, gone) {
		if own := r.session(Address{Account: addr.Account}); own != nil && r.tail.live {
			own.mu.Lock()
			own.inherit(&r.tail.batch)
			own.mu.Unlock()
		}
	}
}

// dropSession takes a durable session's filters out of the indexes.
func (r *Router) dropSession(s *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goOffline()
	s.surrender()
	for _, f := range s.state.Filters() {
		if f.QoS > 0 {
			r.unrefer(s, f.Name)
		}
	}
	s.state = session.State{Applied: s.state.Applied}
	s.gone = true
}

// applyPub files a message for the sessions that the log serves, and delivers
// what else waited for it to be stored.
func (r *Router) applyPub(pos journal.Position, rec *journal.Record) error {
	name, q, retain, err := messageTopic(rec.Body)
	if err != nil {
		return err
	}
	rt := r.tailRoute(name)
	if q > 0 {
		r.file(pos, rt, len(rec.Body))
	}
	if rec.PacketID != 0 {
		r.applyInbound(pos, rec, q)
	}
	fired := rec.Kind == journal.KindFired
	if fired {
		r.forgetWill(r.recordAddress(rec))
	}
	waited := (q == 2 || fired) && r.tail.live // nobody has been given it yet
	if !retain && !waited {
		return nil
	}
	m, _ := r.frames.message(r, pos)
	if m == nil {
		return fmt.Errorf("%w: a message on %q", journal.ErrCorrupt, rt.Topic)
	}
	if retain {
		r.retain(pos, m)
	}
	switch {
	case !waited:
	case r.turnsAway(m):
		r.Counters.Forbidden.Add(1)
	default:
		r.deliverOnline(&r.tail.batch, rt, m)
	}
	return nil
}

// file adds a position to the postings of the filters that match.
func (r *Router) file(pos journal.Position, rt *Route, size int) {
	if len(rt.filters) == 0 {
		return
	}
	r.posted.Lock()
	for _, df := range rt.filters {
		df.postings.Add(pos, size)
	}
	r.posted.Unlock()
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, df := range rt.filters {
		if df.share != nil {
			r.tail.shares[df.share] = struct{}{}
		}
		for s := range df.online {
			r.tail.touched[s] = struct{}{}
		}
	}
}

// applyInbound notes the packet id (QoS 2) or the count (XEP-0198) of a durable publisher.
func (r *Router) applyInbound(pos journal.Position, rec *journal.Record, q QoS) {
	s := r.session(r.recordAddress(rec))
	if s == nil || !s.durable {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case pos <= s.state.Applied || rec.Epoch != s.state.Epoch:
		return
	case q == 2:
		s.state.Receive(uint16(rec.PacketID))
	default:
		s.state.Handled = rec.PacketID
	}
}

// tailRoute is Attachment.Route for what was published before.
func (r *Router) tailRoute(name []byte) *Route {
	t := &r.tail
	rt := t.routes[string(name)]
	if rt == nil {
		if t.routes == nil || len(t.routes) >= maxTailRoutes {
			t.routes = make(map[string]*Route)
		}
		rt = &Route{Topic: string(name)}
		t.routes[rt.Topic] = rt
		r.compute(rt)
	} else if rt.generation != r.generation.Load() {
		r.compute(rt)
	}
	return rt
}

// recordAddress is the session of a record, its strings interned.
func (r *Router) recordAddress(rec *journal.Record) Address {
	return Address{r.intern(rec.Account), r.intern(rec.Resource)}
}

func (r *Router) intern(b []byte) string {
	t := &r.tail
	if s, ok := t.peers[string(b)]; ok {
		return s
	}
	if t.peers == nil || len(t.peers) >= maxTailRoutes {
		t.peers = make(map[string]string)
	}
	s := string(b)
	t.peers[s] = s
	return s
}

// recovered is called when all that was stored before the start has been applied.
func (r *Router) recovered() {
	r.tail.live = true
	for _, sh := range r.loggedShares() {
		sh.know()
	}
	r.openInboxes()
	r.fireOrphans()
}

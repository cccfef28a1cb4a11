package core

import (
	"pushhub/core/journal"
	"pushhub/core/session"
)

// log journals the share; the positions in without count as done. It is not
// queued where the log does not serve the share.
func (sh *share) log(r *Router, without map[journal.Position]bool, done func(journal.Position, error)) (queued bool, err error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.postings == nil {
		return false, nil
	}
	body := journal.AppendBytes(nil, sh.text)
	rec := journal.Record{Kind: journal.KindShare, Body: sh.append(body, without)}
	err = r.append(&rec, Address{}, nil, done)
	return err == nil, err
}

// saveShared is save for a session that is not durable: before its device is sent
// something of a share at QoS 2, the journal knows that it is nobody else's, as
// the session ends with the hub [MQTT-4.8.2-5]. The caller holds mu.
func (s *Session) saveShared() {
	text := ""
	without := map[journal.Position]bool{}
	var packets []uint16
	for e := range s.state.Out.Each {
		if e == nil || e.QoS < 2 || e.Value.Saved || e.Value.Pos == 0 || e.Value.Share == "" || (text != "" && e.Value.Share != text) {
			continue
		}
		text = e.Value.Share
		e.Value.Going = true
		without[e.Value.Pos] = true
		packets = append(packets, e.Packet)
	}
	sh := s.r.shareOf(text)
	if sh == nil {
		s.savedShared(nil, packets, nil)
		s.stall()
		return
	}
	queued, err := sh.log(s.r, without, func(_ journal.Position, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.saving = false
		s.savedShared(sh, packets, err)
		if err != nil {
			s.stall()
			return
		}
		s.pump(&s.r.tail.batch)
	})
	if s.saving = queued; !queued {
		s.savedShared(sh, packets, err)
		s.stall()
	}
}

// savedShared marks deliveries as safe to send, unless err. The caller holds mu.
func (s *Session) savedShared(sh *share, packets []uint16, err error) {
	for _, packet := range packets {
		e := s.state.Out.Get(packet)
		if e == nil || !e.Value.Going {
			continue
		}
		e.Value.Saved, e.Value.Going = err == nil, false
		if err == nil && sh != nil {
			sh.done(s.r, e.Value.Pos)
		}
	}
}

// stall has the session go on at the next flush.
func (s *Session) stall() {
	q := &s.r.shares
	q.mu.Lock()
	q.stuck = append(q.stuck, s)
	q.mu.Unlock()
}

// flushShares journals the shares that changed since the last time. A crash before
// costs duplicates at QoS 1, as with the cursors of sessions.
func (r *Router) flushShares() {
	q := &r.shares
	q.mu.Lock()
	dirty, stuck, stalled := q.dirty, q.stuck, q.stalled
	q.dirty, q.stuck, q.stalled = nil, nil, nil
	q.mu.Unlock()
	var b Batch
	for _, s := range stuck {
		s.mu.Lock()
		s.pump(&b)
		s.mu.Unlock()
	}
	b.Flush()
	for _, sh := range dirty {
		sh.mu.Lock()
		sh.dirty = false
		sh.mu.Unlock()
		if _, err := sh.log(r, nil, func(journal.Position, error) {}); err != nil {
			sh.mu.Lock()
			sh.markDirty(r)
			sh.mu.Unlock()
		}
	}
	for _, sh := range stalled {
		sh.mu.Lock()
		sh.stalled = false
		sh.mu.Unlock()
		r.wakeShare(sh)
	}
	if rights := r.accounts.rights.Load(); rights != q.rights {
		q.rights = rights
		r.reconsider()
	}
}

// applyShare takes what the journal tells of a share, at the start; while the hub
// runs, what is in memory is ahead of it.
func (r *Router) applyShare(rec *journal.Record) error {
	if r.tail.live {
		return nil
	}
	d := journal.Decoder{Rest: rec.Body}
	sh := r.shareOf(d.String())
	if sh == nil {
		return d.Err
	}
	strays, err := sh.apply(&d)
	forfeit(strays)
	return err
}

// A taking is a position of the log that a session's window has from a share.
type taking struct {
	pos   journal.Position
	share string
}

// takings are what the session's window has from shares; final where the device
// may have been sent it at QoS 2, so that nobody else may be. The caller holds mu.
func (s *Session) takings() map[taking]bool {
	var found map[taking]bool
	for e := range s.state.Out.Each {
		if e == nil || e.Value.Share == "" || e.Value.Pos == 0 {
			continue
		}
		if found == nil {
			found = map[taking]bool{}
		}
		found[taking{e.Value.Pos, e.Value.Share}] = e.QoS == 2 && session.Offered(e)
	}
	return found
}

// settleShares tells the shares, while the log is followed at the start, what a
// session's window has instead of what it had. What another session had until now,
// that one handed back: strays. The caller holds mu.
func (r *Router) settleShares(s *Session, had map[taking]bool) (strays []stray) {
	has := s.takings()
	for t, final := range had {
		if _, still := has[t]; still {
			continue
		}
		sh := r.shareOf(t.share)
		switch {
		case sh == nil:
		case final:
			sh.done(r, t.pos)
		default:
			sh.give(t.pos, s) // acknowledged or handed back: the share's own record tells
		}
	}
	for t := range has {
		sh := r.shareOf(t.share)
		if sh == nil {
			continue
		}
		strays = sh.hold(r, t, s, strays)
	}
	return strays
}

// hold notes that a session has something from the share, and adds who has it no
// longer: who had it before, or the session, where it is done.
func (sh *share) hold(r *Router, t taking, s *Session, strays []stray) []stray {
	before, done := sh.held(r, t.pos, s)
	switch {
	case done:
		return append(strays, stray{s, t, true})
	case before != nil && before != s:
		return append(strays, stray{before, t, false})
	}
	return strays
}

// A stray is a delivery that a session has no longer.
type stray struct {
	session *Session
	taking
	unsent bool // only if its device was not sent it; else it may be waiting for the end of the handshake
}

// forfeit takes strays out of the windows that still have them.
func forfeit(strays []stray) {
	for _, t := range strays {
		s := t.session
		s.mu.Lock()
		for e := range s.state.Out.Each {
			if e == nil || e.Value.Pos != t.pos || e.Value.Share != t.share {
				continue
			}
			if !t.unsent || !session.Offered(e) {
				s.state.Out.Ack(e.Packet)
			}
			break
		}
		s.mu.Unlock()
	}
}

// addShares writes what the log serves of the shares. It comes after the sessions:
// what is done by now, no session's window that was written before gives back.
func (r *Router) addShares(c *checkpointer) {
	for _, sh := range r.loggedShares() {
		sh.mu.Lock()
		var value []byte
		if sh.postings != nil {
			value = sh.append(nil, nil)
		}
		sh.mu.Unlock()
		if value != nil {
			c.add(entryShare, sh.text, value)
		}
	}
}

// loadShare restores a share; its sessions came before it.
func (r *Router) loadShare(text string, value []byte) error {
	sh := r.shareOf(text)
	if sh == nil {
		return nil // nobody has it any more
	}
	_, err := sh.apply(&journal.Decoder{Rest: value}) // loadTakings tells who has what
	return err
}

// loadTakings tells the shares of a checkpoint what the windows of its sessions
// hold. Where two hold the same, one of them has handed it back: the one that was
// not sent it.
func (r *Router) loadTakings() {
	var strays []stray
	for _, sent := range []bool{false, true} {
		for _, s := range r.durableSessions() {
			s.mu.Lock()
			for e := range s.state.Out.Each {
				if e == nil || e.Value.Share == "" || session.Offered(e) != sent {
					continue
				}
				sh := r.shareOf(e.Value.Share)
				if sh == nil {
					continue
				}
				strays = sh.hold(r, taking{e.Value.Pos, e.Value.Share}, s, strays)
			}
			s.mu.Unlock()
		}
	}
	forfeit(strays)
}

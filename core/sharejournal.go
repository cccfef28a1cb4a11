package core

import (
	"slices"
	"time"

	"pushhub/core/journal"
	"pushhub/core/session"
)

// What a share may have journaled as a whole: all of it below smallShare at each
// flush; what is larger the less often, and beyond maxShare never, as there are
// checkpoints. A crash before costs duplicates at QoS 1, as with the cursors of sessions.
const (
	smallShare = 4 << 10
	maxShare   = 64 << 10
)

// log journals the share, if it is time; later when it is not.
func (sh *share) log(r *Router, now time.Time) (later bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.postings == nil {
		return false
	}
	// A KiB a second at most.
	if pause := time.Duration(sh.size) * time.Second / 1024; sh.size > smallShare && now.Sub(sh.told) < pause {
		return true
	}
	body := sh.append(journal.AppendBytes(nil, sh.text))
	sh.told, sh.size = now, min(len(body), maxShare)
	if len(body) > maxShare {
		return false
	}
	rec := journal.Record{Kind: journal.KindShare, Body: body}
	return r.append(&rec, Address{}, nil, func(journal.Position, error) {}) != nil
}

// logDone journals that positions are done, which a session that is not durable is
// about to be sent. It is not queued where the log does not serve the share.
func (sh *share) logDone(r *Router, positions []journal.Position, done func(journal.Position, error)) (queued bool, err error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.postings == nil {
		return false, nil
	}
	rec := journal.Record{Kind: journal.KindDone, Body: appendPositions(journal.AppendBytes(nil, sh.text), positions)}
	if err := r.append(&rec, Address{}, nil, done); err != nil {
		return false, err
	}
	return true, nil
}

// An unsent is what a session that ended was not sent, and the journal may believe
// it was.
type unsent struct {
	share     *share
	positions []journal.Position
}

// returning has what will be free once the journal knows.
var returning = new(Session)

// reopen has the journal take back what logDone told it, or is about to; then
// others may have the positions. As long as it refuses, each flush tries again.
func (u unsent) reopen(r *Router) {
	sh := u.share
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.postings == nil {
		return
	}
	for _, pos := range u.positions {
		sh.open[pos] = returning
	}
	sh.markDirty(r)
	refused := func() {
		r.shares.mu.Lock()
		defer r.shares.mu.Unlock()
		r.shares.unsent = append(r.shares.unsent, u)
	}
	rec := journal.Record{Kind: journal.KindOpen, Body: appendPositions(journal.AppendBytes(nil, sh.text), u.positions)}
	err := r.append(&rec, Address{}, nil, func(_ journal.Position, err error) {
		if err != nil {
			refused()
			return
		}
		for _, pos := range u.positions {
			sh.give(pos, returning) // it was not applied: its frame was damaged at once
		}
	})
	if err != nil {
		refused()
	}
}

// saveShared is save for a session that is not durable: before its device is sent
// something of a share at QoS 2, the journal knows that it is nobody else's, as
// the session ends with the hub [MQTT-4.8.2-5]. The caller holds mu.
func (s *Session) saveShared() {
	text := ""
	var positions []journal.Position
	var packets []uint16
	for e := range s.state.Out.Each {
		if e == nil || e.QoS < 2 || e.Value.Saved || e.Value.Pos == 0 || e.Value.Share == "" || (text != "" && e.Value.Share != text) {
			continue
		}
		text = e.Value.Share
		e.Value.Going = true
		positions = append(positions, e.Value.Pos)
		packets = append(packets, e.Packet)
	}
	sh := s.r.shareOf(text)
	if sh == nil {
		s.savedShared(packets, nil)
		s.stall()
		return
	}
	slices.Sort(positions)
	queued, err := sh.logDone(s.r, positions, func(_ journal.Position, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.saving = false
		s.savedShared(packets, err)
		if err != nil {
			s.stall()
			return
		}
		s.pump(&s.r.tail.batch)
	})
	if s.saving = queued; !queued {
		s.savedShared(packets, err)
		s.stall()
	}
}

// savedShared marks deliveries as safe to send, unless err. The caller holds mu.
func (s *Session) savedShared(packets []uint16, err error) {
	for _, packet := range packets {
		if e := s.state.Out.Get(packet); e != nil && e.Value.Going {
			e.Value.Saved, e.Value.Going = err == nil, false
		}
	}
}

// stall has the session go on at the next flush. The caller holds mu.
func (s *Session) stall() {
	if s.stuck {
		return
	}
	s.stuck = true
	q := &s.r.shares
	q.mu.Lock()
	q.stuck = append(q.stuck, s)
	q.mu.Unlock()
}

// flushShares journals the shares that changed since the last time.
func (r *Router) flushShares() {
	q := &r.shares
	q.mu.Lock()
	dirty, stuck, unsent, stalled := q.dirty, q.stuck, q.unsent, q.stalled
	q.dirty, q.stuck, q.unsent, q.stalled = nil, nil, nil, nil
	q.mu.Unlock()
	now := time.Now()
	var b Batch
	for _, s := range stuck {
		s.mu.Lock()
		s.stuck = false
		s.pump(&b)
		s.mu.Unlock()
	}
	b.Flush()
	for _, u := range unsent {
		u.reopen(r)
	}
	for _, sh := range dirty {
		sh.mu.Lock()
		sh.dirty = false
		sh.mu.Unlock()
		if sh.log(r, now) {
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

// applyShare takes what the journal tells of a share. While the hub runs, what is
// in memory is ahead of a SHARE record.
func (r *Router) applyShare(at journal.Position, rec *journal.Record) error {
	if r.tail.live && rec.Kind == journal.KindShare {
		return nil
	}
	d := journal.Decoder{Rest: rec.Body}
	sh := r.shareOf(d.String())
	if sh == nil {
		return d.Err
	}
	if rec.Kind == journal.KindShare {
		sh.mu.Lock()
		older := at <= sh.seen
		sh.mu.Unlock()
		if older {
			return nil // the checkpoint is ahead of it
		}
		strays, err := sh.apply(&d)
		forfeit(strays)
		return err
	}
	positions := decodePositions(&d)
	if d.Err != nil {
		return d.Err
	}
	strays := sh.applyOpen(r, at, positions, rec.Kind == journal.KindOpen)
	if r.tail.live {
		r.wakeShare(sh)
		return nil
	}
	forfeit(strays)
	return nil
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
		values := sh.entries()
		sh.mu.Unlock()
		for i, value := range values {
			kind := byte(entryShare)
			if i > 0 {
				kind = entryOpen
			}
			c.add(kind, sh.text, value)
		}
	}
}

// loadShare restores a share; its sessions came before it.
func (r *Router) loadShare(text string, value []byte) error {
	sh := r.shareOf(text)
	if sh == nil {
		return nil // nobody has it any more
	}
	d := journal.Decoder{Rest: value}
	if _, err := sh.apply(&d); err != nil { // loadTakings tells who has what
		return err
	}
	sh.seen = journal.Position(d.Uvarint())
	return d.Err
}

// loadOpen restores more of what a share has open; its entry came before it.
func (r *Router) loadOpen(text string, value []byte) error {
	sh := r.shareOf(text)
	if sh == nil {
		return nil
	}
	d := journal.Decoder{Rest: value}
	positions := decodePositions(&d)
	if d.Err != nil {
		return d.Err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, pos := range positions {
		if sh.postings != nil && pos < sh.cursor {
			sh.open[pos] = nil
		}
	}
	return nil
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

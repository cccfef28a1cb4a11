package core

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"pushhub/core/journal"
)

// rowsEvery is how many flushes of cursors come before one of rows.
const rowsEvery = 20

// load restores accounts, their documents, sessions and retained messages from their rows. What
// the rows do not hold yet, the journal tells.
func (r *Router) load(ctx context.Context) error {
	if err := r.opt.Rows.Load(ctx, BucketAccounts, r.loadAccount); err != nil {
		return fmt.Errorf("loading the accounts: %w", err)
	}
	if err := r.dropOrphans(ctx); err != nil {
		return err
	}
	if err := r.loadCheckpoint(ctx); err != nil {
		return fmt.Errorf("loading the checkpoint: %w", err)
	}
	if err := r.opt.Rows.Load(ctx, BucketRetained, r.loadRetained); err != nil {
		return fmt.Errorf("loading the retained messages: %w", err)
	}
	return nil
}

// sessionKey is the key of a session's row: account and resource may hold any character but U+0000.
func sessionKey(a Address) string { return a.Account + "\x00" + a.Resource }

// loadRetained reads a row: position, publisher, message.
func (r *Router) loadRetained(row Row) error {
	d := journal.Decoder{Rest: row.Value}
	pos := journal.Position(d.Uvarint())
	from := Address{d.String(), d.String()}
	name, _, _, err := messageTopic(d.Rest)
	if err != nil {
		return fmt.Errorf("a retained row: %w", err)
	}
	m, err := decodeMessage(d.Rest, string(name), from)
	if err != nil {
		return fmt.Errorf("a retained row: %w", err)
	}
	r.retained.set(m.Topic, &retainedValue{m.clone(), pos})
	return nil
}

// flushLoop writes cursors often, rows and checkpoints now and then, ends sessions
// whose time is over, and forgets postings that nobody needs.
func (r *Router) flushLoop(ctx context.Context) {
	t := time.NewTicker(r.opt.Flush)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		r.flushCursors()
		r.flushShares()
		if n%rowsEvery != 0 {
			continue
		}
		last := journal.Position(r.applied.Load()) // first: a session that is not in the list is younger
		sessions := r.durableSessions()            // once: there may be millions
		r.expireSessions(sessions)
		r.shed(sessions)
		r.trim(sessions, last)
		if err := r.flushRows(ctx, false); err != nil && ctx.Err() == nil {
			r.log.Error("writing rows; it is tried again", "err", err)
		}
	}
}

// flushCursors journals what devices have acknowledged since the last time. A
// crash before costs duplicates at QoS 1, which are legal, and nothing else.
func (r *Router) flushCursors() {
	d := &r.dirty
	d.Lock()
	sessions := d.cursors
	d.cursors = nil
	d.Unlock()
	var b Batch
	for _, s := range sessions {
		s.mu.Lock()
		s.dirty = false
		rec := journal.Record{Kind: journal.KindCursor, Epoch: s.state.Epoch, Body: s.state.AppendCursor(nil)}
		err := r.append(&rec, s.addr, nil, func(journal.Position, error) {})
		if err != nil {
			s.markDirty()
		}
		s.pump(&b)
		s.mu.Unlock()
		s.again(&b)
	}
	b.Flush()
}

// flushRetained writes the rows of the topics that retain something else than before.
func (r *Router) flushRetained(ctx context.Context) error {
	d := &r.dirty
	d.Lock()
	topics := d.retained
	d.retained = map[string]bool{}
	d.Unlock()
	err := r.put(ctx, BucketRetained, r.retainedRows(topics))
	if err == nil {
		return nil
	}
	d.Lock()
	defer d.Unlock()
	for t := range topics {
		d.retained[t] = true
	}
	return err
}

func (r *Router) put(ctx context.Context, bucket string, rows []Row) error {
	if len(rows) == 0 {
		return nil
	}
	return r.opt.Rows.Put(ctx, bucket, rows)
}

// retainedRows encodes the rows of some topics; a topic that retains nothing loses its row.
func (r *Router) retainedRows(topics map[string]bool) []Row {
	rows := make([]Row, 0, len(topics))
	r.retained.mu.RLock()
	defer r.retained.mu.RUnlock()
	for name := range topics {
		key := sha256.Sum256([]byte(name)) // a topic may be longer than a key
		row := Row{Key: string(key[:])}
		if v, ok := r.retained.values.Get(name); ok && v.pos != 0 {
			row.Value = binary.AppendUvarint(nil, uint64(v.pos))
			row.Value = journal.AppendBytes(row.Value, v.m.From.Account)
			row.Value = journal.AppendBytes(row.Value, v.m.From.Resource)
			row.Value = appendMessage(row.Value, v.m)
		}
		rows = append(rows, row)
	}
	return rows
}

// expireSessions ends the durable sessions whose device stayed away too long.
func (r *Router) expireSessions(sessions []*Session) {
	for _, s := range sessions {
		if over, epoch := s.overdue(); over {
			r.Counters.SessionsExpired.Add(1)
			r.end(s.addr, epoch)
		}
	}
}

// overdue reports whether the device of a durable session stayed away too long,
// and the epoch in which it did.
func (s *Session) overdue() (over bool, epoch uint64) {
	if s == nil || !s.durable {
		return false, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	away := s.addr.Resource != "" && s.state.Detached != 0
	return away && s.state.Detached+s.state.Expiry <= s.r.now(), s.state.Epoch
}

// shed drops the oldest of what waits for a session beyond its limits, and says
// so; what is too old, only while nobody is there to take it.
func (r *Router) shed(sessions []*Session) {
	ages, now := &r.checkpoints.ages, r.now()
	ages.note(now, journal.Position(r.applied.Load()), r.opt.OfflineAge, false)
	old := ages.before(now, r.opt.OfflineAge)
	for _, s := range sessions {
		aged := 0
		s.mu.Lock()
		r.posted.RLock()
		if old > 0 && len(s.attached()) == 0 {
			aged = s.state.ShedUpTo(old)
		}
		dropped := s.state.Shed(r.opt.OfflineMessages, r.opt.OfflineBytes)
		r.posted.RUnlock()
		if dropped+aged > 0 {
			s.markDirty()
		}
		s.mu.Unlock()
		if aged > 0 {
			r.Counters.DroppedOld.Add(uint64(aged))
			r.log.Warn("messages waited too long for a session and are dropped", "session", s.addr.String(), "dropped", aged)
		}
		if dropped > 0 {
			r.Counters.DroppedOffline.Add(uint64(dropped))
			r.log.Warn("a session is too far behind; its oldest messages are dropped", "session", s.addr.String(), "dropped", dropped)
		}
	}
	r.shedShares(old)
}

// shedShares is shed for what waits for shares; what is up to old has waited too long.
func (r *Router) shedShares(old journal.Position) {
	for _, sh := range r.loggedShares() {
		if old > 0 && !r.attended(sh) {
			if aged := sh.shedUpTo(r, old); aged > 0 {
				r.Counters.DroppedOld.Add(uint64(aged))
				r.log.Warn("messages waited too long for a shared subscription and are dropped", "topic", sh.text, "dropped", aged)
			}
		}
		if dropped := sh.shed(r, r.opt.OfflineMessages, r.opt.OfflineBytes); dropped > 0 {
			r.Counters.DroppedOffline.Add(uint64(dropped))
			r.log.Warn("a shared subscription is too far behind; its oldest messages are dropped", "topic", sh.text, "dropped", dropped)
		}
	}
}

func (r *Router) durableSessions() []*Session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]*Session, 0, len(r.sessions))
	for _, s := range r.sessions {
		if s.durable {
			list = append(list, s)
		}
	}
	return list
}

// trim forgets the postings that no session needs any more. The sessions are all
// that were there when last was the end of the log, or more.
func (r *Router) trim(sessions []*Session, last journal.Position) {
	needs := map[*journal.Postings]journal.Position{}
	for _, s := range sessions {
		s.mu.Lock()
		r.posted.RLock()
		need := min(s.state.Needs(last), last+1) // what came since, others may need
		for _, f := range s.state.Filters() {
			if f.Postings().Len() == 0 {
				continue
			}
			if old, ok := needs[f.Postings()]; !ok || need < old {
				needs[f.Postings()] = need
			}
		}
		r.posted.RUnlock()
		s.mu.Unlock()
	}
	for _, sh := range r.loggedShares() {
		if p, need := sh.needs(); p != nil {
			needs[p] = min(need, last+1)
		}
	}
	r.posted.Lock()
	defer r.posted.Unlock()
	for p, need := range needs {
		p.Trim(need)
	}
}

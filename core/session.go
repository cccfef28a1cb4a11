package core

import (
	"sync"
	"sync/atomic"

	"pushhub/core/journal"
	"pushhub/core/qos"
	"pushhub/core/session"
)

// A Session is what the hub keeps for a device, or for an account as a whole.
// A durable one changes by what the journal says, and by what its device
// acknowledges; any other lives as long as its connection.
type Session struct {
	r       *Router
	addr    Address
	durable bool

	online atomic.Pointer[[]*Attachment] // read without mu at QoS 0; written under mu

	mu       sync.Mutex // guards what follows
	state    session.State
	subs     map[string]*subscriber // as publishers find them while it is attached; all of a clean session's
	shared   []*subscriber          // those of subs that are members of shares
	queue    []held                 // deliveries that are not in the log and wait for the window
	active   bool                   // a device is attached and has been told so
	full     bool                   // the device's out-queue had no room
	reading  bool                   // the frame of need is being read for it
	need     journal.Position
	unstored []uint16       // QoS 2: PUBRECs whose records were refused
	saving   bool           // a QoS 2 window is on its way to the journal
	stuck    bool           // in shares.stuck
	dirty    bool           // acknowledged more than the journal knows
	resumed  bool           // the last claim found it there
	asked    map[string]int // filters for which a place is held, see reserve
	gone     bool           // ended, or begun anew
}

// subscriber is one subscription of an attached session.
type subscriber struct {
	session *Session
	session.Options
	share  *share   // nil: it is the session's own
	ids    []uint32 // its identifier, as a delivery has it
	seen   uint64   // of share's parked, by place: it may not receive what is before; guarded by share.mu
	rights uint64   // of the rosters then; guarded by share.mu
}

func newSubscriber(s *Session, opt session.Options) *subscriber {
	sub := &subscriber{session: s, Options: opt}
	if opt.ID != 0 {
		sub.ids = []uint32{opt.ID}
	}
	return sub
}

// nobody is the device list of every session without one.
var nobody []*Attachment

// held is a delivery of a message that is not in the log.
type held struct {
	m *Message
	session.Match
	retain bool
}

func newSession(r *Router, addr Address, durable bool) *Session {
	s := &Session{r: r, addr: addr, durable: durable}
	s.online.Store(&nobody)
	s.state.Out.SetMax(r.opt.Window)
	return s
}

// attached are the devices on the session: one, or several on an account's own.
func (s *Session) attached() []*Attachment { return *s.online.Load() }

// deliver gives one delivery to every device; it is queued when one of them took it.
func (s *Session) deliver(b *Batch, d Delivery) Outcome {
	best := Refused
	one := s.named(d.Message)
	for _, att := range s.attached() {
		if one != nil && one != att {
			continue
		}
		d.To = att
		best = min(best, att.dev.Deliver(b, d))
	}
	// Delivered again, it was copied before.
	if best == Queued && !d.Dup && s.addr.Resource == "" && d.Message != nil && d.Message.Copies {
		given := s.attached()
		if one != nil {
			given = []*Attachment{one}
		}
		s.r.copyReceived(b, d.Message, s.addr.Account, given)
	}
	return best
}

// named is the one device of an account's own session that a message is for; nil: all.
func (s *Session) named(m *Message) *Attachment {
	if s.addr.Resource != "" || m == nil || m.Resource == "" {
		return nil
	}
	return s.device(m.Resource)
}

// device finds an attached device by its resource.
func (s *Session) device(resource string) *Attachment {
	for _, att := range s.attached() {
		if att.resource == resource {
			return att
		}
	}
	return nil
}

// deliverQoS0 needs no lock and keeps nothing.
func (s *Session) deliverQoS0(b *Batch, m *Message, retain bool, ids []uint32) {
	switch s.deliver(b, Delivery{Message: m, Retain: retain, SubIDs: ids}) {
	case Full:
		s.r.Counters.DroppedSlow.Add(1)
	case Refused:
		if len(s.attached()) > 0 {
			s.r.Counters.DroppedDevice.Add(1)
		}
	}
}

// deliverHeld delivers at QoS 1 or 2 what is not in the log: at once when the
// window has room, else from a bounded queue.
func (s *Session) deliverHeld(b *Batch, m *Message, q QoS, retain bool, ids []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.active {
		return
	}
	match := session.Match{QoS: q, IDs: ids}
	// A durable session may have to send it again to the next device: it is copied.
	if s.durable || len(s.queue) > 0 || s.full || !s.state.Out.Room() || s.state.Out.NextDue() != nil {
		s.hold(m, match, retain)
		s.pump(b)
		return
	}
	e := s.state.Out.Add(q, session.Item{Match: match})
	switch s.send(b, e, m, retain) {
	case Full:
		e.Value.Held = &held{m.clone(), match, retain}
		s.full = true
	case Refused:
		s.state.Out.Ack(e.Packet)
		s.r.Counters.DroppedDevice.Add(1)
	}
}

// hold queues a delivery; the message is copied.
func (s *Session) hold(m *Message, match session.Match, retain bool) {
	if len(s.queue) >= s.r.opt.QueueMessages {
		s.r.Counters.DroppedQueue.Add(1)
		return
	}
	s.queue = append(s.queue, held{m.clone(), match, retain})
}

// send gives an entry of the window to the device and notes its phase.
func (s *Session) send(b *Batch, e *qos.Entry[session.Item], m *Message, retain bool) Outcome {
	out := s.deliver(b, Delivery{
		Message: m, QoS: e.QoS, Retain: retain, Dup: e.Dup, Packet: e.Packet, SubIDs: e.Value.IDs,
	})
	if out == Queued {
		e.Phase = qos.Sent
		s.r.Counters.Delivered.Add(1)
	}
	return out
}

// pump moves deliveries from the queue and the log into the window and sends
// what is due, until the window, the device or the log says stop. The caller holds mu.
func (s *Session) pump(b *Batch) {
	for s.active && !s.full {
		added, open := s.fill(b), s.state.Out.Open()
		if !s.sendDue(b) || (!added && s.state.Out.Open() == open) {
			return
		}
	}
}

// fill adds to the window what is next; false when nothing was added.
func (s *Session) fill(b *Batch) (added bool) {
	if len(s.shared) > 0 {
		added = s.fillShared(b)
	}
	for len(s.queue) > 0 && s.state.Out.Room() {
		h := s.queue[0]
		s.queue[0] = held{}
		s.queue = s.queue[1:]
		s.state.Out.Add(h.QoS, session.Item{Match: h.Match, Held: &h})
		added = true
	}
	if len(s.queue) == 0 {
		s.queue = nil
	}
	for s.durable && !s.reading && s.state.Out.Room() {
		pos, match, ok := s.next()
		if !ok {
			break
		}
		m, known := s.r.frames.message(s.r, pos)
		if !known {
			s.read(pos)
			break
		}
		s.advance(pos)
		if !s.wanted(m, match) {
			continue
		}
		match.QoS = min(match.QoS, m.QoS)
		s.state.Out.Add(match.QoS, session.Item{Pos: pos, Match: match})
		added = true
	}
	return added
}

func (s *Session) next() (journal.Position, session.Match, bool) {
	s.r.posted.RLock()
	defer s.r.posted.RUnlock()
	return s.state.Next()
}

func (s *Session) advance(pos journal.Position) {
	s.r.posted.RLock()
	s.state.Advance(pos)
	s.r.posted.RUnlock()
	s.markDirty()
}

// wanted reports whether a record that a filter matches is to be delivered.
func (s *Session) wanted(m *Message, match session.Match) bool {
	switch {
	case m == nil:
		s.r.Counters.Gone.Add(1)
		return false
	case match.NoLocal && m.From == s.addr: // [MQTT-3.8.3-3]
		return false
	case m.Expires != 0 && m.Expires <= s.r.now(): // [MQTT-3.3.2-5]
		s.r.Counters.Expired.Add(1)
		return false
	case !s.r.mayReceive(s.addr.Account, m.Topic):
		s.r.Counters.Forbidden.Add(1)
		return false
	case s.r.turnsAway(m):
		s.r.Counters.Forbidden.Add(1)
		return false
	}
	return true
}

// sendDue sends what is due, in order; false when it has to wait for something.
func (s *Session) sendDue(b *Batch) bool {
	for {
		e := s.state.Out.NextDue()
		if e == nil {
			return true
		}
		if e.Phase == qos.Received {
			s.sendRelease(b, e)
			continue
		}
		if e.QoS == 2 && !e.Value.Saved && (s.durable || e.Value.Share != "" && e.Value.Pos != 0) {
			s.save()
			return false
		}
		m, retain, known := s.messageOf(e)
		if !known {
			s.read(e.Value.Pos)
			return false
		}
		if m == nil || (m.Expires != 0 && m.Expires <= s.r.now() && !e.Dup) {
			s.drop(e, m)
			continue
		}
		one := s.named(m)
		if one != nil && one.clogged {
			s.state.Out.SetAside(e)
			continue
		}
		switch s.send(b, e, m, retain) {
		case Full:
			if one == nil {
				s.full = true
				s.handBack()
				return false
			}
			s.state.Out.SetAside(e)
			one.clogged = true // the account's other devices do not wait for it
		case Refused:
			s.r.Counters.DroppedDevice.Add(1)
			s.settle(e)
			s.state.Out.Ack(e.Packet)
			s.markDirty()
		}
	}
}

func (s *Session) drop(e *qos.Entry[session.Item], m *Message) {
	if m == nil {
		s.r.Counters.Gone.Add(1)
	} else {
		s.r.Counters.Expired.Add(1)
	}
	s.settle(e)
	s.state.Out.Ack(e.Packet)
	s.markDirty()
}

func (s *Session) messageOf(e *qos.Entry[session.Item]) (m *Message, retain, known bool) {
	if h, ok := e.Value.Held.(*held); ok {
		return h.m, h.retain, true
	}
	if e.Value.Pos == 0 {
		return nil, false, true
	}
	m, known = s.r.frames.message(s.r, e.Value.Pos)
	return m, m != nil && m.Retain && e.Value.RetainAsPublished, known
}

// sendRelease sends PUBREL.
func (s *Session) sendRelease(b *Batch, e *qos.Entry[session.Item]) {
	s.deliver(b, Delivery{Release: true, QoS: 2, Packet: e.Packet})
	e.Phase = qos.Released
}

// save makes the window durable before QoS 2 messages go out, so that they go
// out under the same packet ids after a crash. The caller holds mu.
func (s *Session) save() {
	if s.saving {
		return
	}
	if !s.durable {
		s.saveShared()
		return
	}
	s.going(true)
	rec := journal.Record{Kind: journal.KindWindow, Epoch: s.state.Epoch, Body: s.state.AppendCursor(nil)}
	last := s.state.Out.End()
	err := s.r.append(&rec, s.addr, nil, func(_ journal.Position, err error) { s.saved(last, err) })
	if err != nil {
		s.going(false)
		s.r.log.Warn("queueing a QoS 2 window; the session waits", "session", s.addr.String(), "err", err)
		s.markDirty() // the flush wakes it again
		return
	}
	s.saving = true
}

// saved marks what the stored window held, up to sequence number last, as safe to send.
func (s *Session) saved(last uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saving = false
	if err != nil {
		s.going(false)
		s.r.log.Error("storing a QoS 2 window", "session", s.addr.String(), "err", err)
		s.markDirty() // the flush wakes it again
		return
	}
	seq := s.state.Out.Sequence()
	s.state.Out.Each(func(e *qos.Entry[session.Item]) bool {
		if seq >= last {
			return false
		}
		if e != nil && e.Value.Going {
			e.Value.Saved, e.Value.Going = true, false
		}
		seq++
		return true
	})
	s.pump(&s.r.tail.batch)
}

// going notes which deliveries the window on its way to the journal is about. The caller holds mu.
func (s *Session) going(on bool) {
	for e := range s.state.Out.Each {
		if e != nil {
			e.Value.Going = on && !e.Value.Saved
		}
	}
}

// markDirty has the session's cursor written soon. The caller holds mu.
func (s *Session) markDirty() {
	if s.dirty || !s.durable {
		return
	}
	s.dirty = true
	s.r.checkpoints.old.Store(true)
	d := &s.r.dirty
	d.Lock()
	d.cursors = append(d.cursors, s)
	d.Unlock()
}

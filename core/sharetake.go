package core

import (
	"slices"

	"pushhub/core/journal"
	"pushhub/core/qos"
	"pushhub/core/session"
)

// A taken is what came of an attempt to take from a share.
type taken uint8

const (
	tookOne  taken = iota
	tookNone       // there is nothing
	noRoom         // the session cannot take anything now
	passed         // it passed something over; there may be more
)

// takesPerFill is how much of a share a session takes before it sends: one frame
// of the log brings work for several, and a device that has no room hands it back.
const takesPerFill = 16

// takeShared takes one delivery from a share into the window. The caller holds mu.
func (s *Session) takeShared(b *Batch, sub *subscriber) taken {
	if !s.active || s.full || !s.state.Out.Room() {
		return noRoom
	}
	if res := s.takeWaiting(b, sub); res != tookNone {
		return res
	}
	if s.reading {
		return noRoom
	}
	sh, r := sub.share, s.r
	pos, res := sh.take(r, sub)
	if res != tookOne {
		return res
	}
	m, known := r.frames.message(r, pos)
	switch {
	case !known:
		sh.give(pos, s)
		s.read(pos)
		return noRoom
	case m != nil && !r.mayReceive(s.addr.Account, m.Topic):
		r.passOver(sub, pos, m.Topic)
		return passed
	case !s.wanted(m, session.Match{}):
		sh.done(r, pos)
		return passed
	}
	item := session.Item{Pos: pos, Share: sh.text, Match: sub.match(m)}
	if item.QoS > 0 {
		s.state.Out.Add(item.QoS, item)
		s.markDirty()
		return tookOne
	}
	if !s.deliverShared(b, sub, m) {
		sh.give(pos, s)
		return noRoom
	}
	sh.done(r, pos)
	return tookOne
}

// takeWaiting takes one of the share's messages that are not in the log. The caller holds mu.
func (s *Session) takeWaiting(b *Batch, sub *subscriber) taken {
	m := sub.share.next(s.r, s.addr.Account)
	switch {
	case m == nil:
		return tookNone
	case !s.wanted(m, session.Match{}):
		return passed
	case !s.holdShared(b, sub, m):
		sub.share.putBack(m)
		return noRoom
	}
	return tookOne
}

// holdShared puts a message into the window that is not in the log; it is kept until
// it is acknowledged. False: the device has no room. The caller holds mu.
func (s *Session) holdShared(b *Batch, sub *subscriber, m *Message) bool {
	match := sub.match(m)
	if match.QoS == 0 {
		return s.deliverShared(b, sub, m)
	}
	h := &held{m, match, m.Retain && match.RetainAsPublished}
	s.state.Out.Add(match.QoS, session.Item{Share: sub.share.text, Held: h, Match: match})
	return true
}

// match is how a member's subscription takes a message: at the lower QoS of the two [MQTT-4.8.2-3].
func (sub *subscriber) match(m *Message) session.Match {
	return session.Match{QoS: min(m.QoS, sub.QoS), RetainAsPublished: sub.RetainAsPublished, IDs: sub.ids}
}

// deliverShared delivers at QoS 0; false when the devices have no room.
func (s *Session) deliverShared(b *Batch, sub *subscriber, m *Message) bool {
	d := Delivery{Message: m, Retain: m.Retain && sub.RetainAsPublished, SubIDs: sub.ids}
	switch s.deliver(b, d) {
	case Full:
		return false
	case Refused:
		if len(s.attached()) == 0 {
			return false
		}
		s.r.Counters.DroppedDevice.Add(1)
	}
	return true
}

// offer has a member take one delivery from a share.
func (s *Session) offer(b *Batch, sub *subscriber) taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subs[sub.share.text] != sub {
		return noRoom
	}
	res := s.takeShared(b, sub)
	if res == tookOne {
		s.sendDue(b)
	}
	return res
}

// fillShared takes what the session has room for; false when nothing was there. The caller holds mu.
func (s *Session) fillShared(b *Batch) (added bool) {
	for _, sub := range s.shared {
		for range takesPerFill {
			res := s.takeShared(b, sub)
			if res == passed {
				s.r.wakeShare(sub.share) // others may take it, and this one go on
			}
			if res != tookOne {
				break
			}
			added = true
		}
	}
	return added
}

// settle says that a delivery is out of the window for good: nobody else is to
// have it, whatever the device answered [MQTT-4.8.2-6]. The caller holds mu, and takes it out of the window next.
func (s *Session) settle(e *qos.Entry[session.Item]) {
	if e.Value.Share == "" || e.Value.Pos == 0 {
		return
	}
	if sh := s.r.shareOf(e.Value.Share); sh != nil {
		sh.done(s.r, e.Value.Pos)
	}
}

// handBack gives the shares what was taken from them and not sent, so that nobody
// waits for this session's device. What the journal believes to be sent at QoS 2
// stays. The caller holds mu.
func (s *Session) handBack() {
	s.giveBack(func(e *qos.Entry[session.Item]) bool {
		return e.Phase == qos.Waiting && !e.Dup && (e.QoS < 2 || !session.Offered(e))
	})
}

// surrender gives the shares all that another member may be sent, when the session
// ends (MQTT 5 §4.8.2). What the device was sent at QoS 2 is nobody else's
// [MQTT-4.8.2-5]. The caller holds mu.
func (s *Session) surrender() {
	s.giveBack(func(e *qos.Entry[session.Item]) bool { return e.QoS < 2 || !session.Offered(e) })
	back := map[string][]journal.Position{} // of each share, what the journal believes to be sent, and was not
	for e := range s.state.Out.Each {
		switch {
		case e == nil || e.Value.Share == "":
		case s.durable || e.Phase != qos.Waiting || e.Dup || e.Value.Pos == 0:
			s.settle(e)
		default:
			back[e.Value.Share] = append(back[e.Value.Share], e.Value.Pos)
			e.Value.Going = false
		}
	}
	for text, positions := range back {
		slices.Sort(positions)
		if sh := s.r.shareOf(text); sh != nil {
			unsent{sh, positions}.reopen(s.r)
			continue
		}
		s.r.Counters.DroppedShared.Add(uint64(len(positions)))
	}
}

// giveBack takes the deliveries that came from shares, and that which is true
// for, out of the window. The caller holds mu.
func (s *Session) giveBack(which func(*qos.Entry[session.Item]) bool) {
	var packets []uint16
	for e := range s.state.Out.Each {
		if e != nil && e.Value.Share != "" && which(e) {
			packets = append(packets, e.Packet)
		}
	}
	for _, packet := range slices.Backward(packets) { // the newest first: they go to the front
		e := s.state.Out.Get(packet)
		s.r.returned(s, e.Value)
		s.state.Out.Ack(packet)
	}
	if len(packets) > 0 {
		s.markDirty()
	}
}

// returned gives one delivery back to its share; where that is gone, nobody waits for it.
func (r *Router) returned(s *Session, item session.Item) {
	sh := r.shareOf(item.Share)
	h, ok := item.Held.(*held)
	switch {
	case sh == nil:
		r.Counters.DroppedShared.Add(1)
		return
	case ok:
		sh.putBack(h.m)
	default:
		sh.give(item.Pos, s)
	}
	r.wakeShare(sh)
}

// unsend notes, when its last device has gone, which of the deliveries from shares
// were never sent, and hands them back once the journal knows. The caller holds mu.
func (s *Session) unsend() {
	found := false
	for e := range s.state.Out.Each {
		if e == nil || e.Value.Share == "" {
			continue
		}
		found = true
		if e.Phase == qos.Waiting && !e.Dup {
			e.Value.Saved, e.Value.Going = false, false
		}
	}
	if !found {
		return
	}
	// Before the session's end, which may follow: what its window has is known then.
	rec := journal.Record{Kind: journal.KindCursor, Epoch: s.state.Epoch, Body: s.state.AppendCursor(nil)}
	if s.r.append(&rec, s.addr, nil, func(journal.Position, error) {}) == nil {
		s.handBack()
	}
}

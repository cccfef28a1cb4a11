package core

import (
	"fmt"
	"strings"

	"pushhub/core/journal"
	"pushhub/core/topic"
)

// maxRoutes bounds the routes that one connection keeps.
const maxRoutes = 256

// A Route is what a publish to one topic needs: who gets it. It is cached, and
// computed again when subscriptions changed since.
type Route struct {
	Topic      string
	generation uint64
	targets    []target         // attached sessions
	filters    []*durableFilter // filters that the log serves
	shares     []shareRoute     // shared subscriptions
	inbox      string           // the account that an inbox topic belongs to
	answer     string           // the inbox topic for an answer to it
	picky      bool             // the publisher has blocked single devices of that account
}

// A target is one attached session that a topic matches.
type target struct {
	session *Session
	qos     QoS
	noLocal bool
	rap     bool
	ids     []uint32
}

// logged reports whether the target takes messages of the publisher's QoS from the log.
func (t *target) logged(qos QoS) bool { return qos > 0 && t.qos > 0 && t.session.durable }

// Route finds what a publish to topic needs, checked against the syntax and the
// access rules. It is called by the device's own goroutine only. Errors:
// ErrBadTopic, ErrForbidden (ErrBlocked, ErrUnwanted), and ErrNotFound for the inbox
// of an unknown account.
func (a *Attachment) Route(name []byte) (*Route, error) {
	if rt := a.routes[string(name)]; rt != nil {
		if err := a.refresh(rt); err != nil {
			return nil, err
		}
		return rt, nil
	}
	if err := topic.ValidateNameBytes(name); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadTopic, err)
	}
	if err := checkSize(a.r, name); err != nil {
		return nil, err
	}
	if err := a.r.acl.CanPublish(a.addr.Account, string(name)); err != nil {
		a.r.Counters.Forbidden.Add(1)
		return nil, fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	rt := &Route{Topic: string(name)}
	if to, from, ok := Inbox(rt.Topic); ok {
		rt.inbox, rt.answer = to, InboxTopic(from, to)
	}
	if err := a.compute(rt); err != nil {
		return nil, err
	}
	if a.routes == nil || len(a.routes) >= maxRoutes {
		a.routes = make(map[string]*Route)
	}
	a.routes[rt.Topic] = rt
	return rt, nil
}

func (a *Attachment) refresh(rt *Route) error {
	if rt.generation == a.r.generation.Load() {
		return nil
	}
	return a.compute(rt)
}

func (a *Attachment) compute(rt *Route) error {
	if rt.inbox == "" {
		a.r.compute(rt)
		return nil
	}
	before := a.r.generation.Load() // a change after what is checked here makes the route old
	if !a.r.accounts.exists(rt.inbox) {
		return fmt.Errorf("%w: there is no account %q", ErrNotFound, rt.inbox)
	}
	if err := a.r.mayWrite(a.addr, Address{Account: rt.inbox}); err != nil {
		return err
	}
	own := a.r.accounts.get(a.addr.Account)
	rt.picky = own != nil && own.BlocksSomeDevice(rt.inbox)
	a.r.compute(rt)
	rt.generation = before
	return nil
}

// compute fills a route.
func (r *Router) compute(rt *Route) {
	rt.generation = r.generation.Load() // before the look-up: a change in between makes it old
	rt.targets, rt.filters, rt.shares = rt.targets[:0:0], rt.filters[:0:0], nil
	r.mu.RLock()
	subs := r.online.Match(rt.Topic, nil)
	rt.filters = r.durable.Match(rt.Topic, rt.filters)
	for _, sh := range r.shares.index.Match(rt.Topic, nil) {
		rt.shares = append(rt.shares, shareRoute{sh, sh.members, len(sh.owners) > 0})
	}
	r.mu.RUnlock()
	for i := range rt.shares {
		rt.shares[i].allow(r, rt.Topic)
	}
	var seen map[*Session]int
	if len(subs) > 1 {
		seen = make(map[*Session]int, len(subs))
	}
	for _, s := range subs {
		if at, dup := seen[s.session]; dup {
			rt.targets[at].merge(s)
			continue
		}
		if !r.mayReceive(s.session.addr.Account, rt.Topic) {
			continue
		}
		if seen != nil {
			seen[s.session] = len(rt.targets)
		}
		t := target{session: s.session, noLocal: true}
		t.merge(s)
		rt.targets = append(rt.targets, t)
	}
}

// merge joins overlapping subscriptions of a session into one delivery [MQTT-3.3.4-2].
func (t *target) merge(s *subscriber) {
	t.qos = max(t.qos, s.QoS)
	t.noLocal = t.noLocal && s.NoLocal
	t.rap = t.rap || s.RetainAsPublished
	if s.ID != 0 {
		t.ids = append(t.ids, s.ID)
	}
}

// mayReceive is the last of the three access checks: at delivery.
func (r *Router) mayReceive(account, name string) bool {
	return r.acl.CanReceive(account, name, r.accounts.mayWatch) == nil
}

// Publish takes a message on a route. It sets m's topic, publisher and time.
// packet is the packet id at QoS 2. When it returns pending, Device.Stored
// follows with the token; otherwise the message is accepted now, or refused:
// ErrBusy, ErrStopped, or what Route returns.
func (a *Attachment) Publish(b *Batch, rt *Route, m *Message, packet uint16, token uint64) (pending bool, err error) {
	if err := a.refresh(rt); err != nil {
		return false, err
	}
	if rt.picky && m.Resource != "" {
		if err := a.r.mayWrite(a.addr, Address{rt.inbox, m.Resource}); err != nil {
			return false, err
		}
	}
	m.Topic, m.From = rt.Topic, a.addr
	if m.Time == 0 && (m.QoS > 0 || m.Retain || rt.inbox != "") {
		m.Time = a.r.now()
	}
	if strings.HasPrefix(rt.Topic, "$") {
		m.Retain = false // the hub's own topics keep nothing that a client sends
	}
	if rt.inbox != "" && m.ResponseTopic == "" {
		m.ResponseTopic = rt.answer
	}
	a.r.Counters.Published.Add(1)
	if m.QoS == 2 {
		return a.publishOnce(b, rt, m, packet, token)
	}
	if m.QoS == 0 && m.Resource != "" && a.r.direct(b, rt, m) {
		a.r.copySent(b, m)
		return false, nil
	}
	switch {
	case m.QoS == 1 && (m.Retain || len(rt.filters) > 0):
		// Refused, it comes again: nobody may have been given it before.
		err = a.r.append(&journal.Record{Kind: journal.KindPub, PacketID: m.Number, Epoch: a.epoch}, a.addr, m, a.storedCopied(token, m))
		if err != nil {
			return false, err
		}
		pending = true
	case m.Retain:
		if a.r.append(&journal.Record{Kind: journal.KindPub, Epoch: a.epoch}, a.addr, m, func(journal.Position, error) {}) != nil {
			a.r.Counters.DroppedBusy.Add(1)
		}
	}
	a.r.deliverOnline(b, rt, m)
	if !pending {
		a.r.copySent(b, m)
	}
	return pending, nil
}

// stored tells the device what became of what it gave this token for.
func (a *Attachment) stored(token uint64) func(journal.Position, error) {
	return func(_ journal.Position, err error) { a.dev.Stored(&a.r.tail.batch, token, err) }
}

// publishOnce publishes a QoS 2 message unless it is a duplicate [MQTT-4.3.3-10].
func (a *Attachment) publishOnce(b *Batch, rt *Route, m *Message, packet uint16, token uint64) (pending bool, err error) {
	s := a.session
	s.mu.Lock()
	if a.over {
		s.mu.Unlock()
		return false, ErrTakenOver
	}
	if _, dup := s.state.Inbound[packet]; dup {
		s.mu.Unlock()
		return false, nil
	}
	// Nothing of it outlives the hub when no session does that has to do with it.
	if !s.durable && !m.Retain && len(rt.filters) == 0 && len(a.storing) == 0 {
		s.state.Receive(packet)
		s.mu.Unlock()
		a.r.deliverOnline(b, rt, m)
		return false, nil
	}
	defer s.mu.Unlock()
	return a.storeOnce(m, packet, token)
}

// storeOnce stores a QoS 2 message with its packet id, in one record. A duplicate
// of one that is yet to be stored comes to the same as that. The caller holds the
// session's mu, so that whoever takes the session over has its claim behind the record.
func (a *Attachment) storeOnce(m *Message, packet uint16, token uint64) (pending bool, err error) {
	s, r := a.session, a.r
	if also, storing := a.storing[packet]; storing {
		a.storing[packet] = append(also, token)
		return true, nil
	}
	err = r.append(&journal.Record{Kind: journal.KindPub, PacketID: uint32(packet), Epoch: a.epoch}, a.addr, m, func(_ journal.Position, err error) {
		s.mu.Lock()
		also := a.storing[packet]
		delete(a.storing, packet)
		if err == nil && !s.durable {
			s.state.Receive(packet)
		}
		s.mu.Unlock()
		for _, token := range append(also, token) {
			a.dev.Stored(&r.tail.batch, token, err)
		}
	})
	if err != nil {
		return false, err
	}
	if a.storing == nil {
		a.storing = map[uint16][]uint64{}
	}
	a.storing[packet] = nil
	return true, nil
}

// Count stores how many of the device's stanzas are handled, when the last of
// them left no message in the journal: what is told to a client must not be
// taken back after a crash. pending as for Publish.
func (a *Attachment) Count(handled uint32, token uint64) (pending bool, err error) {
	rec := journal.Record{Kind: journal.KindHandled, PacketID: handled, Epoch: a.epoch}
	err = a.r.append(&rec, a.addr, nil, a.stored(token))
	return err == nil, err
}

// append encodes a record, with m as its body where there is one, and queues it.
func (r *Router) append(rec *journal.Record, addr Address, m *Message, done func(journal.Position, error)) error {
	buf := recordBuffers.Get().(*recordBuffer)
	defer recordBuffers.Put(buf)
	rec.Account = append(buf.account[:0], addr.Account...)
	rec.Resource = append(buf.resource[:0], addr.Resource...)
	buf.account, buf.resource = rec.Account, rec.Resource
	buf.b = rec.Append(buf.b[:0])
	if m != nil {
		buf.b = appendMessage(buf.b, m)
	}
	return r.opt.Journal.Append(buf.b, done)
}

// deliverOnline gives m to the attached sessions that do not take it from the log.
func (r *Router) deliverOnline(b *Batch, rt *Route, m *Message) {
	for i := range rt.targets {
		t := &rt.targets[i]
		switch {
		case t.logged(m.QoS):
		case t.noLocal && t.session.addr == m.From: // [MQTT-3.8.3-3]
		case min(t.qos, m.QoS) == 0:
			t.session.deliverQoS0(b, m, m.Retain && t.rap, t.ids)
		default:
			t.session.deliverHeld(b, m, min(t.qos, m.QoS), m.Retain && t.rap, t.ids)
		}
	}
	for i := range rt.shares {
		r.deliverShared(b, &rt.shares[i], m)
	}
}

// direct delivers a QoS 0 inbox message to the one device that it names, when
// that is there (RFC 6121 §8.5.3.1). Any other goes through its account's session,
// which the journal keeps.
func (r *Router) direct(b *Batch, rt *Route, m *Message) bool {
	s := r.session(Address{rt.inbox, m.Resource})
	if s == nil || !s.takesInbox() {
		return false
	}
	s.deliverQoS0(b, m, false, nil)
	if m.Copies {
		r.copyReceived(b, m, rt.inbox, s.attached())
	}
	return true
}

// takesInbox reports whether a device is there that takes messages to its full address.
func (s *Session) takesInbox() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	atts := s.attached()
	return s.active && len(atts) > 0 && atts[0].inbox
}

// Release takes the PUBREL of an inbound QoS 2 message. pending as for Publish;
// ErrNotFound: the packet id is not known.
func (a *Attachment) Release(b *Batch, packet uint16, token uint64) (pending bool, err error) {
	s := a.session
	s.mu.Lock()
	_, known := s.state.Inbound[packet]
	if known && !s.durable {
		s.state.Release(packet)
	}
	s.mu.Unlock()
	if !known {
		return false, fmt.Errorf("%w: packet identifier %d", ErrNotFound, packet)
	}
	if !s.durable {
		return false, nil
	}
	// PUBCOMP must not go before the id is free for good, or a new message under
	// the same id would be taken for a duplicate after a crash.
	err = a.r.append(&journal.Record{Kind: journal.KindRelease, PacketID: uint32(packet), Epoch: a.epoch}, a.addr, nil, a.stored(token))
	return err == nil, err
}

package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pushhub/core/journal"
)

// Attach asks for a session.
type Attach struct {
	Address   Address
	Device    Device
	Protocol  string        // "mqtt" or "xmpp": for people to read
	Clean     bool          // forget what an earlier connection left [MQTT-3.1.2-4]
	Expiry    time.Duration // how long the session outlives its connection; 0: not at all
	Window    int           // most unacknowledged deliveries at once; 0: the hub's own limit
	Will      *Message      // published when the connection ends without Detach(graceful), or the hub does; its Expires is a time after that, in milliseconds
	WillDelay time.Duration // after that [MQTT-3.1.3-9]
	Inbox     bool          // takes messages to its own full address without a subscription, and notices
	Shared    bool          // joins the account's own session beside the account's other devices; Address is the device's
	Silent    bool          // not present until SetPresence
	Tag       string        // of a new durable session: what Resume must show
	Resume    bool          // only the session that is there, with this Tag, will do: else ErrNotFound
}

// An Attachment is a device on a session. Route and Publish are for the device's
// own goroutine; everything else may be called from anywhere.
type Attachment struct {
	r        *Router
	session  *Session
	dev      Device
	addr     Address
	resource string // of the device, also on its account's own session
	protocol string
	inbox    bool
	silent   bool
	epoch    uint64
	routes   map[string]*Route // belongs to the device's goroutine

	durable  bool                // its session goes through the journal; set by claim, before the session begins
	storing  map[uint16][]uint64 // QoS 2 packet ids on their way to the journal, with the tokens of repeats; guarded by session.mu
	hasWill  bool                // set once, before the session begins
	inherits bool                // an earlier connection that did not get the session has left a will; set as hasWill is
	over     bool                // detached; guarded by session.mu
	clogged  bool                // deliveries to this device alone were put aside; guarded by session.mu
}

// Address is where the device is.
func (a *Attachment) Address() Address { return a.addr }

// Attach opens the session of an address, or resumes it, and binds the device to
// it; an earlier device there is closed with ErrTakenOver. done is called once,
// perhaps before Attach returns, with whether the session was there before;
// deliveries begin after it returns. Errors: ErrForbidden, ErrBadTopic (the will), ErrBusy,
// ErrStopped, ErrUnavailable.
func (r *Router) Attach(b *Batch, req Attach, done func(b *Batch, att *Attachment, present bool, err error)) {
	att := &Attachment{
		r: r, dev: req.Device, addr: req.Address, resource: req.Address.Resource, protocol: req.Protocol,
		inbox: req.Inbox, silent: req.Silent, hasWill: req.Will != nil,
	}
	if req.Will != nil {
		req.Will.From = req.Address
		if err := checkSize(r, req.Will.Topic); err != nil {
			done(b, nil, false, fmt.Errorf("the will: %w", err))
			return
		}
		if err := r.acl.CanPublish(req.Address.Account, req.Will.Topic); err != nil {
			r.Counters.Forbidden.Add(1)
			done(b, nil, false, fmt.Errorf("%w: the will: %w", ErrForbidden, err))
			return
		}
	}
	old := r.session(req.Address)
	switch {
	case req.Shared:
		att.addr.Resource = ""
		r.join(b, att, done)
	case req.Resume && !old.resumable(req.Tag):
		done(b, nil, false, fmt.Errorf("%w: the session to resume", ErrNotFound))
	case req.Expiry > 0 || req.Will != nil || (old != nil && old.durable) || r.claims.awaited(req.Address):
		r.claim(b, att, req, done)
	case !r.bindClean(b, att): // one has come meanwhile
		r.claim(b, att, req, done)
	default:
		done(b, att, false, nil)
		att.session.activate(b, att, req.Window)
	}
}

// bindClean puts a new session in the place of whatever clean one was there; false
// when there is a durable one, which ends by way of the journal only.
func (r *Router) bindClean(b *Batch, att *Attachment) bool {
	s := newSession(r, att.addr, false)
	s.online.Store(&[]*Attachment{att})
	r.mu.Lock()
	old := r.sessions[att.addr]
	if old != nil && old.durable {
		r.mu.Unlock()
		return false
	}
	att.session = s
	r.sessions[att.addr] = s
	r.mu.Unlock()
	if old != nil {
		old.close(b, ErrTakenOver)
	}
	return true
}

// claim takes a durable session through the journal: it is ours once the record
// is applied. An earlier device ends first, so that all it sent is in the journal
// before the claim.
func (r *Router) claim(b *Batch, att *Attachment, req Attach, done func(*Batch, *Attachment, bool, error)) {
	before := r.claims.begin(att)
	att.inherits = before != nil && (before.hasWill || before.inherits)
	old := r.session(att.addr)
	if old != nil {
		old.close(b, ErrTakenOver)
	}
	overdue, epoch := old.overdue()
	// A session that is there goes on, also when it shall end with this connection [MQTT-3.1.2-5].
	att.durable = req.Expiry > 0 || (!req.Clean && old != nil && old.durable && !overdue)
	r.endWait(att.addr, !req.Clean || att.inherits) // the will of one that never was let in is withdrawn
	err := r.claims.queue(att, func() error {
		if overdue {
			r.end(att.addr, epoch) // [MQTT-4.1.0-2]
		}
		if err := r.logWill(att, req); err != nil {
			return err
		}
		return r.append(claimRecord(att, req), att.addr, nil, func(_ journal.Position, err error) {
			r.claimed(att, req, err, done)
		})
	})
	if err != nil {
		r.refuse(b, att, err)
		done(b, nil, false, err)
	}
}

func claimRecord(att *Attachment, req Attach) *journal.Record {
	if !att.durable {
		return &journal.Record{Kind: journal.KindEnd}
	}
	return &journal.Record{Kind: journal.KindClaim, Body: appendClaim(nil, claim{req.Clean, req.Expiry.Milliseconds(), req.Tag})}
}

// claimed goes on once the claim is applied or refused, on the goroutine that
// follows the journal.
func (r *Router) claimed(att *Attachment, req Attach, err error, done func(*Batch, *Attachment, bool, error)) {
	b := &r.tail.batch
	present := false
	if err == nil {
		err = r.claims.end(att, func() (err error) {
			present, err = r.bind(att, req)
			return err
		})
	}
	if err != nil {
		r.refuse(b, att, err)
		done(b, nil, false, err)
		return
	}
	done(b, att, present, nil)
	att.session.activate(b, att, req.Window)
}

// refuse undoes what came before a claim that did not succeed. Whoever took the
// session over goes on with what is there.
func (r *Router) refuse(b *Batch, att *Attachment, err error) {
	r.claims.abandon(att)
	if errors.Is(err, ErrTakenOver) {
		return
	}
	r.withdraw(b, att)
	if att.hasWill || att.inherits {
		r.connectionEnded(att.addr, true)
	}
}

// bind puts the device on the session of its address, whose claim is the last one
// and has been applied: nobody else is on it. A session that was to be resumed, and
// ended just before the claim, is ended again.
func (r *Router) bind(att *Attachment, req Attach) (present bool, err error) {
	if !att.durable {
		if !r.bindClean(&r.tail.batch, att) {
			return false, ErrTakenOver
		}
		return false, nil
	}
	s := r.session(att.addr)
	if s == nil || !s.durable {
		return false, ErrTakenOver // by a connection whose session is not durable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.Resume && !s.resumed {
		r.end(s.addr, s.state.Epoch)
		return false, fmt.Errorf("%w: the session to resume", ErrNotFound)
	}
	att.session, att.epoch = s, s.state.Epoch
	s.online.Store(&[]*Attachment{att})
	s.state.Detached = 0
	if att.inbox {
		r.watch(att) // now: from done on, the device's own goroutine may act
	}
	return s.resumed, nil
}

// join adds a device to its account's own session.
func (r *Router) join(b *Batch, att *Attachment, done func(*Batch, *Attachment, bool, error)) {
	s := r.session(Address{Account: att.addr.Account})
	if s == nil {
		done(b, nil, false, fmt.Errorf("%w: the account %q has no session", ErrNotFound, att.addr.Account))
		return
	}
	s.mu.Lock()
	att.session, att.epoch, att.silent = s, s.state.Epoch, true
	atts := append(append([]*Attachment(nil), s.attached()...), att)
	s.online.Store(&atts)
	s.state.Detached = 0
	s.mu.Unlock()
	done(b, att, true, nil)
	s.activate(b, att, 0)
}

// resumable reports whether a durable session is there that knows the tag.
func (s *Session) resumable(tag string) bool {
	if s == nil || !s.durable {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Tag == tag
}

// A claim is the body of a CLAIM record.
type claim struct {
	clean  bool
	expiry int64 // milliseconds
	tag    string
}

func appendClaim(dst []byte, c claim) []byte {
	flags := byte(0)
	if c.clean {
		flags = 1
	}
	dst = binary.AppendUvarint(append(dst, flags), uint64(c.expiry))
	return journal.AppendBytes(dst, c.tag)
}

func decodeClaim(b []byte) (claim, error) {
	d := journal.Decoder{Rest: b}
	c := claim{clean: d.Byte() == 1, expiry: int64(d.Uvarint()), tag: d.String()}
	return c, d.Err
}

// activate lets deliveries begin.
func (s *Session) activate(b *Batch, att *Attachment, window int) {
	s.mu.Lock()
	if att.over {
		s.mu.Unlock()
		return
	}
	first := !s.active
	s.state.Out.Recall()
	s.active, s.full = true, false // a further device has room, whatever the others have
	if first {
		s.state.Out.SetMax(s.r.opt.Window)
		if window > 0 {
			s.state.Out.SetMax(min(window, s.r.opt.Window))
		}
		s.state.Out.Rewind()
		s.unstored = nil // the client sends them again
		s.goOnline()
	}
	s.pump(b)
	if att.inbox {
		s.r.watch(att)
	}
	s.mu.Unlock()
	if !att.silent {
		s.r.announce(b, att)
	}
}

// goOnline enters a durable session's filters in the online index. The caller holds mu.
func (s *Session) goOnline() {
	if s.state.Len() == 0 {
		return
	}
	r := s.r
	s.subs = make(map[string]*subscriber, s.state.Len())
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range s.state.Filters() {
		sub := newSubscriber(s, f.Options)
		s.subs[f.Name] = sub
		r.enter(f.Name, sub)
	}
	r.changed()
}

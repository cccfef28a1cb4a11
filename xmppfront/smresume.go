package xmppfront

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"mellium.im/xmpp/stanza"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

// tagBytes is the length of what only the client of a stream knows.
const tagBytes = 16

// resumptionID names a stream by what its session is found with, so that it can
// be resumed after a restart of the hub.
func resumptionID(resource, tag string) string {
	p := binary.AppendUvarint(nil, uint64(len(resource)))
	p = append(append(p, resource...), tag...)
	return base64.RawURLEncoding.EncodeToString(p)
}

// parseResumptionID reads what resumptionID wrote.
func parseResumptionID(id []byte) (resource, tag string, ok bool) {
	if len(id) > 2*maxPart || bytes.ContainsAny(id, "\r\n") { // which the decoder passes over
		return "", "", false
	}
	p, err := base64.RawURLEncoding.Strict().DecodeString(string(id))
	if err != nil {
		return "", "", false
	}
	n, used := binary.Uvarint(p)
	if used <= 0 || n == 0 || n > maxPart || int(n) != len(p)-used-tagBytes {
		return "", "", false
	}
	p = p[used:]
	return string(p[:n]), string(p[n:]), true
}

// failed refuses a request of XEP-0198; extra are attributes. XEP-0198 §3, §5
func (e *engine) failed(b *core.Batch, cond stanza.Condition, extra string) {
	e.nonza(b, []byte("<failed xmlns='"+nsSM+"'"+extra+"><"+string(cond)+" xmlns='"+stanza.NSError+"'/></failed>"))
}

// enable makes the stream a managed one. XEP-0198 §3
func (e *engine) enable(b *core.Batch, s *framer.Stanza) {
	if e.stage != stageBound || e.sm != nil {
		e.failed(b, stanza.UnexpectedRequest, "")
		return
	}
	resume, _ := s.Attr("resume")
	if r := string(resume); r != "true" && r != "1" {
		e.enabled(b, new(managed))
		return
	}
	tag := make([]byte, tagBytes)
	if _, err := io.ReadFull(e.front.rand, tag); err != nil {
		e.failed(b, stanza.InternalServerError, "")
		return
	}
	m := &managed{resource: e.self.Resource, tag: string(tag), expiry: e.front.opt.ResumeTimeout}
	wanted, _ := s.Attr("max")
	if n, err := strconv.ParseUint(string(wanted), 10, 31); err == nil && n > 0 {
		m.expiry = min(m.expiry, time.Duration(n)*time.Second)
	}
	e.makeDurable(b, m)
}

// makeDurable puts a session that outlives the connection in the place of the
// device's clean one. Nothing is delivered to the device meanwhile.
func (e *engine) makeDurable(b *core.Batch, m *managed) {
	subs := e.own.Subscriptions()
	for i := range subs {
		subs[i].RetainHandling = 2 // the client has been sent what is retained
	}
	e.mu.Lock()
	old := e.own
	e.ready, e.ownFull, e.durable = false, false, true
	e.mu.Unlock()
	old.Suspend(b)
	done := e.await()
	req := core.Attach{
		Address: e.self, Device: e, Protocol: "xmpp", Clean: true, Inbox: true, Silent: true,
		Expiry: m.expiry, Tag: m.tag,
	}
	e.join(b, req, &e.own, func(err error) {
		done(func(b *core.Batch) {
			if err != nil {
				e.fail(b, err) // the device has no session any more
				return
			}
			e.carryOver(b, subs, m)
		})
	})
}

// carryOver subscribes the new session to what the old one was subscribed to.
func (e *engine) carryOver(b *core.Batch, subs []core.Subscription, m *managed) {
	if len(subs) == 0 {
		e.enabled(b, m)
		return
	}
	done := e.await()
	e.own.Subscribe(b, subs, func(_ *core.Batch, results []error) {
		err := errors.Join(results...)
		done(func(b *core.Batch) {
			if err != nil {
				e.fail(b, err)
				return
			}
			e.enabled(b, m)
		})
	})
}

// enabled tells the client. What follows is counted.
func (e *engine) enabled(b *core.Batch, m *managed) {
	p := []byte("<enabled xmlns='" + nsSM + "'")
	if m.tag != "" {
		p = attr(p, "id", resumptionID(m.resource, m.tag))
		p = append(p, " resume='true'"...)
		p = attr(p, "max", strconv.Itoa(int((m.expiry+time.Second-1)/time.Second)))
	}
	e.mu.Lock()
	e.append(b, 0, append(p, "/>"...))
	e.sm = m
	e.mu.Unlock()
	e.begin(b)
}

// resumeStream goes on with an earlier stream of the account. XEP-0198 §5
func (e *engine) resumeStream(b *core.Batch, s *framer.Stanza) {
	if e.stage != stageBind {
		e.failed(b, stanza.UnexpectedRequest, "")
		return
	}
	id, _ := s.Attr("previd")
	h, ok := countOf(s)
	if !ok {
		e.failed(b, stanza.BadRequest, "")
		return
	}
	resource, tag, ok := parseResumptionID(id)
	if !ok {
		e.failed(b, stanza.ItemNotFound, "")
		return
	}
	e.name(resource)
	m := &managed{resource: resource, tag: tag, expiry: e.front.opt.ResumeTimeout}
	if old := e.front.streams.get(e.self, tag); old != nil {
		m.expiry = old.expiry
	}
	e.mu.Lock()
	e.resuming, e.durable = true, true
	e.mu.Unlock()
	done := e.await()
	req := core.Attach{
		Address: e.self, Device: e, Protocol: "xmpp", Inbox: true, Silent: true,
		Expiry: m.expiry, Resume: true, Tag: tag,
	}
	e.join(b, req, &e.own, func(err error) {
		done(func(b *core.Batch) {
			if err != nil {
				e.notResumed(b, m, err)
				return
			}
			e.resumed(b, m, h)
		})
	})
}

// notResumed tells the client what of it was handled, where that is known. It
// may bind a resource now.
func (e *engine) notResumed(b *core.Batch, m *managed, err error) {
	extra := ""
	if old := e.front.streams.get(e.self, m.tag); old != nil {
		extra = " h='" + count(old.answer()) + "'"
		e.front.streams.drop(e.self)
	}
	e.unname()
	e.mu.Lock()
	e.resuming, e.durable, e.early = false, false, nil
	e.mu.Unlock()
	cond := faultOf(err).cond
	if errors.Is(err, core.ErrTakenOver) {
		cond = stanza.ItemNotFound
	}
	e.failed(b, cond, extra)
}

// resumed goes on where the old stream ended: with what it left, or, after a
// restart of the hub, with what the journal knows and the client says.
func (e *engine) resumed(b *core.Batch, m *managed, h uint32) {
	old := e.front.streams.get(e.self, m.tag)
	if old != nil {
		e.front.streams.drop(e.self)
		if shared := m.heirOf(old); shared != nil {
			shared.Suspend(b) // the old stream may not have noticed its end yet
		}
	} else {
		m.acked, m.available, m.interested = h, true, true
	}
	m.stable = e.own.Handled()
	if !before(m.stable, m.handled) {
		e.countedUp(b, m, h, old == nil)
		return
	}
	done := e.await()
	counted := func(err error) {
		done(func(b *core.Batch) {
			if err == nil {
				m.stable = m.handled
			}
			e.countedUp(b, m, h, old == nil)
		})
	}
	e.mu.Lock()
	e.afterCount = counted
	e.mu.Unlock()
	if _, err := e.own.Count(m.handled, countToken|uint64(m.handled)); err != nil {
		e.mu.Lock()
		e.afterCount = nil
		e.mu.Unlock()
		counted(err)
	}
}

// countedUp resumes, now that what the client is told holds after a crash: where
// the journal could not be told, the client sends some of it again.
func (e *engine) countedUp(b *core.Batch, m *managed, h uint32, restarted bool) {
	m.handled, m.published = m.stable, m.stable
	m.received, m.asked, m.said = m.handled, m.handled, m.handled
	covered, total, ok := m.acknowledged(h)
	e.bound()
	if !ok {
		e.goOn(b, m, nil)
		e.fail(b, tooHigh{h, total})
		return
	}
	e.front.counts.resumed.Add(1)
	m.rewind()
	e.goOn(b, m, attr([]byte("<resumed xmlns='"+nsSM+"' h='"+count(m.handled)+"'"), "previd", resumptionID(m.resource, m.tag)))
	if m.available {
		e.rejoin(b, covered, restarted)
		return
	}
	e.settleSent(b, covered)
	e.resend(b)
}

// goOn makes the stream a managed one, and says so. What follows is counted.
func (e *engine) goOn(b *core.Batch, m *managed, said []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if said != nil {
		e.append(b, 0, said, []byte("/>"))
	}
	e.sm, e.inbox, e.interested, e.resuming = m, m.available, m.interested, false
	for _, p := range e.early {
		e.send(b, 0, sent{keep: keepMust}, p)
	}
	e.early = nil
}

// rejoin attaches to the account's own session again, and takes from it what the
// client has not acknowledged.
func (e *engine) rejoin(b *core.Batch, covered []sent, restarted bool) {
	e.joinAccount(b, func(b *core.Batch, err error) {
		e.settleSent(b, covered)
		if err != nil {
			e.front.opt.Log.Error("opening the inbox again", "session", e.self.String(), "err", err)
		} else {
			e.mu.Lock()
			e.open, e.sharedFull = true, false
			e.mu.Unlock()
			e.shared.Drained(b)
		}
		e.resend(b)
		if restarted && !e.present() {
			// What presence the client had sent is not known any more.
			e.own.SetPresence(b, &core.Presence{Kind: core.Available})
		}
	})
}

// present reports whether the device is available.
func (e *engine) present() bool {
	return slices.ContainsFunc(e.front.router.DevicesOf(e.account), func(p *core.Presence) bool { return p.From == e.self })
}

// resend lets deliveries flow and sends again what the core does not.
func (e *engine) resend(b *core.Batch) {
	e.begin(b)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.sm.again() {
		switch {
		case s.raw == nil:
		case s.window == windowShared && (e.shared == nil || e.sm.out(s.packet)):
		default:
			e.send(b, 0, s, s.raw)
		}
	}
}

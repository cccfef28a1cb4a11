package xmppfront

import (
	"errors"
	"slices"

	"mellium.im/xmpp/stanza"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

// failed refuses a request of XEP-0198; extra are attributes. XEP-0198 §3, §5
func (e *engine) failed(b *core.Batch, cond stanza.Condition, extra string) {
	p := failedElement(cond, extra)
	if e.welcome != nil { // XEP-0386 §3.2: a stream that cannot be resumed is begun anew
		e.welcome.said = p
		e.bindInline(b)
		return
	}
	e.nonza(b, p)
}

// enable makes the stream a managed one. XEP-0198 §3
func (e *engine) enable(b *core.Batch, s *framer.Stanza) {
	if e.stage != stageBound || e.sm != nil {
		e.failed(b, stanza.UnexpectedRequest, "")
		return
	}
	m, err := e.newManaged(e.self.Resource, enablingOf(s.Element))
	switch {
	case err != nil:
		e.failed(b, stanza.InternalServerError, "")
	case m.tag == "":
		e.enabled(b, m)
	default:
		e.makeDurable(b, m)
	}
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
	e.mu.Lock()
	e.append(b, 0, enabledElement(m))
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
	e.resumeFrom(b, *resumptionOf(s.Element))
}

// resumeFrom goes on with the stream that the client names.
func (e *engine) resumeFrom(b *core.Batch, q resumption) {
	if q.wrong != "" {
		e.failed(b, q.wrong, "")
		return
	}
	e.name(q.resource)
	m := &managed{resource: q.resource, tag: q.tag, expiry: e.front.opt.ResumeTimeout}
	if old := e.front.streams.get(e.self, q.tag); old != nil {
		m.expiry = old.expiry
	}
	e.mu.Lock()
	e.resuming, e.durable = true, true
	e.mu.Unlock()
	done := e.await()
	req := core.Attach{
		Address: e.self, Device: e, Protocol: "xmpp", Inbox: true, Silent: true,
		Expiry: m.expiry, Resume: true, Tag: q.tag,
	}
	e.join(b, req, &e.own, func(err error) {
		done(func(b *core.Batch) {
			if err != nil {
				e.notResumed(b, m, err)
				return
			}
			e.resumed(b, m, q.h)
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
		// What the client had asked for is not known any more: it has lost nothing by
		// a copy that it did not ask for, but a conversation by one that is missing.
		m.acked, m.available, m.interested, m.blocklist, m.copies = h, true, true, true, true
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
	said := attr([]byte("<resumed xmlns='"+nsSM+"' h='"+count(m.handled)+"'"), "previd", resumptionID(m.resource, m.tag))
	said = append(said, "/>"...)
	if e.welcome != nil {
		e.welcome.said = said
		said = e.takeWelcome(nil, true)
	}
	e.goOn(b, m, said)
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
		e.append(b, 0, said)
	}
	e.inactive = false // XEP-0352 §6
	e.sm, e.inbox, e.resuming = m, m.available, false
	e.interested, e.blocklist, e.copies = m.interested, m.blocklist, m.copies
	e.sendEarly(b)
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

package xmppfront

import (
	"mellium.im/xmpp/jid"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

// bind gives the client its resource. RFC 6120 §7
func (e *engine) bind(b *core.Batch, q *query) {
	if q.get || string(q.child.Name) != "bind" {
		e.refuse(b, q.answer, badRequest)
		return
	}
	wanted := ""
	for c := range q.child.Children {
		if string(c.Name) == "resource" {
			wanted = string(framer.Unescape(nil, c.Inner))
		}
	}
	resource, err := newResource(wanted)
	if err != nil {
		e.refuse(b, q.answer, badRequest) // RFC 6120 §7.7.2.1
		return
	}
	a := q.answer
	e.attach(b, resource, nil, func(b *core.Batch, err error) {
		if err != nil {
			e.refuse(b, a, faultOf(err))
			return
		}
		p := []byte("<bind xmlns='" + nsBind + "'>")
		p = textElement(p, "jid", e.jid)
		a.noTo = true // it asked without an address, and some clients balk at one
		e.result(b, a, append(p, "</bind>"...))
	})
}

// newResource prepares a resourcepart, or makes one when none is wanted.
func newResource(wanted string) (string, error) {
	if wanted == "" {
		return randomID(), nil // RFC 6120 §7.6
	}
	j, err := jid.New("", "resource", wanted) // RFC 7622 §3.4
	if err != nil {
		return "", err
	}
	return resourceFrom(j.Resourcepart()), nil
}

// attach opens the session of this device before the client hears of it, so
// that no message is lost; whoever had it before is closed with a conflict
// (RFC 6120 §7.7.2.2, third way). m is the managed stream that begins with it; nil:
// there is none.
func (e *engine) attach(b *core.Batch, resource string, m *managed, then func(b *core.Batch, err error)) {
	e.name(resource)
	e.front.streams.drop(e.self)
	done := e.await()
	req := core.Attach{Address: e.self, Device: e, Clean: true, Inbox: true, Silent: true, Protocol: "xmpp"}
	if m != nil && m.tag != "" {
		req.Expiry, req.Tag = m.expiry, m.tag
	}
	e.mu.Lock()
	e.durable, e.binding = req.Tag != "", true
	e.mu.Unlock()
	e.join(b, req, &e.own, func(err error) {
		done(func(b *core.Batch) {
			if err != nil {
				e.unname()
				e.mu.Lock()
				e.durable, e.binding, e.early = false, false, nil
				e.mu.Unlock()
				then(b, err)
				return
			}
			e.bound()
			then(b, nil)
			e.begin(b)
		})
	})
}

// name makes the client's address known to the engine.
func (e *engine) name(resource string) {
	f := e.front
	e.self = core.Address{Account: e.account, Resource: resource}
	e.jid = f.jid(e.self)
	e.full = framer.AppendEscapedAttr(nil, e.jid)
	e.bare = framer.AppendEscapedAttr(nil, f.jid(core.Address{Account: e.account}))
	e.push = f.isAndroidpn(resource)
}

// unname takes it back.
func (e *engine) unname() { e.self, e.jid = core.Address{}, "" }

// bound lets stanzas flow.
func (e *engine) bound() {
	e.stage = stageBound
	e.framer.SetLimits(framer.Limits{StanzaBytes: e.front.opt.MaxStanza, Depth: maxDepth})
}

// begin lets deliveries flow, now that the client knows its address.
func (e *engine) begin(b *core.Batch) {
	e.mu.Lock()
	e.ready, e.binding = true, false
	e.sendEarly(b)
	waits, copies := e.ownFull, e.copies
	e.ownFull = false
	e.mu.Unlock()
	if copies {
		e.own.WantCopies(true) // it is another attachment than the one that asked
	}
	if waits {
		e.own.Drained(b)
	}
}

// join attaches, and keeps the attachment in place. When the connection has
// ended meanwhile it is given back at once.
func (e *engine) join(b *core.Batch, req core.Attach, place **core.Attachment, then func(err error)) {
	f := e.front
	f.late.Add(1)
	f.router.Attach(b, req, func(_ *core.Batch, att *core.Attachment, _ bool, err error) {
		e.mu.Lock()
		closed := e.closed
		if !closed && err == nil {
			*place = att
		}
		e.mu.Unlock()
		if !closed || err != nil {
			f.late.Done()
			then(err)
			return
		}
		go func() { // the router may hold locks here
			defer f.late.Done()
			var own core.Batch
			giveBack(&own, att, req)
			own.Flush()
		}()
	})
}

// giveBack undoes an attach that nobody waits for any more.
func giveBack(b *core.Batch, att *core.Attachment, req core.Attach) {
	switch {
	case req.Resume: // the client is going to try again
		att.Suspend(b)
		return
	case req.Expiry > 0: // the client was not told how to resume it
		att.SetExpiry(0)
	}
	att.Detach(b, false)
}

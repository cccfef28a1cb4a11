package xmppfront

import (
	"bytes"
	"errors"
	"strconv"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

// requests are the presence types that ask to see somebody, or answer that. RFC 6121 §3
var requests = map[string]core.PresenceKind{
	"subscribe": core.Subscribe, "subscribed": core.Subscribed,
	"unsubscribe": core.Unsubscribe, "unsubscribed": core.Unsubscribed,
}

// maxPresence bounds the children of a presence, which the hub keeps.
const maxPresence = 8 << 10

// presence takes a presence stanza.
func (e *engine) presence(b *core.Batch, s *framer.Stanza) {
	e.front.counts.presencesIn.Add(1)
	if !e.ownFrom(b, s) {
		return
	}
	typ := string(s.Type)
	native, ok := appendChildren(nil, s, nil, maxPresence)
	if !ok {
		e.refuse(b, answerTo(s), overPolicy.says("this presence is too large"))
		return
	}
	if kind, ok := requests[typ]; ok {
		e.requestPresence(b, s, kind, native)
		return
	}
	switch {
	case typ != "" && typ != "unavailable": // probe and error: RFC 6121 §4.3 is the server's own affair
		e.ignore()
	case s.To != nil:
		e.direct(b, s)
	default:
		e.broadcast(b, s, native)
	}
}

// direct passes a presence to one device. RFC 6121 §4.6
//
// deviates: one that is directed to an account has no effect; who shall see a
// device subscribes to it.
func (e *engine) direct(b *core.Batch, s *framer.Stanza) {
	to := e.target(s.To)
	if to.place != placeAccount || to.Resource == "" {
		e.ignore()
		return
	}
	switch err := e.pass(b, s, to); {
	case errors.Is(err, core.ErrBlocked):
		e.refuse(b, answerTo(s), isBlocked)
	case err != nil: // XEP-0191 §3.3: whether the receiver blocks the sender is not told
		e.ignore()
	}
}

// requestPresence passes a subscription request on. RFC 6121 §3.1.2
func (e *engine) requestPresence(b *core.Batch, s *framer.Stanza, kind core.PresenceKind, native []byte) {
	to := e.target(s.To)
	switch {
	case to.place == placeRemote:
		e.refuse(b, answerTo(s), remoteMissing)
		return
	case to.place != placeAccount || to.Account == e.account:
		e.ignore()
		return
	}
	a := answerTo(s)
	done := e.await()
	e.own.RequestPresence(b, kind, to.Account, native, func(_ *core.Batch, err error) {
		done(func(b *core.Batch) {
			switch {
			case errors.Is(err, core.ErrBlocked):
				e.refuse(b, a, isBlocked)
			case err != nil: // RFC 6121 §3.1.3: whether an account exists is not told
				e.ignore()
			}
		})
	})
}

// broadcast makes the device available, or not, to all who may see it. RFC 6121 §4.2, §4.5
func (e *engine) broadcast(b *core.Batch, s *framer.Stanza, native []byte) {
	p := &core.Presence{Native: native}
	if string(s.Type) == "unavailable" {
		p.Kind = core.Unavailable
	}
	for c := range s.Children {
		if string(c.Space) != framer.NSClient {
			continue
		}
		switch string(c.Name) {
		case "show":
			p.Show = string(bytes.TrimSpace(framer.Unescape(nil, c.Inner)))
		case "status":
			p.Status = string(framer.Unescape(nil, c.Inner))
		case "priority":
			n, err := strconv.ParseInt(string(bytes.TrimSpace(c.Inner)), 10, 8)
			if err != nil { // RFC 6121 §4.7.2.3
				e.refuse(b, answerTo(s), badRequest.says("the priority is a number from -128 to 127"))
				return
			}
			p.Priority = int8(n)
		}
	}
	switch p.Show {
	case "", "away", "chat", "dnd", "xa":
	default: // RFC 6121 §4.7.2.1
		e.refuse(b, answerTo(s), badRequest.says("show is away, chat, dnd or xa"))
		return
	}
	e.own.SetPresence(b, p)
	// RFC 6121 §8.5.2.1: only a device of priority 0 or more is sent what comes
	// for the account.
	if p.Kind == core.Available && p.Priority >= 0 {
		e.openInbox(b)
		return
	}
	e.closeInbox(b)
}

// openInbox attaches the device to its account's own session: what was kept
// while nobody was there flows. XEP-0160 §3
func (e *engine) openInbox(b *core.Batch) {
	if e.shared != nil {
		return
	}
	e.mu.Lock()
	e.open, e.inbox = true, true
	e.mu.Unlock()
	e.joinAccount(b, func(b *core.Batch, err error) {
		if err != nil {
			e.front.opt.Log.Error("opening the inbox", "session", e.self.String(), "err", err)
			return
		}
		e.shared.Drained(b) // the account's other devices may have been too slow: this one is not
	})
}

// joinAccount attaches to the account's own session; then runs on Input.
func (e *engine) joinAccount(b *core.Batch, then func(b *core.Batch, err error)) {
	done := e.await()
	req := core.Attach{Address: e.self, Device: e, Shared: true, Silent: true, Protocol: "xmpp"}
	e.join(b, req, &e.shared, func(err error) {
		done(func(b *core.Batch) { then(b, err) })
	})
}

// closeInbox leaves the account's own session. What was written and not yet
// acknowledged is delivered again: at least once.
func (e *engine) closeInbox(b *core.Batch) {
	e.mu.Lock()
	shared := e.shared
	e.shared, e.open, e.inbox, e.sharedFull = nil, false, false, false
	kept := e.acks[:0]
	for _, a := range e.acks {
		if a.to != shared {
			kept = append(kept, a)
		}
	}
	e.acks = kept
	if e.sm != nil {
		e.sm.forget()
	}
	e.mu.Unlock()
	if shared != nil {
		shared.Detach(b, true)
	}
}

// tellPresence writes a presence of somebody else, or of another own device.
func (e *engine) tellPresence(b *core.Batch, n *core.Presence) {
	p := append(make([]byte, 0, 256+len(n.Native)), "<presence"...)
	p = attr(p, "from", e.front.jid(n.From))
	p = append(append(p, " to='"...), e.bare...)
	p = append(p, '\'')
	if t := presenceTypes[n.Kind]; t != "" {
		p = attr(p, "type", t)
	}
	switch {
	case len(n.Native) > 0:
		p = append(append(append(p, '>'), n.Native...), "</presence>"...)
	case n.Show == "" && n.Status == "" && n.Priority == 0:
		p = append(p, "/>"...)
	default:
		p = appendPresence(append(p, '>'), n)
		p = append(p, "</presence>"...)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	state := n.Kind == core.Available || n.Kind == core.Unavailable
	if state && e.holdBack(b, stateOf{from: n.From}, sent{keep: keepMust}, p) {
		return
	}
	if !e.send(b, len(p), sent{keep: keepMust}, p) {
		e.front.counts.queueFull.Add(1)
	}
}

func appendPresence(p []byte, n *core.Presence) []byte {
	if n.Show != "" {
		p = textElement(p, "show", n.Show)
	}
	if n.Status != "" {
		p = textElement(p, "status", n.Status)
	}
	if n.Priority != 0 {
		p = textElement(p, "priority", strconv.Itoa(int(n.Priority)))
	}
	return p
}

// presenceTypes are the values of the type attribute, RFC 6121 §4.7.1.
var presenceTypes = [...]string{
	core.Available: "", core.Unavailable: "unavailable", core.Subscribe: "subscribe",
	core.Subscribed: "subscribed", core.Unsubscribe: "unsubscribe", core.Unsubscribed: "unsubscribed",
}

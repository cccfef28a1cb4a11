package xmppfront

import (
	"mellium.im/xmpp/carbons"
	"mellium.im/xmpp/forward"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

const (
	nsCarbons    = carbons.NS
	nsForward    = forward.NS
	nsReceipts   = "urn:xmpp:receipts"       // XEP-0184
	nsMarkers    = "urn:xmpp:chat-markers:0" // XEP-0333
	nsInvitation = "jabber:x:conference"     // XEP-0249
)

// traits are what of the children of a message decides on its way.
type traits struct {
	worth          bool // there is something to keep
	noStore, store bool // XEP-0334 §4.3, §4.4
	talk           bool // people's clients say such things to each other
	alone          bool // not for the other devices
}

// note takes one child; false when it is no payload.
func (t *traits) note(c framer.Element) bool {
	name := string(c.Name)
	switch string(c.Space) {
	case nsChatStates:
		t.talk = true
		return false
	case nsHints:
		t.noStore = t.noStore || name == "no-store"
		t.store = t.store || name == "store"
		t.alone = t.alone || name == "no-copy" // XEP-0334 §4.2
		return false
	case nsCarbons:
		t.alone = t.alone || name == "private"
		return name != "private"
	case nsReceipts, nsMarkers, nsInvitation:
		t.talk = true
	case framer.NSClient:
		t.talk = t.talk || name == "body"
		return name != "thread"
	}
	return true
}

// copied tells whether other devices may have a copy of a message. XEP-0280 §6.1
//
// deviates: no error is copied, as the hub does not note what it answers.
func (t *traits) copied(typ string) bool {
	switch typ {
	case "error", "groupchat", "headline":
		return false
	}
	return !t.alone && (typ == "chat" || t.talk)
}

// carbons begins or ends the copies for this device. XEP-0280 §4, §5, §10.1
func (e *engine) carbons(b *core.Batch, q *query) {
	name := string(q.child.Name)
	if q.get || name != "enable" && name != "disable" {
		e.refuse(b, q.answer, badRequest)
		return
	}
	on := name == "enable"
	e.mu.Lock()
	e.copies = on
	e.mu.Unlock()
	if !on {
		e.own.WantCopies(false)
	}
	e.result(b, q.answer, nil)
	if on {
		e.own.WantCopies(true)
	}
}

// carbon delivers a copy of what another device of the account sent or was
// given. Its from is the account, which no client can write as its own: only so
// do clients believe it. XEP-0280 §7, §8, §11
func (e *engine) carbon(b *core.Batch, d core.Delivery) core.Outcome {
	m := d.Message
	name := "received"
	if d.Copy == core.CopySent {
		name = "sent"
	}
	to, _, _ := core.Inbox(m.Topic)
	p := append(make([]byte, 0, 320), "<message to='"...)
	p = append(append(append(p, e.full...), "' from='"...), e.bare...)
	p = append(p, '\'')
	if m.Type != "" {
		p = attr(p, "type", m.Type)
	}
	p = append(append(append(p, "><"...), name...), " xmlns='"+nsCarbons+"'><forwarded xmlns='"+nsForward+"'><message xmlns='"+framer.NSClient+"' to='"...)
	p = framer.AppendEscapedAttr(p, e.front.jid(core.Address{Account: to, Resource: m.Resource}))
	out := e.deliver(b, d, p, messageHead(e.front, m), e.late(m), []byte("</message></forwarded></"), []byte(name), []byte("></message>"))
	if out == core.Queued {
		e.front.counts.carbonsOut.Add(1)
	}
	return out
}

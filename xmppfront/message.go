package xmppfront

import (
	"bytes"
	"errors"

	"mellium.im/xmpp/stanza"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

const (
	nsChatStates = "http://jabber.org/protocol/chatstates" // XEP-0085
	nsHints      = "urn:xmpp:hints"                        // XEP-0334
	nsStanzaID   = stanza.NSSid                            // XEP-0359
)

// publish is a publish that waits for the journal.
type publish struct {
	answer answer
	done   []byte // the payload of the result; nil: nothing is answered when all is well
	number uint32 // of the stanza, on a managed stream
}

// message takes a message stanza. RFC 6121 §5.2
func (e *engine) message(b *core.Batch, s *framer.Stanza) {
	e.front.counts.messagesIn.Add(1)
	e.pace.pay(e.size)
	if !e.ownFrom(b, s) {
		return
	}
	if err := e.sendMessage(b, s); err != nil {
		e.refuseMessage(b, s, faultOf(err))
	}
}

// refuseMessage answers a message with an error, unless it is one itself. RFC 6120 §8.3.1
func (e *engine) refuseMessage(b *core.Batch, s *framer.Stanza, f fault) {
	if string(s.Type) == "error" {
		e.ignore()
		return
	}
	e.refuse(b, answerTo(s), f)
}

func (e *engine) sendMessage(b *core.Batch, s *framer.Stanza) error {
	to := e.target(s.To)
	switch to.place {
	case placeNone: // RFC 6120 §10.3.1
		to = address{placeAccount, core.Address{Account: e.account}}
	case placeAccount:
	case placeRemote:
		return remoteMissing
	case placeBad:
		return jidMalformed
	case placeServer, placePubSub:
		return unavailable
	}
	typ := string(s.Type)
	if typ == "groupchat" {
		return unavailable // RFC 6121 §8.5.2.1.1: there are no rooms here
	}
	if typ == "error" && to.Resource == "" {
		e.ignore() // RFC 6121 §8.5.2.1.1
		return nil
	}
	e.msg.Reset()
	if err := e.readMessage(s, &e.msg); err != nil {
		return err
	}
	e.msg.Resource = to.Resource
	e.topic = append(append(append(e.topic[:0], "$inbox/"...), to.Account...), '/')
	e.topic = append(e.topic, e.account...)
	err := e.publish(b, e.topic, publish{answer: answerTo(s)})
	if errors.Is(err, core.ErrNotFound) || errors.Is(err, core.ErrBadTopic) {
		return unavailable // RFC 6121 §8.5.1
	}
	return err
}

// readMessage translates a stanza. What it sets in m lies in e's scratch memory.
func (e *engine) readMessage(s *framer.Stanza, m *core.Message) error {
	m.ID, m.Type = string(s.ID), string(s.Type)
	var t traits
	if err := e.readChildren(s, m, &t); err != nil {
		return err
	}
	switch {
	case m.Type == "headline", m.Type == "error": // RFC 6121 §5.2.2, §8.5.2.2.1: never kept
	case t.noStore: // XEP-0334 §4.3
	case t.worth, t.store:
		m.QoS = 1
	}
	m.Copies = t.copied(m.Type)
	var ok bool
	if e.native, ok = appendChildren(e.native[:0], s, e.strip, e.front.opt.MaxStanza); !ok {
		return overPolicy.says("with its namespaces declared on each child, this message is too large")
	}
	m.Native, m.NativeForm = e.native, core.NativeXMPP
	return nil
}

// readChildren finds the payload among the children of a message, and what they
// ask for it.
func (e *engine) readChildren(s *framer.Stanza, m *core.Message, t *traits) (err error) {
	var best payloadRank
	for c := range s.Children {
		if !t.note(c) {
			continue
		}
		if string(c.Space) == framer.NSClient && string(c.Name) == "subject" {
			m.Subject = string(framer.Unescape(nil, c.Inner))
		}
		t.worth = true
		if rank := rankOf(c); rank > best {
			best = rank
			if e.text, err = readPayload(e.text[:0], c, m); err != nil {
				return err
			}
		}
	}
	m.Payload = e.text
	if best == rankNone {
		m.Payload = nil
	}
	return nil
}

// strip reports children that are not passed on: those that only the server may
// add, and those that are meant for the server.
func (e *engine) strip(c framer.Element) bool {
	var by []byte
	switch {
	case string(c.Space) == nsStanzaID && string(c.Name) == "stanza-id": // XEP-0359 §3.3
		by, _ = c.Attr("by")
	case string(c.Space) == nsCarbons && string(c.Name) == "private":
		return true // the hint beside it stays: XEP-0280 §9
	case string(c.Space) == nsDelay && string(c.Name) == "delay":
		by, _ = c.Attr("from")
	default:
		return false
	}
	a := e.front.parse(by)
	return a.place == placeServer || a.place == placeAccount && a.Resource == ""
}

// appendChildren appends the children of a stanza as they are, but for those to
// strip; false when dst would have more than most bytes, to which what each child
// has to declare may add up.
func appendChildren(dst []byte, s *framer.Stanza, strip func(framer.Element) bool, most int) ([]byte, bool) {
	// Without prefixes declared on the stanza itself, its children mean the same
	// in any other stanza.
	alike := !bytes.Contains(s.Raw[:s.TagEnd], []byte("xmlns:"))
	for c := range s.Children {
		switch {
		case strip != nil && strip(c):
		case alike:
			dst = append(dst, c.Raw...)
		default:
			dst = c.AppendStandalone(dst)
		}
		if len(dst) > most {
			return dst[:0], false
		}
	}
	return dst, true
}

// publish sends e.msg to a topic. What it returns is for the sender to hear;
// when it returns nil, the answer has been given, or Stored gives it.
func (e *engine) publish(b *core.Batch, topic []byte, rec publish) error {
	rt, err := e.own.Route(topic)
	if err != nil {
		return err
	}
	waits := e.msg.QoS > 0 || e.msg.Retain
	if e.durable && e.counted {
		e.order.Lock()
		defer e.order.Unlock()
		e.sm.publish(e.current)
		e.msg.Number = e.current // 0, once in 2^32, leaves the one message uncounted
	}
	if waits {
		e.token++
		rec.number = e.current
		e.mu.Lock()
		if e.pending == nil {
			e.pending = make(map[uint64]publish)
		}
		e.pending[e.token] = rec
		e.mu.Unlock()
	}
	e.front.counts.payloadIn.Add(uint64(len(e.msg.Payload)))
	pending, err := e.own.Publish(b, rt, &e.msg, 0, e.token)
	if pending {
		e.counted = false // Stored resolves it
		return nil
	}
	if waits {
		e.mu.Lock()
		delete(e.pending, e.token)
		e.mu.Unlock()
	}
	if err == nil && rec.done != nil {
		e.result(b, rec.answer, rec.done)
	}
	return err
}

// Stored implements core.Device: a publish is durable, or refused.
func (e *engine) Stored(b *core.Batch, token uint64, err error) {
	if token&countToken != 0 {
		e.countStored(b, uint32(token), err)
		return
	}
	e.mu.Lock()
	rec, ok := e.pending[token]
	delete(e.pending, token)
	m := e.sm
	e.mu.Unlock()
	switch {
	case !ok:
	case err != nil:
		e.refuse(b, rec.answer, faultOf(err))
	case rec.done != nil:
		e.result(b, rec.answer, rec.done)
	}
	if ok && m != nil {
		if err == nil {
			m.stored(rec.number)
		}
		e.resolve(b, m, rec.number)
		e.countUp(m)
	}
	e.mu.Lock()
	stalled := e.stalled && e.roomLocked()
	e.mu.Unlock()
	if stalled {
		e.conn.Resume()
	}
}

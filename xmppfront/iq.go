package xmppfront

import (
	"errors"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

// answer is what the answer to a stanza needs when its bytes are gone.
type answer struct {
	kind string // iq, message or presence
	id   string
	from string // the 'to' of what is answered: the answer comes from there
	noTo bool   // the sender has no address yet
}

// query is an IQ of type get or set.
type query struct {
	answer
	get   bool
	to    address
	child framer.Element // the payload; belongs to the input
}

func answerTo(s *framer.Stanza) answer {
	return answer{kind: string(s.Name), id: string(s.ID), from: string(s.To)}
}

// query reads an IQ request, or answers and reports false.
func (e *engine) query(b *core.Batch, s *framer.Stanza) (*query, bool) {
	q := &query{answer: answerTo(s)}
	switch string(s.Type) {
	case "get":
		q.get = true
	case "set":
	case "result", "error": // RFC 6120 §8.2.3: never answered
		e.ignore()
		return nil, false
	default:
		e.refuse(b, q.answer, badRequest.says("an iq is a get, set, result or error"))
		return nil, false
	}
	n := 0
	for c := range s.Children {
		q.child = c
		n++
	}
	if n != 1 || q.id == "" { // RFC 6120 §8.1.3, §8.2.3
		e.refuse(b, q.answer, badRequest.says("an iq has an id and one child"))
		return nil, false
	}
	return q, true
}

// iq takes an IQ of a bound stream.
func (e *engine) iq(b *core.Batch, s *framer.Stanza) {
	e.front.counts.iqsIn.Add(1)
	if !e.ownFrom(b, s) {
		return
	}
	to := e.target(s.To)
	if to.place == placeAccount && to.Resource != "" {
		e.passIQ(b, s, to)
		return
	}
	q, ok := e.query(b, s)
	if !ok {
		return
	}
	q.to = to
	switch {
	case to.place == placeBad:
		e.refuse(b, q.answer, jidMalformed)
	case to.place == placeRemote:
		e.refuse(b, q.answer, remoteMissing)
	case to.place == placePubSub:
		e.serviceIQ(b, q)
	case to.place == placeAccount && to.Account != e.account:
		e.accountIQ(b, q)
	default:
		e.serverIQ(b, q)
	}
}

// passIQ hands an IQ to another device as it is. RFC 6121 §8.5.3
func (e *engine) passIQ(b *core.Batch, s *framer.Stanza, to address) {
	if e.hidesLast(s, to) {
		e.refuse(b, answerTo(s), forbidden)
		return
	}
	err := e.pass(b, s, to)
	if err == nil {
		return
	}
	if t := string(s.Type); t == "result" || t == "error" {
		e.ignore()
		return
	}
	f := unavailable // RFC 6121 §8.5.3.2.3
	if errors.Is(err, core.ErrBlocked) {
		f = isBlocked
	}
	e.refuse(b, answerTo(s), f)
}

// pass hands a whole stanza, its from stamped, to one device.
func (e *engine) pass(b *core.Batch, s *framer.Stanza, to address) error {
	e.native = s.AppendWithFrom(e.native[:0], []byte(e.jid))
	e.msg.Reset()
	e.msg.Native, e.msg.NativeForm = e.native, core.NativeXMPP
	return e.own.Signal(b, to.Address, &e.msg)
}

// accountIQ takes a request to another account, for which the server answers. RFC 6121 §8.5.2.1.3
func (e *engine) accountIQ(b *core.Batch, q *query) {
	if err := e.own.MayWrite(q.to.Address); err != nil {
		e.refuse(b, q.answer, faultOf(err))
		return
	}
	switch string(q.child.Space) {
	case nsVCard:
		e.vcardOf(b, q)
	case nsPrivate:
		e.refuse(b, q.answer, forbidden) // XEP-0049 §3
	default:
		e.contactIQ(b, q)
	}
}

// serverIQ takes a request to the server, or to the account that sends it.
func (e *engine) serverIQ(b *core.Batch, q *query) {
	switch string(q.child.Space) {
	case nsRoster:
		e.roster(b, q)
	case nsCarbons:
		e.carbons(b, q)
	case nsPing:
		e.result(b, q.answer, nil)
	case nsDiscoInfo:
		e.discoInfo(b, q)
	case nsDiscoItems:
		e.discoItems(b, q)
	case nsVersion:
		e.version(b, q)
	case nsTime:
		e.time(b, q)
	case nsLast:
		e.last(b, q)
	case nsRegister:
		e.registerLate(b, q)
	case nsSession, nsIQAuth, nsBind:
		e.negotiated(b, q)
	case nsVCard:
		e.vcard(b, q)
	case nsPrivate:
		e.private(b, q)
	case nsBlocking:
		e.blocking(b, q)
	default:
		e.refuse(b, q.answer, unavailable) // RFC 6120 §8.4
	}
}

// negotiated takes what belongs before the end of the negotiation.
func (e *engine) negotiated(b *core.Batch, q *query) {
	if string(q.child.Space) == nsSession && !q.get {
		e.result(b, q.answer, nil)
		return
	}
	e.refuse(b, q.answer, notAllowed) // one resource a stream; RFC 6120 §7.7.2.2 lets us refuse
}

// serviceIQ takes a request to pubsub.<domain>.
func (e *engine) serviceIQ(b *core.Batch, q *query) {
	switch string(q.child.Space) {
	case nsPubSub, nsPubSubOwner:
		e.pubsub(b, q)
	case nsDiscoInfo:
		e.serviceInfo(b, q)
	case nsDiscoItems:
		e.serviceItems(b, q)
	case nsPing:
		e.result(b, q.answer, nil)
	case nsVersion:
		e.version(b, q)
	default:
		e.refuse(b, q.answer, unavailable)
	}
}

// ownFrom checks the from address that a client gave. RFC 6120 §8.1.2.1
func (e *engine) ownFrom(b *core.Batch, s *framer.Stanza) bool {
	if s.From == nil {
		return true
	}
	a := e.front.parse(s.From)
	if a.place == placeAccount && a.Account == e.account && (a.Resource == "" || a.Resource == e.self.Resource) {
		return true
	}
	e.fail(b, errInvalidFrom) // RFC 6120 §4.9.3.9
	return false
}

// target parses a 'to', the last one from memory.
func (e *engine) target(to []byte) address {
	if e.lastAddr.place == placeNone || string(to) != string(e.lastTo) {
		e.lastTo = append(e.lastTo[:0], to...)
		e.lastAddr = e.front.parse(to)
	}
	return e.lastAddr
}

// result answers an IQ with a payload, which may be nil.
func (e *engine) result(b *core.Batch, a answer, payload []byte) {
	p := e.openAnswer(a, "result")
	if payload == nil {
		p = append(p, "/>"...)
	} else {
		p = append(p, '>')
		p = append(p, payload...)
		p = append(p, "</iq>"...)
	}
	e.write(b, p)
}

// answerLater stops the input until the function that it returns is called, which
// answers an IQ: with an empty result, or with what err tells.
func (e *engine) answerLater(a answer) func(err error) {
	done := e.await()
	return func(err error) {
		done(func(b *core.Batch) {
			if err != nil {
				e.refuse(b, a, faultOf(err))
				return
			}
			e.result(b, a, nil)
		})
	}
}

// refuse answers with an error. RFC 6120 §8.3
func (e *engine) refuse(b *core.Batch, a answer, f fault) {
	e.front.counts.stanzaErrors.Add(1)
	p := append(e.openAnswer(a, "error"), '>')
	p = f.append(p)
	p = append(append(append(p, "</"...), a.kind...), '>')
	e.write(b, p)
}

// openAnswer writes the start tag of an answer, without its end. It may be
// called from any goroutine, hence new memory.
func (e *engine) openAnswer(a answer, typ string) []byte {
	p := make([]byte, 0, 256)
	p = append(append(p, '<'), a.kind...)
	p = attr(p, "type", typ)
	if a.id != "" {
		p = attr(p, "id", a.id)
	}
	if e.jid != "" && !a.noTo {
		p = attr(p, "to", e.jid)
	}
	if a.from != "" {
		p = attr(p, "from", a.from)
	}
	return p
}

// ignore counts a stanza without effect.
func (e *engine) ignore() { e.front.counts.ignored.Add(1) }

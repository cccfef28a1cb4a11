package xmppfront

import (
	"mellium.im/xmpp/stanza"

	"pushhub/core"
	"pushhub/core/auth"
	"pushhub/core/wire"
	"pushhub/xmppfront/framer"
)

// The namespaces of negotiation.
const (
	nsTLS     = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL    = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind    = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSession = "urn:ietf:params:xml:ns:xmpp-session"
)

// features tells a client of version 1.0 what may come next. RFC 6120 §4.3.2
func (e *engine) features(b *core.Batch) {
	if !e.version1 {
		return
	}
	p := e.appendFeatures(e.reply[:0], false)
	e.write(b, p)
	e.reply = p
}

func (e *engine) appendFeatures(p []byte, managed bool) []byte {
	p = append(p, "<stream:features>"...)
	switch {
	case e.stage < stageBind:
		p = e.loginFeatures(p)
	case e.stage == stageBind:
		// RFC 3921 §3 wanted a session; today nobody does, hence optional.
		p = append(p, "<bind xmlns='"+nsBind+"'/><session xmlns='"+nsSession+"'><optional/></session><sm xmlns='"+nsSM+"'/>"...)
	case !managed:
		p = append(p, "<sm xmlns='"+nsSM+"'/>"...)
	}
	if e.stage >= stageBind {
		p = e.front.appendCaps(append(p, "<csi xmlns='"+nsCSI+"'/>"...))
	}
	return append(p, "</stream:features>"...)
}

func (e *engine) loginFeatures(p []byte) []byte {
	if e.canTLS() {
		if e.front.opt.TLSRequired {
			return append(p, "<starttls xmlns='"+nsTLS+"'><required/></starttls>"...)
		}
		p = append(p, "<starttls xmlns='"+nsTLS+"'/>"...)
	}
	if !e.mayLogin() {
		return p
	}
	p = append(p, "<mechanisms xmlns='"+nsSASL+"'>"...)
	for _, name := range e.mechanisms() {
		p = textElement(p, "mechanism", name)
	}
	p = append(p, "</mechanisms><authentication xmlns='"+nsSASL2+"'>"...) // XEP-0388 §2.1
	for _, name := range e.mechanisms() {
		p = textElement(p, "mechanism", name)
	}
	p = append(appendInline(p), "</authentication>"...)
	p = e.appendBindings(p)
	if !e.showsPassword() {
		return p
	}
	p = append(p, "<auth xmlns='http://jabber.org/features/iq-auth'/>"...) // XEP-0078 §3.1
	if e.front.opt.Registration {
		p = append(p, "<register xmlns='http://jabber.org/features/iq-register'/>"...) // XEP-0077 §8
	}
	return p
}

// canTLS tells whether STARTTLS may be asked for.
func (e *engine) canTLS() bool { return e.front.opt.TLS != nil && e.conn.TLS() == nil }

// mayLogin tells whether this connection is good enough for any login.
func (e *engine) mayLogin() bool { return !e.front.opt.TLSRequired || e.conn.TLS() != nil }

// showsPassword tells whether a login may send its password as it is.
func (e *engine) showsPassword() bool {
	return e.conn.TLS() != nil || e.front.opt.PlainWithoutTLS && e.mayLogin()
}

// mechanisms are the SASL mechanisms, in the order of preference.
func (e *engine) mechanisms() []string {
	names := []string{auth.SHA256, auth.SHA1}
	if len(e.bindings()) > 0 { // RFC 5802 §6
		names = []string{auth.SHA256Plus, auth.SHA1Plus, auth.SHA256, auth.SHA1}
	}
	if e.showsPassword() {
		names = append(names, mechanismPlain)
	}
	return names
}

const nsBindings = "urn:xmpp:sasl-cb:0" // XEP-0440

// appendBindings writes what SASL can be bound to, where there is anything. XEP-0440 §2
func (e *engine) appendBindings(p []byte) []byte {
	all := e.bindings()
	if len(all) == 0 {
		return p
	}
	p = append(p, "<sasl-channel-binding xmlns='"+nsBindings+"'>"...)
	for _, b := range all {
		p = append(attr(append(p, "<channel-binding"...), "type", b.Type), "/>"...)
	}
	return append(p, "</sasl-channel-binding>"...)
}

// bindings are the channel bindings that are offered; none without TLS.
func (e *engine) bindings() []auth.Binding {
	if e.channel == nil && e.front.opt.ChannelBinding {
		if state := e.conn.TLS(); state != nil {
			e.channel = auth.Bindings(state, e.conn.Certificate())
		}
	}
	return e.channel
}

// negotiate takes an element that is no stanza of a bound stream.
func (e *engine) negotiate(b *core.Batch, s *framer.Stanza) error {
	space := string(s.Space)
	if e.sasl.two != nil && space != nsSASL2 { // XEP-0388 §2.5
		e.fail(b, errDuringLogin)
		return nil
	}
	switch space {
	case nsTLS:
		if string(s.Name) == "starttls" && e.stage == stageLogin {
			return e.startTLS(b)
		}
	case nsSASL:
		if e.stage == stageLogin {
			e.saslElement(b, s)
			return nil
		}
	case nsSASL2:
		if e.stage == stageLogin { // once only: XEP-0388 §3.8
			e.sasl2Element(b, s)
			return nil
		}
	case nsSM:
		if e.manage(b, s) {
			return nil
		}
	case nsCSI:
		if e.clientState(b, s) {
			return nil
		}
	case framer.NSClient:
		e.beforeBind(b, s)
		return nil
	}
	if e.stage < stageBind {
		e.fail(b, errNotLoggedIn) // RFC 6120 §4.9.3.12
		return nil
	}
	e.fail(b, errStanzaType)
	return nil
}

// beforeBind takes a stanza that comes before a resource is bound.
func (e *engine) beforeBind(b *core.Batch, s *framer.Stanza) {
	switch string(s.Name) {
	case "iq":
	case "message", "presence":
		e.fail(b, errNotLoggedIn) // RFC 6120 §4.9.3.12, §7.1
		return
	default:
		e.fail(b, errStanzaType)
		return
	}
	e.front.counts.iqsIn.Add(1)
	q, ok := e.query(b, s)
	if !ok {
		return
	}
	space := string(q.child.Space)
	switch {
	case space == nsBind && e.stage == stageBind:
		e.bind(b, q)
	case space == nsSession && e.stage == stageBind: // before bind there is nothing to do either
		e.result(b, q.answer, nil)
	case space == nsIQAuth && e.stage == stageLogin:
		e.iqAuth(b, q)
	case space == nsRegister && e.stage == stageLogin:
		e.registerEarly(b, q)
	case e.stage < stageBind:
		// A client without a login is owed an answer to what it may not do, not
		// the end of its stream: some ping, or ask for features, beforehand.
		e.refuse(b, q.answer, notAuthorized)
	default:
		e.refuse(b, q.answer, fault{typ: stanza.Cancel, cond: stanza.NotAllowed, text: "bind a resource first"})
	}
}

// startTLS answers <starttls/>; the bytes that follow are TLS. RFC 6120 §5.4.2
func (e *engine) startTLS(b *core.Batch) error {
	if !e.canTLS() {
		e.mu.Lock()
		e.append(b, 0, []byte("<failure xmlns='"+nsTLS+"'/></stream:stream>"))
		e.ended = true
		e.mu.Unlock()
		e.fatal = errorWith{wire.ErrClosed, "STARTTLS is not offered"}
		return nil
	}
	e.write(b, []byte("<proceed xmlns='"+nsTLS+"'/>"))
	e.restart(stageHeader)
	e.sasl = saslState{}
	return wire.ErrStartTLS
}

package device

import (
	"context"
	"fmt"
	"net"

	"pushhub/xmppfront/framer"
)

const (
	nsBind     = "urn:ietf:params:xml:ns:xmpp-bind"
	nsRegister = "jabber:iq:register"
	nsPing     = "urn:xmpp:ping"
)

// XMPPOptions of a client.
type XMPPOptions struct {
	Endpoint
	Domain   string // of the account; empty: the address's host
	User     string
	Password string
	Resource string // empty: the server chooses
	Register bool   // make the account first, in band (XEP-0077); one that exists already is no error
}

// XMPP is a connected XMPP client with a bound resource. It has sent no presence
// yet. It is safe for concurrent use.
type XMPP struct {
	*stream
	user XMPPOptions
	jid  string
}

// ConnectXMPP connects, logs in (SCRAM-SHA-256, SCRAM-SHA-1 or PLAIN, the best
// that is offered) and binds the resource.
// Errors: ErrUnreachable, *Refusal, ErrNoAnswer, ErrProtocol.
func ConnectXMPP(ctx context.Context, opt XMPPOptions) (*XMPP, error) {
	if opt.Domain == "" {
		opt.Domain = opt.Address
		if host, _, err := net.SplitHostPort(opt.Address); err == nil {
			opt.Domain = host
		}
	}
	s, err := newStream(ctx, opt.Endpoint)
	if err != nil {
		return nil, err
	}
	x := &XMPP{stream: s, user: opt}
	s.answer, s.bye = x.reply, "<presence type='unavailable'/>"
	if err := until(ctx, s.conn, s.opt.Timeout, func() error { return x.negotiate(ctx) }); err != nil {
		_ = s.conn.Close()
		return nil, err
	}
	go s.read()
	return x, nil
}

func (x *XMPP) header() string {
	b := attr([]byte("<?xml version='1.0'?><stream:stream"), "to", x.user.Domain)
	return string(append(b, " version='1.0' xmlns='jabber:client' xmlns:stream='"+nsStreams+"'>"...))
}

// negotiate takes the stream from its header to the bound resource. RFC 6120 §4.3
func (x *XMPP) negotiate(ctx context.Context) error {
	features, err := x.open(x.header())
	if err != nil {
		return err
	}
	if x.opt.TLS != nil && x.opt.StartTLS {
		if err := x.startTLS(ctx, features); err != nil {
			return err
		}
		if features, err = x.open(x.header()); err != nil {
			return err
		}
	}
	if x.user.Register {
		if err := x.register(); err != nil {
			return err
		}
	}
	if err := x.login(features); err != nil {
		return err
	}
	x.framer.Reset()
	if features, err = x.open(x.header()); err != nil {
		return err
	}
	if _, ok := child(features, nsBind, "bind"); !ok {
		return fmt.Errorf("%w: no resource binding is offered after the login", ErrProtocol)
	}
	return x.bind()
}

// register makes the account. XEP-0077 §3.1
func (x *XMPP) register() error {
	id := x.newID("reg")
	b := attr([]byte("<iq type='set'"), "id", id)
	b = append(b, "><query xmlns='"+nsRegister+"'>"...)
	b = text(text(b, "username", x.user.User), "password", x.user.Password)
	_, err := x.exchange("register "+x.user.User, id, string(append(b, "</query></iq>"...)))
	if exists(err) {
		return nil
	}
	return err
}

// bind binds the resource. RFC 6120 §7
func (x *XMPP) bind() error {
	id := x.newID("bind")
	b := attr([]byte("<iq type='set'"), "id", id)
	b = append(b, "><bind xmlns='"+nsBind+"'>"...)
	if x.user.Resource != "" {
		b = text(b, "resource", x.user.Resource)
	}
	st, err := x.exchange("bind", id, string(append(b, "</bind></iq>"...)))
	if err != nil {
		return err
	}
	bound, _ := child(st.Element, nsBind, "bind")
	if x.jid = childText(bound, "jid"); x.jid == "" {
		return fmt.Errorf("%w: bound to no address", ErrProtocol)
	}
	return nil
}

// reply answers an IQ of the server or of a peer. RFC 6120 §8.2.3
func (x *XMPP) reply(iq *framer.Stanza) string {
	if roster, ok := child(iq.Element, nsRoster, "query"); ok && string(iq.Type) == "set" {
		x.rosterPush(iq, roster)
		return x.result(iq, "result", "")
	}
	if _, ok := child(iq.Element, nsPing, "ping"); ok {
		return x.result(iq, "result", "")
	}
	return x.result(iq, "error", "<error type='cancel'><service-unavailable xmlns='"+nsStanzas+"'/></error>")
}

func (x *XMPP) result(iq *framer.Stanza, kind, inner string) string {
	b := attr([]byte("<iq"), "type", kind)
	b = attr(attr(b, "id", string(iq.ID)), "to", string(iq.From))
	if inner == "" {
		return string(append(b, "/>"...))
	}
	return string(append(b, ">"+inner+"</iq>"...))
}

// JID is the client's full address.
func (x *XMPP) JID() string { return x.jid }

// Domain is the domain of the client's account.
func (x *XMPP) Domain() string { return x.user.Domain }

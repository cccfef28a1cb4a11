package device

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"time"

	"pushhub/xmppfront/framer"
)

const nsIQAuth = "jabber:iq:auth"

// AndroidpnOptions of a device.
type AndroidpnOptions struct {
	Endpoint
	Host     string // that the stream is opened to; empty: the address's host, as the app does
	User     string // the app makes 32 hexadecimal digits up
	Password string // likewise
	Resource string // empty: AndroidpnClient, as always
	Register bool   // make the account first; one that exists already is no error
	// KeepAlive is how often a space is sent; the first comes after half of it.
	// 0: the app's 30 s; negative: never.
	KeepAlive time.Duration
}

// Androidpn is a device of the androidpn kind: the XMPP of Smack 3.1 on
// Android, byte for byte, with in-band registration, a login from before SASL,
// and notifications that nobody confirms. It is safe for concurrent use.
type Androidpn struct {
	*stream
	user   AndroidpnOptions
	prefix string        // of its stanza identifiers
	beat   chan struct{} // closed when keepalive has returned
}

// ConnectAndroidpn connects, registers when that is wanted, logs in, asks for
// the roster and becomes available.
// Errors: ErrUnreachable, *Refusal, ErrNoAnswer, ErrProtocol.
func ConnectAndroidpn(ctx context.Context, opt AndroidpnOptions) (*Androidpn, error) {
	if opt.Host == "" {
		opt.Host = opt.Address
		if host, _, err := net.SplitHostPort(opt.Address); err == nil {
			opt.Host = host
		}
	}
	if opt.Resource == "" {
		opt.Resource = "AndroidpnClient"
	}
	if opt.KeepAlive == 0 {
		opt.KeepAlive = 30 * time.Second
	}
	s, err := newStream(ctx, opt.Endpoint)
	if err != nil {
		return nil, err
	}
	a := &Androidpn{stream: s, user: opt, prefix: strings.ToLower(rand.Text()[:5]) + "-", beat: make(chan struct{})}
	s.answer = a.reply
	if err := until(ctx, s.conn, s.opt.Timeout, func() error { return a.negotiate(ctx) }); err != nil {
		_ = s.conn.Close()
		return nil, err
	}
	s.bye = `<presence id="` + a.newID(a.prefix) + `" type="unavailable"></presence>`
	go s.read()
	go a.keepalive()
	return a, nil
}

func (a *Androidpn) header() string {
	b := []byte(`<stream:stream to="`)
	b = framer.AppendEscapedAttr(b, a.user.Host)
	return string(append(b, `" xmlns="jabber:client" xmlns:stream="`+nsStreams+`" version="1.0">`...))
}

func (a *Androidpn) negotiate(ctx context.Context) error {
	features, err := a.open(a.header())
	if err != nil {
		return err
	}
	if a.opt.TLS != nil && a.opt.StartTLS {
		if err := a.startTLS(ctx, features); err != nil {
			return err
		}
		if _, err = a.open(a.header()); err != nil {
			return err
		}
	}
	if a.user.Register {
		fields := text(text(nil, "password", a.user.Password), "username", a.user.User)
		if _, err := a.query("register "+a.user.User, "set", nsRegister, fields); err != nil && !exists(err) {
			return err
		}
	}
	if err := a.login(); err != nil {
		return err
	}
	return a.appear()
}

// login is XEP-0078: ask which fields are wanted, then send them. Smack prefers
// the digest, which takes the plain password on the server too; a hub that
// keeps none offers <password/> alone.
func (a *Androidpn) login() error {
	user := text(nil, "username", a.user.User)
	st, err := a.query("log in", "get", nsIQAuth, user)
	if err != nil {
		return err
	}
	wanted, _ := child(st.Element, nsIQAuth, "query")
	if _, ok := child(wanted, "", "password"); !ok {
		return &Refusal{What: "log in", Code: "no password wanted"}
	}
	fields := text(text(user, "password", a.user.Password), "resource", a.user.Resource)
	_, err = a.query("log in", "set", nsIQAuth, fields)
	return err
}

// appear asks for the roster, whose answer the app does not wait for, and sends
// presence.
func (a *Androidpn) appear() error {
	// The blank is Smack's.
	if err := a.send(`<iq id="` + a.newID(a.prefix) + `" type="get"><query xmlns="` + nsRoster + `" ></query></iq>`); err != nil {
		return err
	}
	return a.send(`<presence id="` + a.newID(a.prefix) + `"></presence>`)
}

// query makes an IQ as Smack 3.1 writes one, and waits for its answer.
func (a *Androidpn) query(what, kind, space string, fields []byte) (*framer.Stanza, error) {
	id := a.newID(a.prefix)
	return a.exchange(what, id, fmt.Sprintf(`<iq id="%s" type="%s"><query xmlns="%s">%s</query></iq>`, id, kind, space, fields))
}

// reply answers IQs as Smack does: those that it has a parser for by nothing,
// all others by "not implemented". A hub can take the latter for a sign of life.
func (a *Androidpn) reply(iq *framer.Stanza) string {
	for c := range iq.Children {
		if space := string(c.Space); space == nsNotification || space == nsRoster {
			return ""
		}
	}
	b := []byte("<iq")
	for _, field := range []struct{ name, value string }{{"id", string(iq.ID)}, {"to", string(iq.From)}, {"from", string(iq.To)}} {
		if field.value != "" {
			b = append(b, " "+field.name+`="`...)
			b = append(framer.AppendEscapedAttr(b, field.value), '"')
		}
	}
	return string(append(b, ` type="error"><error code="501" type="CANCEL"><feature-not-implemented xmlns="`+
		nsStanzas+`"/></error></iq>`...))
}

// keepalive sends a blank now and then.
func (a *Androidpn) keepalive() {
	defer close(a.beat)
	if a.user.KeepAlive < 0 {
		return
	}
	timer := time.NewTimer(a.user.KeepAlive / 2)
	defer timer.Stop()
	for {
		select {
		case <-a.stop:
			return
		case <-a.done:
			return
		case <-timer.C:
			// When it cannot be written the reader learns why.
			_ = a.say(" ")
			timer.Reset(a.user.KeepAlive)
		}
	}
}

// Close ends the stream as the app does when it is stopped.
func (a *Androidpn) Close() error {
	err := a.stream.Close()
	<-a.beat
	return err
}

// Kill cuts the connection, as a dead battery does.
func (a *Androidpn) Kill() {
	a.stream.Kill()
	<-a.beat
}

package device

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/xdg-go/scram"

	"pushhub/xmppfront/framer"
)

const nsSASL = "urn:ietf:params:xml:ns:xmpp-sasl"

// exists tells whether a registration was refused because the account is there.
func exists(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && (r.Code == "conflict" || r.Code == "error 409")
}

// login authenticates by the best mechanism that is offered. RFC 6120 §6.4
func (x *XMPP) login(features framer.Element) error {
	var offered []string
	mechanisms, _ := child(features, nsSASL, "mechanisms")
	for m := range mechanisms.Children {
		offered = append(offered, string(framer.Unescape(nil, m.Inner)))
	}
	switch {
	case slices.Contains(offered, "SCRAM-SHA-256"):
		return x.scram("SCRAM-SHA-256", scram.SHA256)
	case slices.Contains(offered, "SCRAM-SHA-1"):
		return x.scram("SCRAM-SHA-1", scram.SHA1)
	case slices.Contains(offered, "PLAIN") && x.private():
		return x.plain()
	}
	return &Refusal{What: "log in", Code: fmt.Sprintf("mechanisms %q only", offered), Text: "a login by password needs TLS"}
}

// private tells whether nobody on the network can read the stream, so that a
// password may be sent. RFC 6120 §13.8.3
func (x *XMPP) private() bool {
	if _, ok := x.conn.(*tls.Conn); ok {
		return true
	}
	addr, ok := x.conn.RemoteAddr().(*net.TCPAddr)
	return !ok || addr.IP.IsLoopback()
}

// plain is RFC 4616.
func (x *XMPP) plain() error {
	st, err := x.saslSend("auth", " mechanism='PLAIN'", "\x00"+x.user.User+"\x00"+x.user.Password)
	if err != nil {
		return err
	}
	if string(st.Name) != "success" {
		return saslError(st)
	}
	return nil
}

// scram is RFC 5802 within RFC 6120 §6.4, without channel binding.
func (x *XMPP) scram(name string, hash scram.HashGeneratorFcn) error {
	client, err := hash.NewClient(x.user.User, x.user.Password, "")
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	talk := client.NewConversation()
	challenge, element, attrs := "", "auth", " mechanism='"+name+"'"
	for {
		say, err := talk.Step(challenge)
		if err != nil {
			return fmt.Errorf("log in: %w: %w", ErrProtocol, err)
		}
		st, err := x.saslSend(element, attrs, say)
		if err != nil {
			return err
		}
		data, err := base64.StdEncoding.DecodeString(string(framer.Unescape(nil, st.Inner)))
		if err != nil {
			return fmt.Errorf("log in: %w: %w", ErrProtocol, err)
		}
		challenge, element, attrs = string(data), "response", ""
		switch string(st.Name) {
		case "challenge":
			continue
		case "success":
			return x.proven(talk, challenge)
		}
		return saslError(st)
	}
}

// proven checks that the server knows the password too. RFC 5802 §5
func (x *XMPP) proven(talk *scram.ClientConversation, final string) error {
	if !talk.Done() {
		if _, err := talk.Step(final); err != nil {
			return fmt.Errorf("log in: %w: %w", ErrProtocol, err)
		}
	}
	if !talk.Valid() {
		return fmt.Errorf("log in: %w: the server did not prove that it knows the password", ErrProtocol)
	}
	return nil
}

func (x *XMPP) saslSend(element, attrs, data string) (*framer.Stanza, error) {
	coded := base64.StdEncoding.EncodeToString([]byte(data))
	if coded == "" && element == "auth" {
		coded = "=" // RFC 6120 §6.4.2
	}
	if err := x.send("<" + element + " xmlns='" + nsSASL + "'" + attrs + ">" + coded + "</" + element + ">"); err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	st, err := x.element()
	if err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	if string(st.Space) != nsSASL {
		return nil, fmt.Errorf("log in: %w: <%s/>", ErrProtocol, st.Name)
	}
	return st, nil
}

// saslError reads a <failure/>. RFC 6120 §6.5
func saslError(st *framer.Stanza) error {
	condition, said := string(st.Name), ""
	for c := range st.Children {
		if string(c.Name) == "text" {
			said = string(framer.Unescape(nil, c.Inner))
			continue
		}
		condition = string(c.Name)
	}
	return refused("log in", condition, said)
}

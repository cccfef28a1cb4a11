package integration

import (
	"bytes"
	"encoding/base64"
	"os/exec"
	"strings"
	"testing"

	"pushhub/integration/hubtest"
)

// An xmppClient is a connected client that can do both topics and direct messages.
type xmppClient struct {
	*hubtest.Client
	t testing.TB
}

// xmppOptions say how an XMPP client connects.
type xmppOptions struct {
	User     string
	Resource string
	TLS      bool // from the first byte; else STARTTLS
}

// An xmppKind is a client library.
type xmppKind struct {
	name string
	need func(t testing.TB)
	dial func(t testing.TB, h *hubtest.Hub, o xmppOptions) *xmppClient
}

var xmppKinds = []xmppKind{
	{"slixmpp", needSlixmpp, dialSlixmpp},
	{"xmpp.js", needXMPPJS, dialXMPPJS},
}

func needSlixmpp(t testing.TB) {
	t.Helper()
	hubtest.Need(t, "slixmpp (python3-slixmpp)", hubtest.PythonHas("slixmpp"))
}

func needXMPPJS(t testing.TB) {
	t.Helper()
	hubtest.Need(t, "@xmpp/client (npm ci in integration/clients/xmppjs)", hubtest.ModuleInstalled("xmppjs", "@xmpp/client"))
}

func needGoSendXMPP(t testing.TB) {
	t.Helper()
	hubtest.Need(t, "go-sendxmpp", hubtest.Installed("go-sendxmpp"))
}

func jid(user string) string { return user + "@" + hubtest.Domain }

func dialSlixmpp(t testing.TB, h *hubtest.Hub, o xmppOptions) *xmppClient {
	t.Helper()
	address, security := h.XMPP, "starttls"
	if o.TLS {
		address, security = h.XMPPS, "tls"
	}
	host, port := hubtest.HostPort(t, address)
	c := hubtest.Script(h, "slixmpp "+o.User, "/usr/bin/python3", "slixmpp_agent.py",
		jid(o.User)+"/"+o.Resource, hubtest.Password, host, port, security)
	c.Ready()
	return &xmppClient{Client: c, t: t}
}

func dialXMPPJS(t testing.TB, h *hubtest.Hub, o xmppOptions) *xmppClient {
	t.Helper()
	service := "xmpp://" + h.XMPP
	if o.TLS {
		service = "xmpps://" + h.XMPPS
	}
	c := hubtest.Script(h, "xmpp.js "+o.User, "node", "xmppjs/agent.js", jid(o.User)+"/"+o.Resource, hubtest.Password, service)
	c.Ready()
	return &xmppClient{Client: c, t: t}
}

// within is the client in a subtest, see hubtest.Client.Within.
func (x *xmppClient) within(t testing.TB) *xmppClient {
	x.Within(t)
	return &xmppClient{Client: x.Client, t: t}
}

func (x *xmppClient) subscribe(node string) {
	x.t.Helper()
	x.Must("subscribe", hubtest.Command{"node": node})
}

func (x *xmppClient) publish(node, xml string) {
	x.t.Helper()
	x.Must("publish", hubtest.Command{"node": node, "xml": xml})
}

func (x *xmppClient) send(to, body string) {
	x.t.Helper()
	x.Must("send", hubtest.Command{"to": jid(to), "body": body})
}

// awaitItem waits for a pubsub event that carries this payload.
func (x *xmppClient) awaitItem(node string, payload []byte) hubtest.Item {
	x.t.Helper()
	var got hubtest.Item
	x.Find("item with the payload on "+node, func(e hubtest.Event) bool {
		for _, item := range e.Items {
			if e.Event == "message" && item.Node == node && item.Payload != nil && bytes.Equal(decode(*item.Payload), payload) {
				got = item
				return true
			}
		}
		return false
	})
	return got
}

// awaitMessage waits for a direct message from an account (or one of its devices) that carries this payload.
func (x *xmppClient) awaitMessage(from string, payload []byte) hubtest.Event {
	x.t.Helper()
	return x.Find("message from "+from, func(e hubtest.Event) bool {
		return e.Event == "message" && e.Type != "error" && bare(e.From) == jid(from) && carries(e, payload)
	})
}

// awaitPresence waits for presence of a type ("" is available) from a full address.
func (x *xmppClient) awaitPresence(from, kind string) hubtest.Event {
	x.t.Helper()
	return x.Find("presence of type '"+kind+"' from "+from, func(e hubtest.Event) bool {
		return e.Event == "presence" && e.From == from && e.Type == kind
	})
}

func bare(address string) string {
	account, _, _ := strings.Cut(address, "/")
	return account
}

// carries says whether a message stanza has this payload, in its body or in a container.
func carries(e hubtest.Event, payload []byte) bool {
	if bytes.Equal([]byte(e.Body), payload) {
		return true
	}
	for _, child := range e.Children {
		if bytes.Equal(decode(child), payload) {
			return true
		}
	}
	return false
}

// decode undoes the way in which the hub draws bytes in XML: <json/> (XEP-0335)
// and text as they are, everything else in base64 (docs/protocols.md).
func decode(e hubtest.Element) []byte {
	if e.Attrs["encoding"] == "base64" {
		if b, err := base64.StdEncoding.DecodeString(e.Text); err == nil {
			return b
		}
	}
	return []byte(e.Text)
}

// goSendXMPP sends one direct message with go-sendxmpp and returns when that has ended.
func goSendXMPP(t testing.TB, h *hubtest.Hub, from, to, body string) {
	t.Helper()
	cmd := exec.Command("go-sendxmpp", "-u", jid(from), "-p", hubtest.Password, "-j", h.XMPP, jid(to))
	cmd.Env = h.ClientEnv()
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go-sendxmpp from %s to %s: %v\n%s", from, to, err, out)
	}
}

// goListenXMPP starts go-sendxmpp as a listener. It says nothing once it is
// online, so the caller waits for its presence.
func goListenXMPP(t testing.TB, h *hubtest.Hub, user string) *hubtest.Process {
	t.Helper()
	return hubtest.Start(t, "go-sendxmpp "+user, h.ClientEnv(),
		"go-sendxmpp", "-l", "-u", jid(user), "-p", hubtest.Password, "-j", h.XMPP)
}

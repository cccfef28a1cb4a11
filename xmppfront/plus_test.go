package xmppfront

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// overTLS connects, and begins a stream over TLS of a version.
func (h *hub) overTLS(version uint16) (*client, *tls.ConnectionState) {
	h.t.Helper()
	c := h.dial()
	c.send(header)
	c.expect(`<?xml{}</stream:features>`)
	c.send(`<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`)
	c.expect(`<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`)
	t := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, ServerName: "hub.example", MaxVersion: version})
	if err := t.Handshake(); err != nil {
		h.t.Fatal(err)
	}
	c.conn = t
	c.send(header)
	state := t.ConnectionState()
	return c, &state
}

// exporterOf and endPointOf are the bindings as RFC 9266 §2 and RFC 5929 §4 have
// them, without a word of ours.
func exporterOf(t *testing.T, state *tls.ConnectionState) scram.ChannelBinding {
	t.Helper()
	data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
	if err != nil {
		t.Fatal(err)
	}
	return scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: data}
}

func endPointOf(t *testing.T, state *tls.ConnectionState) scram.ChannelBinding {
	t.Helper()
	sum := sha256.Sum256(state.PeerCertificates[0].Raw) // its signature is ECDSA with SHA-256
	return scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: sum[:]}
}

func TestLoginsAreBoundToTheirTLS(t *testing.T) {
	const (
		welcome  = `<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</success>`
		welcome2 = `<success xmlns='urn:xmpp:sasl:2'><additional-data>{}</success>`
		refused  = `<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>`
		bad      = `<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><malformed-request/></failure>`
		unknown  = `<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><invalid-mechanism/></failure>`
	)
	h := newHub(t, Options{TLS: testTLS(t), ChannelBinding: true})
	h.account("romeo", "montague")
	elsewhere, _ := h.overTLS(tls.VersionTLS13)
	_, other := h.overTLS(tls.VersionTLS13)
	elsewhere.expect(`<?xml{}</stream:features>`)
	for _, row := range []struct {
		name, mechanism string
		version         uint16
		binding         func(*testing.T, *tls.ConnectionState) scram.ChannelBinding // nil: none
		plain           bool                                                        // they could, and say that we cannot
		two             bool
		expect          string
	}{
		{"exporter", "SCRAM-SHA-256-PLUS", tls.VersionTLS13, exporterOf, false, false, welcome},
		{"exporter by XEP-0388", "SCRAM-SHA-256-PLUS", tls.VersionTLS13, exporterOf, false, true, welcome2},
		{"end point", "SCRAM-SHA-256-PLUS", tls.VersionTLS13, endPointOf, false, false, welcome},
		{"end point by TLS 1.2", "SCRAM-SHA-1-PLUS", tls.VersionTLS12, endPointOf, false, false, welcome},
		{"exporter by TLS 1.2", "SCRAM-SHA-1-PLUS", tls.VersionTLS12, exporterOf, false, false, bad},
		{"another connection's", "SCRAM-SHA-256-PLUS", tls.VersionTLS13, func(t *testing.T, _ *tls.ConnectionState) scram.ChannelBinding {
			return exporterOf(t, other)
		}, false, false, refused},
		{"none", "SCRAM-SHA-256-PLUS", tls.VersionTLS13, nil, false, false, bad},
		{"a client that cannot", "SCRAM-SHA-256", tls.VersionTLS13, nil, false, false, welcome},
		{"an offer that was cut down", "SCRAM-SHA-256", tls.VersionTLS13, nil, true, false, refused},
		{"a mechanism that there is not", "PLAIN-PLUS", tls.VersionTLS13, nil, false, false, unknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, state := h.overTLS(row.version)
			c.t = t
			hash := scram.SHA256
			if row.mechanism == "SCRAM-SHA-1-PLUS" {
				hash = scram.SHA1
			}
			user, err := hash.NewClient("romeo", "montague", "")
			if err != nil {
				t.Fatal(err)
			}
			conv := user.NewConversation()
			switch {
			case row.binding != nil:
				conv = user.NewConversationWithChannelBinding(row.binding(t, state))
			case row.plain:
				conv = user.NewConversationAdvertisingChannelBinding()
			}
			c.expect(`<?xml{}</stream:features>`)
			c.scram(conv, row.mechanism, row.two, row.expect)
		})
	}
}

// scram plays a conversation, up to what is expected in its end.
func (c *client) scram(conv *scram.ClientConversation, mechanism string, two bool, expect string) {
	c.t.Helper()
	space, open, shut := "urn:ietf:params:xml:ns:xmpp-sasl", `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='`+mechanism+`'>`, `</auth>`
	if two {
		space, open, shut = "urn:xmpp:sasl:2", `<authenticate xmlns='urn:xmpp:sasl:2' mechanism='`+mechanism+`'><initial-response>`, `</initial-response></authenticate>`
	}
	first, err := conv.Step("")
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(open + base64.StdEncoding.EncodeToString([]byte(first)) + shut)
	if strings.Contains(expect, "<failure") && !strings.Contains(expect, "not-authorized") || strings.HasPrefix(first, "y") {
		c.expect(expect)
		return
	}
	c.expect(`<challenge xmlns='` + space + `'>{challenge}</challenge>`)
	challenge, _ := base64.StdEncoding.DecodeString(c.vars["challenge"])
	final, err := conv.Step(string(challenge))
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(`<response xmlns='` + space + `'>` + base64.StdEncoding.EncodeToString([]byte(final)) + `</response>`)
	c.expect(expect)
}

func TestChannelBindingIsOfferedOverTLS(t *testing.T) {
	h := newHub(t, Options{TLS: testTLS(t), ChannelBinding: true})
	c, _ := h.overTLS(tls.VersionTLS13)
	c.expect(`<?xml{}<mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism>{}` +
		`<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>` +
		`<channel-binding type='tls-server-end-point'/></sasl-channel-binding>{}</stream:features>`)
}

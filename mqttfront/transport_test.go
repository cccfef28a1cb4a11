package mqttfront

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"

	"pushhub/core"
)

func shownBy(name string, verified bool) *tls.ConnectionState {
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: name}}
	state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	if verified {
		state.VerifiedChains = [][]*x509.Certificate{{leaf}}
	}
	return state
}

func TestCertificateNamesTheAccount(t *testing.T) {
	const asAlice = "10 1c 0004 4d515454 04 c2 003c 0001 63 0005 616c696365 0006 736563726574" // alice, secret
	for _, c := range []struct {
		name    string
		state   *tls.ConnectionState
		off     bool
		connect string
		account string // "": refused
		answer  string
	}{
		{name: "an account", state: shownBy("alice", true), connect: connects[4], account: "alice", answer: "2002 0000"},
		{name: "an account, MQTT 5", state: shownBy("alice", true), connect: connects[5], account: "alice", answer: "20"},
		{name: "no account", state: shownBy("mallory", true), connect: connects[4], answer: "2002 0005"},
		{name: "no account, MQTT 5", state: shownBy("mallory", true), connect: connects[5], answer: "20 .. 00 87"},
		{name: "a user name wins", state: shownBy("mallory", true), connect: asAlice, account: "alice", answer: "2002 0000"},
		{name: "not verified", state: shownBy("alice", false), connect: connects[4], account: core.Anonymous, answer: "2002 0000"},
		{name: "no certificate", state: &tls.ConnectionState{}, connect: connects[4], account: core.Anonymous, answer: "2002 0000"},
		{name: "no common name", state: shownBy("", true), connect: connects[4], account: core.Anonymous, answer: "2002 0000"},
		{name: "no TLS", connect: connects[4], account: core.Anonymous, answer: "2002 0000"},
		{name: "not configured", state: shownBy("alice", true), off: true, connect: connects[4], account: core.Anonymous, answer: "2002 0000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := testOptions()
			opt.CertUser = !c.off
			r := newRig(t, opt)
			r.link.tls = c.state
			out := r.inHex(c.connect)
			want := strings.ReplaceAll(c.answer, " ", "")
			if before, after, cut := strings.Cut(want, ".."); cut {
				if !strings.HasPrefix(out, before) || out[4:8] != after {
					t.Errorf("answered by %s, want %s", out, want)
				}
			} else if !strings.HasPrefix(out, want) {
				t.Errorf("answered by %s, want %s", out, want)
			}
			if got := r.hub.attached.Address.Account; got != c.account {
				t.Errorf("logged in as %q, want %q", got, c.account)
			}
			if refused := r.e.front.count.rejected.Load(); refused != 0 != (c.account == "") {
				t.Errorf("%d logins were refused", refused)
			}
		})
	}
}

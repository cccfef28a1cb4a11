package xmppfront

import (
	"testing"

	"pushhub/core"
)

func TestCapabilitiesVersion(t *testing.T) {
	// XEP-0115 §5.2
	features := []string{
		"http://jabber.org/protocol/muc", "http://jabber.org/protocol/disco#items",
		"http://jabber.org/protocol/caps", "http://jabber.org/protocol/disco#info",
	}
	exodus := capabilities{"client", "pc", "Exodus 0.9.1", features, nil}
	if v := exodus.version(); v != "QgayPKawpkPSDYmwT/WM94uAlu0=" {
		t.Errorf("the version is %q", v)
	}
	if exodus.features[0] != "http://jabber.org/protocol/muc" {
		t.Error("the features were put into another order")
	}
	// XEP-0115 §5.3
	psi := verification([]string{"client/pc/en/Psi 0.11", "client/pc/el/Ψ 0.11"}, features, &form{"urn:xmpp:dataforms:softwareinfo", []field{
		{"software", []string{"Psi"}},
		{"software_version", []string{"0.11"}},
		{"os", []string{"Mac"}},
		{"os_version", []string{"10.5.1"}},
		{"ip_version", []string{"ipv6", "ipv4"}},
	}})
	if psi != "q07IKJEyjvHSyhy//CH0CxmKi8w=" {
		t.Errorf("the version is %q", psi)
	}
	open, closed := serverCapabilities(Options{Registration: true}), serverCapabilities(Options{})
	if open.version() == closed.version() {
		t.Error("a server with registration has the version of one without")
	}
}

func TestServerNamesItsAdmins(t *testing.T) {
	h := lovers(t, Options{AdminAddresses: []string{"mailto:a&b@hub.example", "xmpp:admin@hub.example"}}, core.Options{})
	c := h.login("romeo", "montague", "r")
	c.send(`<iq type='get' id='1' to='hub.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`)
	c.expect(`<iq type='result' id='1'{}<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/network/serverinfo</value></field>` +
		`<field var='admin-addresses' type='list-multi'><value>mailto:a&amp;b@hub.example</value><value>xmpp:admin@hub.example</value></field></x></query></iq>`)
	if serverCapabilities(Options{}).version() == h.front.capsVersion {
		t.Error("the version does not tell of the addresses")
	}
}

package integration

import (
	"fmt"
	"strings"
	"testing"

	"pushhub/integration/hubtest"
)

// The stream errors of RFC 6120 §4.9.3 that an attack must meet.
var (
	notWellFormed = []string{"not-well-formed", "bad-format"}
	restrictedXML = []string{"restricted-xml"}
	tooMuch       = []string{"policy-violation", "resource-constraint"}
)

// XMPP limits that no hub needs to exceed: a stanza of this many bytes is refused.
const hugeStanza = 4 << 20

func TestHostileStanzas(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("mallory")
	others := newBystander(t, h)
	attacks := []struct {
		name       string
		xml        string
		conditions []string
	}{
		{"end tag of another element", `<message><body>x</subject></message>`, notWellFormed},
		{"end tag without a start", `</message>`, notWellFormed},
		{"attribute without quotes", `<message to=a/>`, notWellFormed},
		{"attribute twice", `<message to='a' to='b'/>`, notWellFormed},
		{"undeclared prefix", `<message><x:y/></message>`, append([]string{"bad-namespace-prefix"}, notWellFormed...)},
		{"bare ampersand", `<message><body>a & b</body></message>`, notWellFormed},
		{"control character", "<message><body>\x01</body></message>", notWellFormed},
		{"reference to a control character", `<message><body>&#1;</body></message>`, notWellFormed},
		{"bytes that are not UTF-8", "<message><body>\xff\xfe</body></message>", append([]string{"unsupported-encoding"}, notWellFormed...)},
		{"comment", `<message><!-- no --></message>`, restrictedXML}, // RFC 6120 §11.1
		{"processing instruction", `<message><?php x ?></message>`, restrictedXML},
		{"document type", `<!DOCTYPE x [<!ENTITY a "b">]><message/>`, restrictedXML},
		{"entity", `<message><body>&lol;</body></message>`, append([]string{"restricted-xml"}, notWellFormed...)},
		{"unknown element", `<telegram xmlns='urn:example'/>`, []string{"unsupported-stanza-type"}},
		{"text between stanzas", `hello<message/>`, append([]string{"bad-format"}, notWellFormed...)},
		{"elements within elements", `<message>` + strings.Repeat("<a>", 100_000), tooMuch},
		{"attributes by the thousand", `<message ` + attributes(100_000) + `/>`, tooMuch},
		{"oversized stanza", `<message><body>` + strings.Repeat("x", hugeStanza) + `</body></message>`, tooMuch},
		{"stream within the stream", streamHeader, append([]string{"invalid-xml", "bad-format", "restricted-xml", "unsupported-stanza-type"}, notWellFormed...)},
	}
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			s := boundStream(t, h, "mallory")
			s.attack([]byte(attack.xml))
			s.wantStreamError(attack.conditions...)
			others.exchange(t)
		})
	}
}

// attributes are n attributes of different names.
func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d='x' ", i)
	}
	return b.String()
}

// TestEndlessStanzas sends stanzas whose end never comes, before and after login.
func TestEndlessStanzas(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("mallory")
	others := newBystander(t, h)
	chunk := []byte(strings.Repeat("a", 32<<10))
	attacks := []struct{ name, start string }{
		{"text", `<message><body>`},
		{"element name", `<message><`},
		{"attribute name", `<message `},
		{"attribute value", `<message to='`},
		{"end tag", `<message></`},
		{"entity", `<message><body>&`},
	}
	for _, attack := range attacks {
		t.Run("after login: "+attack.name, func(t *testing.T) {
			s := boundStream(t, h, "mallory")
			s.attack([]byte(attack.start))
			s.flood(chunk, 32<<20)
			s.wantStreamError(append(tooMuch, notWellFormed...)...)
			others.exchange(t)
		})
		t.Run("before login: "+attack.name, func(t *testing.T) {
			s := &rawStream{dialRaw(t, h.XMPP)}
			s.write([]byte(streamHeader))
			s.want("</stream:features>")
			s.attack([]byte(attack.start))
			s.flood(chunk, 32<<20)
			others.exchange(t)
		})
	}
	t.Run("stream header", func(t *testing.T) {
		s := &rawStream{dialRaw(t, h.XMPP)}
		s.attack([]byte(`<stream:stream xmlns='`))
		s.flood(chunk, 32<<20)
		others.exchange(t)
	})
}

func TestHostileStreams(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	others := newBystander(t, h)
	const root = `<stream:stream to='localhost' version='1.0' `
	const streams = ` xmlns:stream='http://etherx.jabber.org/streams'>`
	attacks := []struct {
		name       string
		xml        string
		conditions []string
	}{
		{"HTTP", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", append([]string{"invalid-namespace"}, notWellFormed...)},
		{"MQTT", string(connectPacket5("c", login{})), notWellFormed},
		{"another root", `<html xmlns='http://www.w3.org/1999/xhtml'>`, append([]string{"invalid-namespace", "bad-namespace-prefix", "invalid-xml"}, notWellFormed...)},
		{"another stream namespace", root + `xmlns='jabber:client' xmlns:stream='urn:example'>`, []string{"invalid-namespace"}}, // §4.9.3.10
		{"another content namespace", root + `xmlns='urn:example'` + streams, []string{"invalid-namespace"}},
		{"another domain", strings.Replace(streamHeader, "localhost", "elsewhere.example", 1), []string{"host-unknown"}},          // §4.9.3.6
		{"message before login", streamHeader + `<message to='a@localhost'><body>x</body></message>`, []string{"not-authorized"}}, // §4.9.3.12
		{"presence before login", streamHeader + `<presence/>`, []string{"not-authorized"}},
		{"document type", `<!DOCTYPE x>` + streamHeader, restrictedXML},
		{"comment", streamHeader + `<!-- x -->`, restrictedXML},
	}
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			s := &rawStream{dialRaw(t, h.XMPP)}
			s.attack([]byte(attack.xml))
			if attack.name == "HTTP" || attack.name == "MQTT" {
				_ = s.closeWrite()
			}
			s.wantStreamError(attack.conditions...)
			others.exchange(t)
		})
	}
}

// TestTruncatedStanzas leaves prefixes of a good stream behind, while the others go on.
func TestTruncatedStanzas(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("mallory", "phone")
	others := newBystander(t, h)
	phone := connectPahoGo3(t, h, mqttOptions{User: "phone", Client: "phone-1"})
	phone.Subscribe("$inbox/phone/#", 1)
	for n := 1; n < len(streamHeader); n += 7 {
		s := dialRaw(t, h.XMPP)
		s.write([]byte(streamHeader[:n]))
		if n%2 == 0 {
			_ = s.Close()
		}
	}
	const message = `<message to='phone@localhost' type='chat'><body>whole</body></message>`
	for _, n := range []int{1, 9, 30, 50, len(message) - 1} {
		s := boundStream(t, h, "mallory")
		s.write([]byte(message[:n]))
		_ = s.Close()
	}
	others.exchange(t)
	s := boundStream(t, h, "mallory")
	s.write([]byte(message))
	phone.Await("whole message", exactly("$inbox/phone/mallory", []byte("whole")))
	if n := phone.mail.count(onTopic("$inbox/phone/mallory")); n != 1 {
		t.Errorf("%d messages arrived, want only the whole one", n)
	}
}

// TestBytewiseStanzasAreWhole sends a good stream a byte at a time.
func TestBytewiseStanzasAreWhole(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("alice", "phone")
	phone := connectPahoGo3(t, h, mqttOptions{User: "phone", Client: "phone-1"})
	phone.Subscribe("$inbox/phone/#", 1)
	s := boundStream(t, h, "alice")
	stanza := `<message to='phone@localhost' type='chat'><body>drop by drop &amp; 漢</body></message>`
	for i := range len(stanza) {
		s.write([]byte(stanza[i : i+1]))
	}
	phone.Await("message", exactly("$inbox/phone/alice", []byte("drop by drop & 漢")))
}

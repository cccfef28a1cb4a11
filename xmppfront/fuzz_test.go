package xmppfront

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines of the plays that clients send.
func playLines(f *testing.F) []string {
	files, err := filepath.Glob("testdata/plays/*.play")
	if err != nil {
		f.Fatal(err)
	}
	var lines []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if who, said, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.ContainsAny(who, " #<") {
				lines = append(lines, said)
			}
		}
	}
	return lines
}

// listener is a client that stays, and reads what others make the server send to it.
type listener struct {
	conn net.Conn
	mu   sync.Mutex
	err  error // of its XML decoder
}

func (l *listener) listen(rest []byte) {
	// What came before is the start of the document.
	d := xml.NewDecoder(io.MultiReader(strings.NewReader("<stream:stream xmlns:stream='s'>"), bytes.NewReader(rest), l.conn))
	for {
		_, err := d.Token()
		if err == nil {
			continue
		}
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
		return
	}
}

func (l *listener) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// FuzzEngine: whatever a client sends, before login and after, nothing panics,
// the connection ends when the client does, and every stream that the server
// writes, the sender's and another client's, is well-formed XML.
func FuzzEngine(f *testing.F) {
	for _, line := range playLines(f) {
		f.Add([]byte(line), true)
		f.Add([]byte(streamOpen+line), false)
	}
	f.Add([]byte(`<message to='juliet@hub.example/ear' id="'&lt;"><x:y xmlns:x='u'/><body>&#xD;]]&gt;</body></message>`), true)
	for _, sm := range []string{
		`<enable xmlns='urn:xmpp:sm:3' resume='true' max='1'/><message to='juliet@hub.example/ear'><body>x</body></message><r xmlns='urn:xmpp:sm:3'/><a xmlns='urn:xmpp:sm:3' h='1'/>`,
		`<enable xmlns='urn:xmpp:sm:3'/><presence/><r xmlns='urn:xmpp:sm:3'/><presence type='unavailable'/><a xmlns='urn:xmpp:sm:3' h='4294967295'/>`,
		`<enable xmlns='urn:xmpp:sm:3' resume='1'/><enable xmlns='urn:xmpp:sm:3'/><resume xmlns='urn:xmpp:sm:3' previd='AXJ0dHR0dHR0dHR0dHR0dHR0' h='0'/></stream:stream>`,
	} {
		f.Add([]byte(sm), true)
		f.Add([]byte(streamOpen+sm), false)
	}
	f.Add([]byte(streamOpen+`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>`+plainOf("romeo", "montague")+`</auth>`+streamOpen+
		`<resume xmlns='urn:xmpp:sm:3' previd='AXJ0dHR0dHR0dHR0dHR0dHR0' h='0'/>`), false)
	for _, more := range []string{
		`<bind xmlns='urn:xmpp:bind:0'><tag>x</tag><enable xmlns='urn:xmpp:sm:3' resume='1'/></bind>`,
		`<resume xmlns='urn:xmpp:sm:3' previd='AXJ0dHR0dHR0dHR0dHR0dHR0' h='0'/><bind xmlns='urn:xmpp:bind:0'/>`,
	} {
		f.Add([]byte(streamOpen+`<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>`+plainOf("romeo", "montague")+
			`</initial-response><user-agent id='1'/>`+more+`</authenticate><presence/><abort xmlns='urn:xmpp:sasl:2'/>`), false)
	}
	h := newHub(f, Options{PlainWithoutTLS: true, Registration: true})
	h.account("romeo", "montague")
	h.account("juliet", "capulet")
	c := h.login("juliet", "capulet", "ear")
	c.available()
	ear := &listener{conn: c.conn}
	_ = c.conn.SetReadDeadline(time.Time{})
	go ear.listen(c.buf)
	login := streamOpen + `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>` + plainOf("romeo", "montague") + `</auth>` + streamOpen +
		`<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>balcony</resource></bind></iq><presence/>`
	f.Fuzz(func(t *testing.T, in []byte, loggedIn bool) {
		if loggedIn {
			in = append([]byte(login), in...)
		}
		out, err := converse(h.addr, in)
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		if err := wellFormedStreams(out); err != nil {
			t.Fatalf("%q\nmade %s\n%v", in, out, err)
		}
		if err := ear.failed(); err != nil {
			t.Fatalf("%q: the other client: %v", in, err)
		}
		if loggedIn && !bytes.Contains(out, []byte("<success")) { // the input removed the account, or changed its password
			done := make(chan error, 2)
			h.router.RemoveAccount("romeo", func(err error) { done <- err })
			<-done
			h.router.Register("romeo", "montague", func(_ string, err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// converse sends all, and reads until the server closes.
func converse(addr string, in []byte) ([]byte, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = conn.Write(in) // an error says that the server had enough
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	out, err := io.ReadAll(conn)
	<-sent
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		return out, fmt.Errorf("the server did not close: %w", err)
	}
	return out, nil // a reset is an end too
}

// wellFormedStreams checks one stream after another, as restarts make them. The
// last may be unfinished, between stanzas.
func wellFormedStreams(out []byte) error {
	const decl = "<?xml version='1.0'?>"
	for i, s := range strings.Split(string(out), decl) {
		if i == 0 && s != "" {
			return fmt.Errorf("the stream begins with %q", s)
		}
		if i > 0 && !strings.HasSuffix(s, "</stream:stream>") {
			s += "</stream:stream>"
		}
		if err := wellFormed([]byte(s)); err != nil {
			return err
		}
	}
	return nil
}

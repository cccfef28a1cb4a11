package integration

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pushhub/integration/hubtest"
)

// A rawConn is a connection on which the test writes any bytes it likes.
type rawConn struct {
	net.Conn
	t    testing.TB
	seen []byte // all that the hub has sent
}

func dialRaw(t testing.TB, address string) *rawConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, hubtest.Patience)
	if err != nil {
		t.Fatalf("connecting to %s: %v", address, err)
	}
	return newRaw(t, conn)
}

func newRaw(t testing.TB, conn net.Conn) *rawConn {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(hubtest.Patience)); err != nil {
		t.Fatalf("setting a deadline: %v", err)
	}
	return &rawConn{Conn: conn, t: t}
}

// write sends bytes that the hub has to take.
func (r *rawConn) write(b []byte) {
	r.t.Helper()
	if _, err := r.Write(b); err != nil {
		r.t.Fatalf("writing %d bytes: %v", len(b), err)
	}
}

// attack sends bytes during which the hub may hang up.
func (r *rawConn) attack(b []byte) { _, _ = r.Write(b) }

// flood sends a chunk again and again, at most up to limit bytes, until the hub
// has ended its side of the connection: it must do so without having seen the end
// of what is sent. What the hub said stands in seen.
func (r *rawConn) flood(chunk []byte, limit int) {
	r.t.Helper()
	written := make(chan struct{}) // closed by the writer when it stops
	go func() {
		defer close(written)
		for sent := 0; sent < limit; sent += len(chunk) {
			if _, err := r.Write(chunk); err != nil {
				return
			}
		}
	}()
	r.wantClosed()
	_ = r.Close() // the writer has nothing to wait for any more
	<-written
}

// readFull reads exactly n bytes.
func (r *rawConn) readFull(n int) []byte {
	r.t.Helper()
	b := make([]byte, n)
	got, err := io.ReadFull(r, b)
	r.seen = append(r.seen, b[:got]...)
	if err != nil {
		r.t.Fatalf("reading %d bytes: %v; the hub has sent %q", n, err, r.seen)
	}
	return b
}

// wantClosed waits for the hub to hang up and returns what it sent before.
func (r *rawConn) wantClosed() []byte {
	r.t.Helper()
	rest, err := io.ReadAll(r)
	r.seen = append(r.seen, rest...)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Fatalf("the hub did not hang up within %v; it has sent %q", hubtest.Patience, r.seen)
	}
	return rest // a reset is an end too
}

// wantPacket reads one MQTT control packet and returns its first byte and body.
func (r *rawConn) wantPacket() (byte, []byte) {
	r.t.Helper()
	first := r.readFull(1)[0]
	length, shift := 0, 0
	for {
		b := r.readFull(1)[0]
		length |= int(b&0x7f) << shift
		if shift += 7; b < 0x80 {
			return first, r.readFull(length)
		}
	}
}

// wantConnack reads a CONNACK whose code is one of these.
func (r *rawConn) wantConnack(codes ...byte) {
	r.t.Helper()
	first, body := r.wantPacket()
	if first != 0x20 || len(body) < 2 || !slices.Contains(codes, body[1]) {
		r.t.Fatalf("got packet %#x % x, want a CONNACK with one of % x", first, body, codes)
	}
}

// wantDisconnect reads an MQTT 5 DISCONNECT whose reason is one of these, and the end.
func (r *rawConn) wantDisconnect(reasons ...byte) {
	r.t.Helper()
	for {
		first, body := r.wantPacket()
		if first>>4 == 4 || first>>4 == 9 || first>>4 == 3 { // answers to what came before
			continue
		}
		if first != 0xe0 || len(body) < 1 || !slices.Contains(reasons, body[0]) {
			r.t.Fatalf("got packet %#x % x, want a DISCONNECT with one of % x", first, body, reasons)
		}
		r.wantClosed()
		return
	}
}

// packet makes an MQTT control packet.
func packet(first byte, body ...[]byte) []byte {
	all := bytes.Join(body, nil)
	return append(append([]byte{first}, varint(len(all))...), all...)
}

// varint is a variable byte integer, MQTT 5 §1.5.5.
func varint(n int) []byte {
	var b []byte
	for {
		digit := byte(n & 0x7f)
		if n >>= 7; n == 0 {
			return append(b, digit)
		}
		b = append(b, digit|0x80)
	}
}

// str is a UTF-8 encoded string, MQTT 5 §1.5.4.
func str(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }

// login is what a CONNECT says of the user.
type login struct{ user, password string }

func withLogin(user, password string) login { return login{user, password} }

func connectPacket(level byte, properties []byte, client string, l login) []byte {
	flags, tail := byte(0x02), []byte(nil)
	if l.user != "" {
		flags |= 0xc0
		tail = append(str(l.user), str(l.password)...)
	}
	return packet(0x10, str("MQTT"), []byte{level, flags, 0, 60}, properties, str(client), tail)
}

func connectPacket5(client string, l login) []byte { return connectPacket(5, []byte{0}, client, l) }
func connectPacket4(client string, l login) []byte { return connectPacket(4, nil, client, l) }

// connected5 is a raw connection that has said CONNECT in MQTT 5.0 and was welcome.
func connected5(t testing.TB, h *hubtest.Hub, client string) *rawConn {
	t.Helper()
	r := dialRaw(t, h.MQTT)
	r.write(connectPacket5(client, login{}))
	r.wantConnack(0)
	return r
}

// A rawStream is an XMPP stream on which the test writes any bytes it likes.
type rawStream struct{ *rawConn }

const streamHeader = `<?xml version='1.0'?><stream:stream to='localhost' version='1.0' ` +
	`xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`

// openStream opens a stream over direct TLS and waits for its features.
func openStream(t testing.TB, h *hubtest.Hub) *rawStream {
	t.Helper()
	conn, err := tls.Dial("tcp", h.XMPPS, clientTLS(t, h))
	if err != nil {
		t.Fatalf("connecting to %s: %v", h.XMPPS, err)
	}
	s := &rawStream{newRaw(t, conn)}
	s.write([]byte(streamHeader))
	s.want("</stream:features>")
	return s
}

// boundStream is a stream that is logged in, bound and available.
func boundStream(t testing.TB, h *hubtest.Hub, user string) *rawStream {
	t.Helper()
	s := openStream(t, h)
	s.write(saslPlain(user, hubtest.Password))
	s.want("<success")
	s.seen = nil
	s.write([]byte(streamHeader))
	s.want("</stream:features>")
	s.write([]byte(`<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>raw</resource></bind></iq>`))
	s.want("<jid>")
	s.write([]byte(`<presence/><iq type='get' id='ping' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>`))
	s.want("ping")
	s.seen = nil
	return s
}

func saslPlain(user, password string) []byte {
	initial := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	return fmt.Appendf(nil, `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>`, initial)
}

// want reads until the hub has sent this, anywhere since the last time seen was emptied.
func (s *rawStream) want(part string) {
	s.t.Helper()
	b := make([]byte, 4096)
	for !bytes.Contains(s.seen, []byte(part)) {
		n, err := s.Read(b)
		s.seen = append(s.seen, b[:n]...)
		if err != nil && !bytes.Contains(s.seen, []byte(part)) {
			s.t.Fatalf("waiting for %q: %v; the hub has sent %q", part, err, s.seen)
		}
	}
}

// wantStreamError reads to the end, where a stream error with one of these
// conditions and the end of the stream stand.
func (s *rawStream) wantStreamError(conditions ...string) {
	s.t.Helper()
	s.wantClosed()
	said := string(s.seen)
	_, after, found := strings.Cut(said, "<stream:error")
	if !found {
		s.t.Fatalf("no stream error; the hub has sent %q", said)
	}
	if !strings.HasSuffix(strings.TrimSpace(after), "</stream:stream>") { // RFC 6120 §4.9.1.1
		s.t.Errorf("the stream was not closed after the error: %q", after)
	}
	for _, condition := range conditions {
		if strings.Contains(after, "<"+condition) {
			return
		}
	}
	s.t.Errorf("got the stream error %q, want one of %v", after, conditions)
}

// closeWrite says that nothing more will come.
func (s *rawStream) closeWrite() error {
	return s.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

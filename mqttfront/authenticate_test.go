package mqttfront

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/xdg-go/scram"

	"pushhub/core"
	"pushhub/core/auth"
)

// A scramUser is the client's side of an exchange.
type scramUser struct{ *scram.ClientConversation }

func newScramUser(t testing.TB, name, password string) scramUser {
	t.Helper()
	c, err := scram.SHA256.NewClient(name, password, "")
	if err != nil {
		t.Fatal(err)
	}
	return scramUser{c.NewConversation()}
}

func (u scramUser) step(t testing.TB, challenge []byte) []byte {
	t.Helper()
	out, err := u.Step(string(challenge))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(out)
}

// authBytes are the properties of a method and its data, with their length before
// them; nil stands for no data.
func authBytes(method string, data []byte) []byte {
	var p []byte
	if method != "" {
		p = appendString(append(p, packets.PropAuthenticationMethod), method)
	}
	if data != nil {
		p = appendString(append(p, packets.PropAuthenticationData), data)
	}
	return append(appendLength(nil, len(p)), p...)
}

func controlPacket(head byte, body ...[]byte) []byte {
	all := bytes.Join(body, nil)
	return append(appendLength([]byte{head}, len(all)), all...)
}

// authConnect is a CONNECT of client "c" with these properties.
func authConnect(props []byte, user string) []byte {
	flags, tail := byte(2), []byte(nil)
	if user != "" {
		flags, tail = 0x82, appendString(nil, user)
	}
	return controlPacket(0x10, []byte("\x00\x04MQTT\x05"), []byte{flags, 0, 60}, props, []byte("\x00\x01c"), tail)
}

func authOf(code byte, method string, data []byte) []byte {
	return controlPacket(0xF0, []byte{code}, authBytes(method, data))
}

// An answerOf is an AUTH, CONNACK or DISCONNECT of the server.
type answerOf struct {
	kind, code byte
	method     string
	data       []byte
}

func (r *rig) answer(what string, in []byte) answerOf {
	r.t.Helper()
	out := r.in(in)
	f, err := nextFrame(out, 1<<20)
	if err != nil || f.size == 0 || f.size != len(out) {
		r.t.Fatalf("%s: the answer is %x (%v), want one packet", what, out, r.err)
	}
	pk := packets.Packet{ProtocolVersion: 5, FixedHeader: packets.FixedHeader{Type: f.kind, Remaining: len(f.body)}}
	switch f.kind {
	case packets.Auth:
		err = pk.AuthDecode(f.body)
	case packets.Connack:
		err = pk.ConnackDecode(f.body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(f.body)
	default:
		err = fmt.Errorf("packet of type %d", f.kind)
	}
	if err != nil {
		r.t.Fatalf("%s: %x: %v", what, out, err)
	}
	return answerOf{f.kind, pk.ReasonCode, pk.Properties.AuthenticationMethod, pk.Properties.AuthenticationData}
}

func (r *rig) expectAnswer(what string, in []byte, kind, code byte) answerOf {
	r.t.Helper()
	a := r.answer(what, in)
	if a.kind != kind || a.code != code {
		r.t.Fatalf("%s: got packet %d with code %#x (%v), want %d with %#x", what, a.kind, a.code, r.err, kind, code)
	}
	return a
}

// loggedIn is a connection of alice's by SCRAM-SHA-256.
func (r *rig) loggedIn() *rig {
	r.t.Helper()
	u := newScramUser(r.t, "alice", "secret")
	a := r.expectAnswer("CONNECT", authConnect(authBytes(auth.SHA256, u.step(r.t, nil)), ""), packets.Auth, 0x18)
	if a.method != auth.SHA256 {
		r.t.Fatalf("AUTH names the method %q", a.method)
	}
	a = r.expectAnswer("AUTH", authOf(0x18, auth.SHA256, u.step(r.t, a.data)), packets.Connack, 0)
	if a.method != auth.SHA256 { // [MQTT-4.12.0-5]
		r.t.Fatalf("CONNACK names the method %q", a.method)
	}
	u.step(r.t, a.data)
	if !u.Valid() {
		r.t.Fatal("the server has not proved that it knows the account")
	}
	return r
}

func TestLoginBySCRAM(t *testing.T) {
	r := newRig(t, testOptions()).loggedIn()
	if got := r.hub.attached.Address.String(); got != "alice/c" {
		t.Errorf("attached as %s", got)
	}
	r.expect("the session is live", r.in(fromHex(t, "c000")), "d000")
	if err := r.e.Tick(time.Now().Add(20 * time.Second)); err != nil || r.link.closed {
		t.Errorf("ended after the time for authentication: %v", err)
	}
}

func TestSCRAMThatBeginsWithoutData(t *testing.T) {
	r := newRig(t, testOptions())
	u := newScramUser(t, "alice", "secret")
	a := r.expectAnswer("CONNECT", authConnect(authBytes(auth.SHA256, nil), ""), packets.Auth, 0x18)
	if len(a.data) > 0 {
		t.Fatalf("the server began with %q", a.data)
	}
	a = r.expectAnswer("the first message", authOf(0x18, auth.SHA256, u.step(t, nil)), packets.Auth, 0x18)
	r.expectAnswer("the proof", authOf(0x18, auth.SHA256, u.step(t, a.data)), packets.Connack, 0)
}

func TestSCRAMWhileTheCoreAnswersLate(t *testing.T) {
	r := newRig(t, testOptions())
	r.hub.hold = true
	u := newScramUser(t, "alice", "secret")
	a := r.expectAnswer("CONNECT", authConnect(authBytes(auth.SHA256, u.step(t, nil)), ""), packets.Auth, 0x18)
	r.expect("the proof", r.in(authOf(0x18, auth.SHA256, u.step(t, a.data))), "")
	r.hub.release()
	r.expectAnswer("the core answers", nil, packets.Connack, 0)
}

// Of what goes wrong before CONNACK the client hears in it.
func TestRefusedLoginsBySCRAM(t *testing.T) {
	first := func(t *testing.T, name string) []byte { return newScramUser(t, name, "x").step(t, nil) }
	proof := func(name, password, method, user string) func(*testing.T, *rig) []byte {
		return func(t *testing.T, r *rig) []byte {
			u := newScramUser(t, name, password)
			a := r.expectAnswer("CONNECT", authConnect(authBytes(auth.SHA256, u.step(t, nil)), user), packets.Auth, 0x18)
			return authOf(0x18, method, u.step(t, a.data))
		}
	}
	started := func(next []byte) func(*testing.T, *rig) []byte {
		return func(t *testing.T, r *rig) []byte {
			r.expectAnswer("CONNECT", authConnect(authBytes(auth.SHA256, first(t, "alice")), ""), packets.Auth, 0x18)
			return next
		}
	}
	connect := func(method string, data []byte) func(*testing.T, *rig) []byte {
		return func(*testing.T, *rig) []byte { return authConnect(authBytes(method, data), "") }
	}
	for _, c := range []struct {
		name string
		last func(*testing.T, *rig) []byte
		code byte
	}{
		{"wrong password", proof("alice", "wrong", auth.SHA256, ""), 0x86},
		{"unknown user", proof("nobody", "secret", auth.SHA256, ""), 0x86},
		{"user name of another account", proof("alice", "secret", auth.SHA256, "bob"), 0x86},
		{"method unknown", connect("PLAIN", []byte("\x00alice\x00secret")), 0x8C},
		{"method empty", func(*testing.T, *rig) []byte { return authConnect([]byte{3, 0x15, 0, 0}, "") }, 0x8C},
		{"data without method", connect("", []byte("x")), 0x82},
		{"data that is no SCRAM", connect(auth.SHA256, []byte("hello")), 0x87},
		{"empty data", connect(auth.SHA256, []byte{}), 0x87},
		{"for somebody else", connect(auth.SHA256, []byte("n,a=bob,n=alice,r=abc")), 0x87},
		{"channel binding", connect(auth.SHA256, []byte("p=tls-unique,,n=alice,r=abc")), 0x87},
		{"proof that is none", started(authOf(0x18, auth.SHA256, []byte("hello"))), 0x87},
		{"proof without data", started(authOf(0x18, auth.SHA256, nil)), 0x87},
		{"method changes", proof("alice", "secret", auth.SHA1, ""), 0x82},
		{"method left out", started(authOf(0x18, "", []byte("x"))), 0x82},
		{"AUTH with code 0", started(authOf(0, auth.SHA256, []byte("x"))), 0x82},
		{"AUTH without anything", started([]byte{0xF0, 0}), 0x82},
		{"re-authentication too early", started(authOf(0x19, auth.SHA256, []byte("x"))), 0x82},
		{"AUTH of one byte", started([]byte{0xF0, 1, 0x18}), 0x81},
		{"AUTH with flags", started([]byte{0xF1, 2, 0x18, 0}), 0x81},
		{"AUTH with trailing bytes", started([]byte{0xF0, 3, 0x18, 0, 0}), 0x81},
		{"AUTH with a property of CONNECT", started([]byte{0xF0, 5, 0x18, 3, 0x21, 0, 1}), 0x82},
		{"PUBLISH before CONNACK", started([]byte{0x30, 4, 0, 1, 'a', 0}), 0x82},
		{"CONNECT before CONNACK", started(authConnect([]byte{0}, "")), 0x82},
		{"PINGREQ before CONNACK", started([]byte{0xC0, 0}), 0x82},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, testOptions())
			r.expectAnswer(c.name, c.last(t, r), packets.Connack, c.code)
			if !r.link.closed || r.hub.session != nil {
				t.Errorf("ended: %v; a session: %v", r.link.closed, r.hub.session != nil)
			}
		})
	}
	t.Run("DISCONNECT before CONNACK", func(t *testing.T) {
		r := newRig(t, testOptions())
		r.expect("DISCONNECT", r.in(started([]byte{0xE0, 0})(t, r)), "")
		if !r.link.closed || !errors.Is(r.link.cause, errDisconnected) {
			t.Errorf("ended %v by %v", r.link.closed, r.link.cause)
		}
	})
	t.Run("AUTH as large as no stranger's packet may be", func(t *testing.T) {
		opt := testOptions()
		opt.MaxPacketSize = 1 << 20
		r := newRig(t, opt)
		started(nil)(t, r)
		r.expectAnswer("the length", fromHex(t, "f0 818006"), packets.Connack, 0x95)
		if r = newRig(t, opt).loggedIn(); r.e.limit != opt.MaxPacketSize {
			t.Errorf("then packets of %d bytes are taken", r.e.limit)
		}
	})
	t.Run("without a key", func(t *testing.T) {
		opt := testOptions()
		opt.ScramKey = nil
		newRig(t, opt).expectAnswer("CONNECT", authConnect(authBytes(auth.SHA256, nil), ""), packets.Connack, 0x8C)
	})
	t.Run("into a packet that the client cannot take", func(t *testing.T) {
		props := append([]byte{0x27, 0, 0, 0, 60}, authBytes(auth.SHA256, first(t, "alice"))[1:]...)
		r := newRig(t, testOptions())
		r.expectAnswer("CONNECT", authConnect(append([]byte{byte(len(props))}, props...), ""), packets.Connack, 0x95)
	})
}

func TestUnknownUsersLookLikeOthers(t *testing.T) {
	salt := func(name string) string {
		r := newRig(t, testOptions())
		u := newScramUser(t, name, "x")
		a := r.expectAnswer("CONNECT", authConnect(authBytes(auth.SHA256, u.step(t, nil)), ""), packets.Auth, 0x18)
		_, rest, _ := bytes.Cut(a.data, []byte(",s="))
		return string(rest)
	}
	if one, again := salt("nobody"), salt("nobody"); one != again || one == salt("somebody") {
		t.Errorf("the salt of an unknown user is %q, then %q", one, again)
	}
}

func TestReauthentication(t *testing.T) {
	again := func(t *testing.T, r *rig, name, password string) answerOf {
		t.Helper()
		u := newScramUser(t, name, password)
		a := r.expectAnswer("AUTH 0x19", authOf(0x19, auth.SHA256, u.step(t, nil)), packets.Auth, 0x18)
		r.expect("a PING meanwhile", r.in(fromHex(t, "c000")), "d000")
		a = r.answer("AUTH 0x18", authOf(0x18, auth.SHA256, u.step(t, a.data)))
		if a.kind == packets.Auth {
			u.step(t, a.data)
		}
		return a
	}
	t.Run("succeeds, time and again", func(t *testing.T) {
		r := newRig(t, testOptions()).loggedIn()
		for range 2 {
			if a := again(t, r, "alice", "secret"); a.kind != packets.Auth || a.code != 0 || a.method != auth.SHA256 {
				t.Fatalf("answered by packet %d with code %#x for %q (%v)", a.kind, a.code, a.method, r.err)
			}
		}
		if err := r.e.Tick(time.Now().Add(20 * time.Second)); err != nil || r.link.closed {
			t.Error("the connection ended after its authentication")
		}
	})
	for _, c := range []struct{ what, name, password string }{
		{"of another account", "bob", "secret"},
		{"with a wrong password", "alice", "wrong"},
	} {
		t.Run(c.what+" is refused", func(t *testing.T) {
			r := newRig(t, testOptions()).loggedIn()
			if a := again(t, r, c.name, c.password); a.kind != packets.Disconnect || a.code != 0x87 || !r.link.closed {
				t.Fatalf("answered by packet %d with code %#x (%v)", a.kind, a.code, r.err)
			}
		})
	}
	for name, in := range map[string][]byte{
		"continued before it began": authOf(0x18, auth.SHA256, []byte("x")),
		"with another method":       authOf(0x19, auth.SHA1, nil),
		"without a method":          authOf(0x19, "", nil),
		"with a server's code":      authOf(0, auth.SHA256, nil),
		"begun twice":               append(authOf(0x19, auth.SHA256, nil), authOf(0x19, auth.SHA256, nil)...),
	} {
		t.Run(name+" is a protocol error", func(t *testing.T) {
			out := newRig(t, testOptions()).loggedIn().in(in)
			if i := bytes.LastIndexByte(out, 0xE0); i < 0 || out[i+2] != 0x82 {
				t.Fatalf("answered by %x", out)
			}
		})
	}
	t.Run("of a connection that logged in otherwise is a protocol error", func(t *testing.T) {
		r := newRig(t, testOptions()).connected(5)
		r.expectAnswer("AUTH", authOf(0x19, auth.SHA256, nil), packets.Disconnect, 0x82) // [MQTT-4.12.0-7]
	})
}

// What passwords cost who guesses them, proofs cost as well.
func TestGuessedProofsAreCountedAndDelayed(t *testing.T) {
	proof := func(r *rig, password string) []byte {
		u := newScramUser(t, "alice", password)
		a := r.expectAnswer("CONNECT", authConnect(authBytes(auth.SHA256, u.step(t, nil)), ""), packets.Auth, 0x18)
		return authOf(0x18, auth.SHA256, u.step(t, a.data))
	}
	for password, want := range map[string]string{"secret": "alice true", "wrong": "alice false"} {
		r := newRig(t, testOptions())
		r.in(proof(r, password))
		if !slices.Equal(r.hub.tried, []string{want}) {
			t.Errorf("%s: tried %q", password, r.hub.tried)
		}
	}
	r := newRig(t, testOptions())
	r.hub.overTried = core.ErrQuota
	r.expectAnswer("too many", proof(r, "secret"), packets.Connack, 0x97)

	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testOptions())
		r.hub.delay = 30 * time.Second
		r.expect("the proof", r.in(proof(r, "secret")), "")
		time.Sleep(29 * time.Second)
		_ = r.e.Tick(time.Now())
		r.expect("before its time", r.in(nil), "")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		r.expectAnswer("in its time", nil, packets.Connack, 0)
	})
}

func TestAuthenticationHasATimeLimit(t *testing.T) {
	for _, live := range []bool{false, true} {
		t.Run(fmt.Sprint("live ", live), func(t *testing.T) {
			r := newRig(t, testOptions())
			kind := "20"
			if live {
				r.loggedIn()
				r.in(authOf(0x19, auth.SHA256, nil))
				kind = "e0"
			} else {
				r.in(authConnect(authBytes(auth.SHA256, nil), ""))
			}
			if err := r.e.Tick(time.Now().Add(9 * time.Second)); err != nil || r.link.closed {
				t.Fatalf("ended early: %v, %v", err, r.link.cause)
			}
			_ = r.e.Tick(time.Now().Add(11 * time.Second))
			out := toHex(r.link.out)
			if !r.link.closed || !strings.HasPrefix(out, kind) || !strings.Contains(out[:10], "87") {
				t.Fatalf("ended %v with %s", r.link.closed, out)
			}
		})
	}
}

func TestPlainLoginStaysAsItIs(t *testing.T) {
	r := newRig(t, testOptions())
	out := r.in(controlPacket(0x10, []byte("\x00\x04MQTT\x05\xc2\x00\x3c\x00\x00\x01c\x00\x05alice\x00\x06secret")))
	if len(out) < 4 || out[0] != 0x20 || out[3] != 0 || r.hub.attached.Address.Account != "alice" {
		t.Fatalf("answered by %x", out)
	}
	if slices.Contains(out[5:], packets.PropAuthenticationMethod) {
		t.Errorf("CONNACK %x names a method", out)
	}
}

func FuzzAuth(f *testing.F) {
	f.Add([]byte{})
	f.Add(authOf(0x18, auth.SHA256, []byte("n,,n=alice,r=abc"))[2:])
	f.Add([]byte{0x19, 3, 0x1f, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		code, method, data, err := decodeAuth(body)
		if err != nil || len(body) == 0 {
			return
		}
		n, size, ok := readLength(body[1:])
		if !ok || 1+size+n != len(body) {
			t.Fatalf("accepted %x, whose properties are %d bytes", body, n)
		}
		pk := packets.Packet{ProtocolVersion: 5}
		if err := pk.AuthDecode(body); err != nil {
			return // the library refuses more
		}
		if p := pk.Properties; pk.ReasonCode != code || p.AuthenticationMethod != method || !bytes.Equal(p.AuthenticationData, data) {
			t.Fatalf("read %#x %q %x, the library reads %+v", code, method, data, p)
		}
	})
}

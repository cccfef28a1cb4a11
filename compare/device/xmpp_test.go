package device

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

const (
	serverHeader = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='s1' from='hub.example' version='1.0'>"
	headerEnd    = "xmlns:stream='http://etherx.jabber.org/streams'>"
	plainOffer   = serverHeader + "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>"
	bindOffer    = serverHeader + "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
	bound        = "<iq type='result' id='$id'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>ada@hub.example/desk</jid></bind></iq>"
	bye          = "</stream:stream>"
)

// login is the part of a play up to the bound resource.
var login = play{
	{headerEnd, plainOffer},
	{"</auth>", "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"},
	{headerEnd, bindOffer},
	{"</iq>", bound},
}

func dialPlay(t *testing.T, p play) (*XMPP, <-chan string, error) {
	t.Helper()
	client, heard := perform(t, p)
	x, err := ConnectXMPP(soon(t), XMPPOptions{Endpoint: onPipe(client), User: "ada", Password: "secret", Resource: "desk"})
	if err == nil {
		t.Cleanup(x.Kill)
	}
	return x, heard, err
}

func onStage(t *testing.T, more play) (*XMPP, <-chan string) {
	t.Helper()
	x, heard, err := dialPlay(t, append(append(play{}, login...), more...))
	if err != nil {
		t.Fatal(err)
	}
	return x, heard
}

func TestXMPPLogsInAndTakesLeave(t *testing.T) {
	x, heard := onStage(t, play{{"</stream:stream>", bye}})
	if x.JID() != "ada@hub.example/desk" {
		t.Errorf("bound to %s", x.JID())
	}
	if err := x.Close(); err != nil || x.Err() != nil {
		t.Errorf("Close: %v, Err: %v", err, x.Err())
	}
	said := take(t, "what the client said", heard)
	want := base64.StdEncoding.EncodeToString([]byte("\x00ada\x00secret"))
	for _, part := range []string{"to='hub.example'", ">" + want + "</auth>", "<resource>desk</resource>", "<presence type='unavailable'/></stream:stream>"} {
		if !strings.Contains(said, part) {
			t.Errorf("the client never said %s in %s", part, said)
		}
	}
	if up := x.Traffic().Up; up != int64(len(said)) {
		t.Errorf("counted %d bytes up of %d", up, len(said))
	}
}

func TestXMPPNamesWhatTheServerAnswered(t *testing.T) {
	tests := []struct {
		name string
		play play
		is   error
		text string
	}{
		{
			"wrong password",
			play{{headerEnd, plainOffer}, {"</auth>", "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"}},
			ErrNotAuthorized, "log in: the server answered not-authorized",
		},
		{
			"no mechanism",
			play{{headerEnd, serverHeader + "<stream:features/>"}},
			nil, "log in: the server answered mechanisms [] only",
		},
		{
			"stream error",
			play{{headerEnd, serverHeader + "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>not here</text></stream:error></stream:stream>"}},
			nil, "the server answered host-unknown (not here)",
		},
		{"not XML", play{{headerEnd, "220 mail.example ESMTP\r\n"}}, ErrProtocol, "waiting for the stream header"},
		{
			"bind refused", append(append(play{}, login[:3]...), struct{ hear, say string }{"</iq>", "<iq type='error' id='$id'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"}),
			nil, "bind: the server answered conflict",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := dialPlay(t, tt.play)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

func TestXMPPShowsNoPasswordToTheNetwork(t *testing.T) {
	client, heard := perform(t, play{{headerEnd, plainOffer}})
	_, err := ConnectXMPP(soon(t), XMPPOptions{Endpoint: onPipe(farAway{client}), User: "ada", Password: "secret"})
	if err == nil || !strings.Contains(err.Error(), "needs TLS") {
		t.Errorf("got %v", err)
	}
	if said := take(t, "what the client said", heard); strings.Contains(said, "<auth") {
		t.Errorf("the client said %s", said)
	}
}

// farAway is a connection to another machine.
type farAway struct{ net.Conn }

func (farAway) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5222} }

func TestXMPPGivesUpOnASilentServer(t *testing.T) {
	client, _ := perform(t, nil)
	opt := XMPPOptions{Endpoint: onPipe(client), User: "ada"}
	opt.Timeout = 20 * time.Millisecond
	if _, err := ConnectXMPP(soon(t), opt); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("got %v", err)
	}
}

func TestXMPPReadsWhatArrives(t *testing.T) {
	const event = "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='plant/7'><item id='current' publisher='thermo@hub.example'>"
	const eventEnd = "</item></items></event></message>"
	tests := []struct {
		name, stanza string
		want         Event
	}{
		{
			"chat message", "<message from='bob@hub.example/x' type='chat' id='m1'><body>a &lt; b</body></message>",
			Event{Kind: KindMessage, From: "bob@hub.example/x", Type: "chat", ID: "m1", Body: "a < b", Payload: []byte("a < b")},
		},
		{
			"binary message", "<message from='t@h'><payload xmlns='urn:pushhub:payload:0' encoding='base64'>AP8=</payload></message>",
			Event{Kind: KindMessage, From: "t@h", Payload: []byte{0, 0xFF}},
		},
		{
			"JSON beside a body", "<message from='t@h'><body>{}</body><json xmlns='urn:xmpp:json:0'>{}</json></message>",
			Event{Kind: KindMessage, From: "t@h", Body: "{}", Payload: []byte("{}")},
		},
		{
			"late message", "<message from='t@h'><body>x</body><delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/></message>",
			Event{Kind: KindMessage, From: "t@h", Body: "x", Payload: []byte("x"), Delayed: true},
		},
		{
			"refused message", "<message from='t@h' type='error' id='m1'><error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
			Event{Kind: KindMessage, From: "t@h", Type: "error", ID: "m1", Error: "forbidden", Payload: []byte{}},
		},
		{
			"JSON item", "<message from='pubsub.h'>" + event + `<json xmlns='urn:xmpp:json:0'>{"c":1}</json>` + eventEnd,
			Event{Kind: KindItem, From: "thermo@hub.example", Node: "plant/7", Item: "current", Payload: []byte(`{"c":1}`)},
		},
		{
			"text item", "<message from='pubsub.h'>" + event + "<payload xmlns='urn:pushhub:payload:0' type='text/plain'>21 &amp; more</payload>" + eventEnd,
			Event{Kind: KindItem, From: "thermo@hub.example", Node: "plant/7", Item: "current", Payload: []byte("21 & more")},
		},
		{
			"XML item", "<message from='pubsub.h'>" + event + "<r xmlns='urn:x'><c/></r>" + eventEnd,
			Event{Kind: KindItem, From: "thermo@hub.example", Node: "plant/7", Item: "current", Payload: []byte("<r xmlns='urn:x'><c/></r>")},
		},
		{
			"presence", "<presence from='thermo@h/t1'><show>away</show><status>out</status></presence>",
			Event{Kind: KindPresence, From: "thermo@h/t1", Show: "away", Status: "out"},
		},
		{
			"roster push", "<iq type='set' id='r1'><query xmlns='jabber:iq:roster'><item jid='bob@h' subscription='both'/></query></iq>",
			Event{Kind: KindRoster, ID: "r1", Contact: "bob@h", Type: "both"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, _ := onStage(t, play{{"", tt.stanza}})
			got := take(t, "event", x.Events())
			if got.Received.IsZero() || len(got.XML) == 0 || !bytes.Equal(got.Payload, tt.want.Payload) {
				t.Errorf("got %+v with payload %q", got, got.Payload)
			}
			got.Received, got.XML, got.Payload, tt.want.Payload = time.Time{}, nil, nil, nil
			if !same(got, tt.want) {
				t.Errorf("got\n%+v, want\n%+v", got, tt.want)
			}
		})
	}
}

// same compares events without their bytes.
func same(a, b Event) bool {
	return a.Kind == b.Kind && a.From == b.From && a.ID == b.ID && a.Type == b.Type && a.Delayed == b.Delayed &&
		a.Error == b.Error && a.Body == b.Body && a.Subject == b.Subject && a.Node == b.Node && a.Item == b.Item &&
		a.Show == b.Show && a.Status == b.Status && a.Contact == b.Contact && a.URI == b.URI
}

func TestXMPPAnswersRequests(t *testing.T) {
	x, heard := onStage(t, play{
		{"", "<iq type='get' id='p1' from='hub.example'><ping xmlns='urn:xmpp:ping'/></iq>"},
		{"<iq type='result' id='p1' to='hub.example'/>", "<iq type='get' id='v1' from='hub.example'><query xmlns='jabber:iq:version'/></iq>"},
		{"</iq>", bye},
	})
	ended(t, "stream", x.Done())
	if !errors.Is(x.Err(), ErrClosed) {
		t.Errorf("ended with %v", x.Err())
	}
	x.Kill()
	if said := take(t, "what the client said", heard); !strings.Contains(said, "<iq type='error' id='v1' to='hub.example'><error type='cancel'><service-unavailable") {
		t.Errorf("the client said %s", said)
	}
}

func TestXMPPPubsubCalls(t *testing.T) {
	const done = "<iq type='result' id='$id'/>"
	x, heard := onStage(t, play{
		{"</iq>", done},
		{"</iq>", done},
		{"</iq>", "<iq type='result' id='$id'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='a'><item id='1'><json xmlns='urn:xmpp:json:0'>{}</json></item></items></pubsub></iq>"},
		{"</iq>", "<iq type='error' id='$id'><error code='403' type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"},
		{"</stream:stream>", bye},
	})
	if err := x.Subscribe(soon(t), "plant/+/<x>"); err != nil {
		t.Fatal(err)
	}
	if err := x.Publish(soon(t), "plant/7", []byte{0}, true); err != nil {
		t.Fatal(err)
	}
	items, err := x.Items(soon(t), "a")
	if err != nil || len(items) != 1 || string(items[0].Payload) != "{}" || items[0].Item != "1" {
		t.Errorf("items %+v, %v", items, err)
	}
	err = x.Subscribe(soon(t), "secret")
	var r *Refusal
	if !errors.As(err, &r) || !r.Denied || err.Error() != "subscribe to secret: the server answered forbidden" {
		t.Errorf("got %v", err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	said := take(t, "what the client said", heard)
	for _, part := range []string{
		"to='pubsub.hub.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe node='plant/+/&lt;x&gt;' jid='ada@hub.example/desk'/></pubsub></iq>",
		"<publish node='plant/7'><item><payload xmlns='urn:pushhub:payload:0' type='application/octet-stream' encoding='base64'>AA==</payload></item></publish></pubsub>",
	} {
		if !strings.Contains(said, part) {
			t.Errorf("the client never said %s in %s", part, said)
		}
	}
}

func TestXMPPStopsReadingWhenNobodyReceives(t *testing.T) {
	const message = "<message from='t@h'><body>x</body></message>"
	client, heard := perform(t, append(append(play{}, login...), play{{"", strings.Repeat(message, 100)}}...))
	opt := XMPPOptions{Endpoint: onPipe(client), User: "ada", Password: "secret"}
	opt.Queue = 1
	x, err := ConnectXMPP(soon(t), opt)
	if err != nil {
		t.Fatal(err)
	}
	take(t, "message", x.Events())
	x.Kill() // while the reader waits for somebody to receive
	take(t, "what the client said", heard)
}

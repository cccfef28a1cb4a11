package xmppfront

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"pushhub/core"
)

func TestMessagesOfOtherProtocols(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	h.account("juliet", "capulet")
	mqtt := h.device("romeo", "sen\x01sor")
	mqtt.subscribe("$inbox/romeo/#")
	mqtt.subscribe("plant/#")
	c := h.login("juliet", "capulet", "chamber")
	c.available()

	// To XMPP: a message from the device's own address, which can be answered.
	mqtt.publish(&core.Message{Topic: "$inbox/juliet/romeo", Payload: []byte("21 <C>"), QoS: 1, ID: "a'1", Subject: "temp"})
	c.expect(`<message to='juliet@hub.example' from='romeo@hub.example/sen%01sor' id='a&apos;1'><subject>temp</subject><body>21 &lt;C&gt;</body></message>`)
	c.send(`<message to='romeo@hub.example/sen%01sor' id='a2' type='chat'><subject>re</subject><body>thanks</body></message>`)
	m := mqtt.next()
	if m.Topic != "$inbox/romeo/juliet" || string(m.Payload) != "thanks" || m.ID != "a2" || m.Type != "chat" || m.Subject != "re" ||
		m.Resource != "sen\x01sor" || m.From != (core.Address{Account: "juliet", Resource: "chamber"}) {
		t.Errorf("MQTT got %+v", m)
	}

	// A topic is a node, both ways.
	c.send(`<iq type='set' id='1' to='pubsub.hub.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe node='plant/#' jid='juliet@hub.example/chamber'/></pubsub></iq>`)
	c.expect(`<iq type='result' id='1'{}</iq>`)
	mqtt.publish(&core.Message{Topic: "plant/1/temp", Payload: []byte{0, 255}, QoS: 1, Retain: true, ContentType: "image/png"})
	c.expect(`<message to='juliet@hub.example/chamber' from='pubsub.hub.example'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='plant/1/temp'>` +
		`<item id='current' publisher='romeo@hub.example'><payload xmlns='urn:pushhub:payload:0' type='image/png' encoding='base64'>AP8=</payload></item></items></event></message>`)
	mqtt.publish(&core.Message{Topic: "plant/1/temp", QoS: 1, Retain: true})
	c.expect(`<message to='juliet@hub.example/chamber' from='pubsub.hub.example'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='plant/1/temp'><retract id='current'/></items></event></message>`)
	c.send(`<iq type='set' id='2' to='pubsub.hub.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='plant/2'><item><e xmlns='u'><f/></e></item></publish></pubsub></iq>`)
	c.expect(`<message to='juliet@hub.example/chamber'{}<item id='current' publisher='juliet@hub.example'><e xmlns='u'><f/></e></item>{}</message><iq type='result' id='2'{}</iq>`)
	for range 2 {
		mqtt.next() // its own
	}
	m = mqtt.next()
	if string(m.Payload) != `<e xmlns='u'><f/></e>` || m.ContentType != typeXML || m.QoS != 1 {
		t.Errorf("MQTT got %+v", m)
	}
	if s := h.front.Stats(); s.MessagesOut != 1 || s.EventsOut != 3 || s.MessagesIn != 1 || s.PublishesIn != 1 || s.Logins != 1 {
		t.Errorf("stats: %+v", s)
	}
}

// XEP-0203: what comes late says when it was sent.
func TestLateMessagesAreStamped(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true, now: func() time.Time { return time.Now().Add(lateAfter) }})
	h.account("romeo", "montague")
	h.account("juliet", "capulet")
	mqtt := h.device("romeo", "sensor")
	mqtt.publish(&core.Message{Topic: "$inbox/juliet/romeo", Payload: []byte("kept"), QoS: 1, Time: 1700000000123})
	c := h.login("juliet", "capulet", "chamber")
	c.available()
	c.expect(`<message to='juliet@hub.example' from='romeo@hub.example/sensor'><body>kept</body><delay xmlns='urn:xmpp:delay' from='hub.example' stamp='2023-11-14T22:13:20.123Z'/></message>`)
}

// A completed write is the acknowledgement: what was written is not sent again.
func TestWrittenMessagesAreAcknowledged(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	h.account("juliet", "capulet")
	mqtt := h.device("romeo", "sensor")
	c := h.login("juliet", "capulet", "one")
	c.available()
	mqtt.publish(&core.Message{Topic: "$inbox/juliet/romeo", Payload: []byte("first"), QoS: 1})
	c.expect(`<message{}first{}</message>`)
	c.send(`</stream:stream>`)
	c.expect(`</stream:stream>`)
	c.expectEnd()
	mqtt.publish(&core.Message{Topic: "$inbox/juliet/romeo", Payload: []byte("second"), QoS: 1})
	c = h.login("juliet", "capulet", "two")
	c.available()
	c.expect(`<message to='juliet@hub.example' from='romeo@hub.example/sensor'><body>second</body></message>`)
}

// A client that reads slowly gets all that is owed to it, in order, and holds
// no more than its out-queue and its window.
func TestSlowReadersLoseNothing(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true, QueueBytes: 32 << 10})
	h.account("romeo", "montague")
	h.account("juliet", "capulet")
	mqtt := h.device("romeo", "sensor")
	c := h.login("juliet", "capulet", "chamber")
	c.available()
	const n = 400
	text := strings.Repeat("x", 64<<10)
	for i := range n {
		mqtt.publish(&core.Message{Topic: "$inbox/juliet/romeo", Payload: []byte(fmt.Sprint(i, " ", text)), QoS: 1})
	}
	for deadline := time.Now().Add(patience); h.front.Stats().QueueFull == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the queue never filled: this test tests nothing")
		}
	}
	for i := range n {
		c.expect(fmt.Sprintf(`<message to='juliet@hub.example' from='romeo@hub.example/sensor'><body>%d %s</body></message>`, i, text))
	}
}

// A client that does not read its answers is not read either.
func TestClientsThatDoNotReadAreNotRead(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true, QueueBytes: 32 << 10})
	h.account("romeo", "montague")
	c := h.login("romeo", "montague", "r")
	ping := []byte(strings.Repeat(`<iq type='get' id='`+strings.Repeat("x", 1000)+`'><ping xmlns='urn:xmpp:ping'/></iq>`, 64))
	sent := 0
	_ = c.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	for sent < 256<<20 {
		n, err := c.conn.Write(ping)
		sent += n
		if err != nil {
			break
		}
	}
	if sent >= 256<<20 {
		t.Fatal("256 MiB of requests were taken without one answer being read")
	}
}

// Publishes that wait for the journal are answered when it is done, or with an error.
func TestResultsWaitForTheJournal(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	c := h.login("romeo", "montague", "r")
	const item = `<iq type='set' id='%s' to='pubsub.hub.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item id='i'><x xmlns='u'/></item></publish></pubsub></iq>`
	h.mem.Hold()
	c.send(fmt.Sprintf(item, "1") + `<iq type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>`)
	c.expect(`<iq type='result' id='2' to='romeo@hub.example/r'/>`)
	h.mem.Release()
	c.expect(`<iq type='result' id='1'{}</iq>`)
	h.mem.FailAppend(errors.New("the disk is full"))
	c.send(fmt.Sprintf(item, "3") + `<message to='romeo@hub.example' id='4'><body>x</body></message>`)
	c.expect(`<iq type='error' id='3' to='romeo@hub.example/r' from='pubsub.hub.example'><error type='wait' code='500'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
	c.expect(`<message type='error' id='4' to='romeo@hub.example/r' from='romeo@hub.example'><error type='wait' code='500'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>`)
	h.mem.FailAppend(nil)
}

// A flood of publishes is slowed to what the journal takes, and all are answered.
func TestFloodsOfPublishesAreAllAnswered(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	c := h.login("romeo", "montague", "r")
	const n = 4 * maxPending
	go func() {
		for i := range n {
			fmt.Fprintf(c.conn, `<iq type='set' id='%d' to='pubsub.hub.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n/%d'><item><x xmlns='u'/></item></publish></pubsub></iq>`, i, i%7)
		}
	}()
	for i := range n {
		c.expect(fmt.Sprintf(`<iq type='result' id='%d' {}</iq>`, i))
	}
}

// While the journal stands still, no more than so many publishes wait for it:
// what the client sends behind them is not read.
func TestPublishesThatWaitAreBounded(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	c := h.login("romeo", "montague", "r")
	h.mem.Hold()
	before := h.front.Stats().IQsIn
	for i := range maxPending {
		c.send(fmt.Sprintf(`<iq type='set' id='%d' to='pubsub.hub.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item><x xmlns='u'/></item></publish></pubsub></iq>`, i))
	}
	c.send(`<iq type='get' id='behind'><ping xmlns='urn:xmpp:ping'/></iq>`)
	for deadline := time.Now().Add(patience); h.front.Stats().IQsIn < before+maxPending; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the publishes were not taken")
		}
	}
	h.mem.Release()
	c.expect(`<iq type='result' id='0' {}</iq>`) // not the ping, which was behind
	last := fmt.Sprintf(`<iq type='result' id='%d' `, maxPending-1)
	for deadline := time.Now().Add(patience); !strings.Contains(string(c.buf), last) || !strings.Contains(string(c.buf), `id='behind'`); {
		if err := c.read(deadline); err != nil {
			t.Fatalf("%v, after %s", err, c.buf)
		}
	}
}

func TestNotifications(t *testing.T) {
	const tail = `</notification></iq>`
	tests := []struct {
		name string
		m    core.Message
		want string
	}{
		{
			"fields",
			core.Message{Payload: []byte(`{"id":"7","apiKey":"k","title":"<t>","message":"m","uri":"u"}`)},
			`<id>7</id><apiKey>k</apiKey><title>&lt;t&gt;</title><message>m</message><uri>u</uri>`,
		},
		{
			"text",
			core.Message{Payload: []byte(`hello`), Subject: "s", ID: "9"},
			`<id>9</id><apiKey></apiKey><title>s</title><message>hello</message><uri></uri>`,
		},
		{
			"other JSON",
			core.Message{Payload: []byte(`{"temp":21}`), Time: 5},
			`<id>5</id><apiKey></apiKey><title></title><message>{"temp":21}</message><uri></uri>`,
		},
		{
			"bytes",
			core.Message{Payload: []byte("a\x00\xffb"), ID: "1"},
			"<id>1</id><apiKey></apiKey><title></title><message>a\uFFFD\uFFFDb</message><uri></uri>",
		},
	}
	for i := range tests {
		tt := &tests[i]
		want := `'><notification xmlns='androidpn:iq:notification'>` + tt.want + tail
		if got := string(notification(&tt.m)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, want)
		}
	}
}

package device

import (
	"bufio"
	"bytes"
	"testing"
	"time"

	"pushhub/xmppfront/framer"
)

// Whatever a server sends, a packet or an error comes of it.
func FuzzMQTTPacket(f *testing.F) {
	for _, seed := range [][]byte{
		{0x20, 2, 0, 0},
		{0x30, 5, 0, 1, 't', 'h', 'i'},
		{0x32, 7, 0, 1, 't', 0, 1, 'h', 'i'},
		{0x40, 2, 0, 1},
		{0x90, 3, 0, 1, 0x80},
		{0xE0, 2, 0x87, 0},
		{0xD0, 0},
		{0x30, 0xFF, 0xFF, 0xFF, 0x7F},
		{0x20, 5, 0, 0, 2, 0x13, 0},
	} {
		for _, level := range []byte{3, 4, 5} {
			f.Add(level, seed)
		}
	}
	f.Fuzz(func(t *testing.T, level byte, data []byte) {
		m := &MQTT{opt: MQTTOptions{Level: 3 + level%3}}
		pk, err := m.readPacket(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		_ = m.connackError(pk)
		if got := messageOf(pk); len(got.Payload) > len(data) {
			t.Errorf("%d bytes of payload in %d", len(got.Payload), len(data))
		}
	})
}

// Whatever stanza a server sends, events or none come of it.
func FuzzStanza(f *testing.F) {
	for _, seed := range []string{
		"<message from='a@b'><body>x</body></message>",
		"<message><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='n'><item id='i'><json xmlns='urn:xmpp:json:0'>{}</json></item></items></event></message>",
		"<message><payload xmlns='urn:pushhub:payload:0' encoding='base64'>AP8=</payload></message>",
		"<presence type='error'><error code='403'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>",
		"<iq type='set'><notification xmlns='androidpn:iq:notification'><message>x</message></notification></iq>",
		"<iq type='set'><query xmlns='jabber:iq:roster'><item jid='a@b'/></query></iq>",
		"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		fr := framer.New(framer.Limits{})
		fr.ResetBare()
		ev, _, err := fr.Next(data)
		if err != nil || ev.Kind != framer.WholeStanza {
			return
		}
		var st framer.Stanza
		if framer.Parse(ev.Raw, framer.NSClient, &st) != nil {
			return
		}
		eventsOf(&st, time.Time{})
		notificationOf(&st, time.Time{})
		_ = streamError(st.Element)
		_ = iqError("ask", &st)
		contactsOf(st.Element)
		_ = new(XMPP).result(&st, "error", "<error/>")
		_ = new(Androidpn).reply(&st)
	})
}

// What a device draws, a device reads back.
func FuzzPayloadRoundTrip(f *testing.F) {
	for _, seed := range []string{"", "x", `{"a":1}`, "[1]", "a\r\nb", "]]>", "\x00\xff", "\uFFFE", " {} ", "<a/>"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		item := append(append([]byte("<item>"), container(payload)...), "</item>"...)
		fr := framer.New(framer.Limits{StanzaBytes: 1 << 24})
		fr.ResetBare()
		ev, _, err := fr.Next(item)
		if err != nil {
			t.Fatalf("%q is drawn as %s: %v", payload, item, err)
		}
		var st framer.Stanza
		if err := framer.Parse(ev.Raw, framer.NSClient, &st); err != nil {
			t.Fatal(err)
		}
		if got := payloadOf(st.Element); !bytes.Equal(got, payload) {
			t.Errorf("%q came back as %q", payload, got)
		}
	})
}

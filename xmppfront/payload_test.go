package xmppfront

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

// firstChild is the first child of the element in text.
func firstChild(t testing.TB, text string) framer.Element {
	t.Helper()
	var s framer.Stanza
	if err := framer.Parse([]byte(text), framer.NSClient, &s); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for c := range s.Children {
		return c
	}
	t.Fatalf("no child in %s", text)
	return framer.Element{}
}

// What other protocols publish, as XMPP sees it in a message and in an item.
func TestPayloadsAreWrittenAsWhatTheyAre(t *testing.T) {
	tests := []struct{ name, payload, typ, body, item string }{
		{
			"text", "a <b> & c", "",
			`<body>a &lt;b&gt; &amp; c</body>`,
			`<payload xmlns='urn:pushhub:payload:0' type='text/plain'>a &lt;b&gt; &amp; c</payload>`,
		},
		{
			"text with its line ends", "a\r\nb", "text/plain",
			"<body>a&#xD;\nb</body>",
			"<payload xmlns='urn:pushhub:payload:0' type='text/plain'>a&#xD;\nb</payload>",
		},
		{
			"an object", `{"a":"<"}`, "",
			`<body>{"a":"&lt;"}</body><json xmlns='urn:xmpp:json:0'>{"a":"&lt;"}</json>`,
			`<json xmlns='urn:xmpp:json:0'>{"a":"&lt;"}</json>`,
		},
		{
			"an array, so declared", ` [1]`, "application/json",
			`<body> [1]</body><json xmlns='urn:xmpp:json:0'> [1]</json>`,
			`<json xmlns='urn:xmpp:json:0'> [1]</json>`,
		},
		{
			"a number is text", `42`, "application/json",
			`<body>42</body>`,
			`<payload xmlns='urn:pushhub:payload:0' type='application/json'>42</payload>`,
		},
		{
			"broken JSON is text", `{"a"`, "",
			`<body>{"a"</body>`,
			`<payload xmlns='urn:pushhub:payload:0' type='text/plain'>{"a"</payload>`,
		},
		{
			"bytes", "\x00\xff", "",
			`<payload xmlns='urn:pushhub:payload:0' type='application/octet-stream' encoding='base64'>AP8=</payload>`,
			`<payload xmlns='urn:pushhub:payload:0' type='application/octet-stream' encoding='base64'>AP8=</payload>`,
		},
		{
			"a control character", "a\x1bb", "text/plain",
			`<payload xmlns='urn:pushhub:payload:0' type='text/plain' encoding='base64'>YRti</payload>`,
			`<payload xmlns='urn:pushhub:payload:0' type='text/plain' encoding='base64'>YRti</payload>`,
		},
		{
			"a type of its own", "<p/>", "text/html",
			`<body>&lt;p/&gt;</body><payload xmlns='urn:pushhub:payload:0' type='text/html'>&lt;p/&gt;</payload>`,
			`<payload xmlns='urn:pushhub:payload:0' type='text/html'>&lt;p/&gt;</payload>`,
		},
		{
			"nothing", "", "",
			`<body></body>`,
			`<payload xmlns='urn:pushhub:payload:0' type='text/plain'></payload>`,
		},
	}
	for _, tt := range tests {
		m := &core.Message{Payload: []byte(tt.payload), ContentType: tt.typ}
		if got := string(appendBody(nil, m)); got != tt.body {
			t.Errorf("%s, message:\n got %s\nwant %s", tt.name, got, tt.body)
		}
		if got := string(appendItemPayload(nil, m)); got != tt.item {
			t.Errorf("%s, item:\n got %s\nwant %s", tt.name, got, tt.item)
		}
	}
}

// What XMPP sends, as the hub sees it.
func TestPayloadsAreReadAsWhatTheyAre(t *testing.T) {
	tests := []struct{ name, children, payload, typ string }{
		{"a body", `<body>a&lt;b</body>`, "a<b", typeText},
		{"no body", `<x xmlns='u'/>`, "", ""},
		{"a body beside its JSON", `<body>for people</body><json xmlns='urn:xmpp:json:0'>{"a": 1}</json>`, `{"a": 1}`, typeJSON},
		{"JSON before its body", `<json xmlns='urn:xmpp:json:0'>{"a": 1}</json><body>for people</body>`, `{"a": 1}`, typeJSON},
		{"a payload beside a body", `<payload xmlns='urn:pushhub:payload:0' type='image/png' encoding='base64'>AP8=</payload><body>a picture</body>`, "\x00\xff", "image/png"},
		{"a payload in folded base64", "<payload xmlns='urn:pushhub:payload:0' encoding='base64'> AP\n 8= </payload>", "\x00\xff", ""},
		{"a payload that is text", `<payload xmlns='urn:pushhub:payload:0' type='text/csv'>a,b<![CDATA[<]]></payload>`, "a,b<", "text/csv"},
	}
	for _, tt := range tests {
		var s framer.Stanza
		if err := framer.Parse([]byte(`<message>`+tt.children+`</message>`), framer.NSClient, &s); err != nil {
			t.Fatal(err)
		}
		e := &engine{}
		var m core.Message
		if err := e.readChildren(&s, &m, new(traits)); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if string(m.Payload) != tt.payload || m.ContentType != tt.typ {
			t.Errorf("%s: %q of type %q, want %q of type %q", tt.name, m.Payload, m.ContentType, tt.payload, tt.typ)
		}
	}
}

func TestBrokenPayloadsAreRefused(t *testing.T) {
	for _, text := range []string{
		`<m><payload xmlns='urn:pushhub:payload:0' encoding='base64'>A</payload></m>`,
		`<m><payload xmlns='urn:pushhub:payload:0' encoding='hex'>00</payload></m>`,
		`<m><payload xmlns='urn:pushhub:payload:0' type='` + strings.Repeat("x", 256) + `'/></m>`,
	} {
		var f fault
		if _, err := readPayload(nil, firstChild(t, text), &core.Message{}); !errors.As(err, &f) || f.cond != badRequest.cond {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// The other way round: any XML item comes back as it was.
func TestItemsComeBackAsTheyWere(t *testing.T) {
	for _, item := range []string{
		`<entry xmlns='http://www.w3.org/2005/Atom'><title>x</title></entry>`,
		`<a:b xmlns:a="u" c='&#10;'>x]]&gt;</a:b>`,
		`<b xmlns='u'><![CDATA[<>]]></b>`,
		`<body xmlns='jabber:client'>x</body>`,
		`<json xmlns='urn:xmpp:json:0'>{"a":"&amp;"}</json>`,
		`<payload xmlns='urn:pushhub:payload:0' type='text/plain'>x</payload>`,
		`<payload xmlns='urn:pushhub:payload:0' type='image/png' encoding='base64'>AP8=</payload>`,
	} {
		e := &engine{}
		if err := e.readItem(firstChild(t, `<item xmlns='http://jabber.org/protocol/pubsub'>`+item+`</item>`)); err != nil {
			t.Errorf("%s: %v", item, err)
		}
		if got := string(appendItemPayload(nil, &e.msg)); got != item {
			t.Errorf("got %s\nwant %s", got, item)
		}
		if e.msg.ContentType == typeXML && string(e.msg.Payload) != item {
			t.Errorf("MQTT sees %s\nwant %s", e.msg.Payload, item)
		}
	}
}

// wellFormed reads text to its end as another implementation sees it.
func wellFormed(text []byte) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := d.Token(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// FuzzPayload: whatever was published comes back byte for byte, by message and by item.
func FuzzPayload(f *testing.F) {
	f.Add([]byte("text\r\n"), "")
	f.Add([]byte(`{"a": [1, "\u0000"]}`), "application/json")
	f.Add([]byte("\x00\xff"), "image/png")
	f.Add([]byte("]]>&<"), "text/plain")
	f.Fuzz(func(t *testing.T, payload []byte, typ string) {
		if len(typ) > maxContentType || !framer.ValidText([]byte(typ)) {
			typ = ""
		}
		in := &core.Message{Payload: payload, ContentType: typ}
		for name, text := range map[string][]byte{
			"message": append(appendBody([]byte("<m>"), in), "</m>"...),
			"item":    append(appendItemPayload([]byte("<m>"), in), "</m>"...),
		} {
			if err := wellFormed(text); err != nil {
				t.Fatalf("%s: %s: %v", name, text, err)
			}
			var s framer.Stanza
			if err := framer.Parse(text, framer.NSClient, &s); err != nil {
				t.Fatalf("%s: %s: %v", name, text, err)
			}
			e := &engine{}
			var out core.Message
			if err := e.readChildren(&s, &out, new(traits)); err != nil {
				t.Fatalf("%s: %s: %v", name, text, err)
			}
			if !bytes.Equal(out.Payload, payload) {
				t.Fatalf("%s: %q became %s became %q", name, payload, text, out.Payload)
			}
			if !plainType(typ) && out.ContentType != typ {
				t.Fatalf("%s: type %q became %q", name, typ, out.ContentType)
			}
		}
	})
}

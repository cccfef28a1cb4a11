package framer

import (
	"bytes"
	"testing"
)

const (
	benchHeader = `<?xml version='1.0'?><stream:stream to='example.com' xmlns='jabber:client' ` +
		`xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>`
	benchMessage = `<message to="bob@example.com/phone" type="chat" id="purple1a2b3c4d">` +
		`<body>Hello there, are you coming to the concert tonight?</body><active/></message>`
	benchSpaces = `<message to='bob@example.com/phone' type='chat' id='purple1a2b3c4d'>` +
		`<body>Hello there</body><active xmlns='http://jabber.org/protocol/chatstates'/>` +
		`<origin-id xmlns='urn:xmpp:sid:0' id='b5c7'/><request xmlns='urn:xmpp:receipts'/></message>`
	benchCyrillic = `<message to="bob@example.com/phone" type="chat" id="purple1a2b3c4d">` +
		`<body>Привет, ты придёшь сегодня на концерт в парке?</body></message>`
)

func opened(b *testing.B) *Framer {
	b.Helper()
	f := New(Limits{})
	if ev, n, err := f.Next([]byte(benchHeader)); err != nil || ev.Kind != StreamOpen || n != len(benchHeader) {
		b.Fatalf("header: %v %d %v", ev, n, err)
	}
	return f
}

// BenchmarkNext reads stanzas from buffers that hold 100 each; an operation is
// one stanza.
func BenchmarkNext(b *testing.B) {
	for _, bc := range []struct{ name, stanza string }{
		{"message", benchMessage},
		{"extensions", benchSpaces},
		{"cyrillic", benchCyrillic},
		{"1KiB", "<message to='bob@example.com'><body>" + string(bytes.Repeat([]byte("lorem ipsum dolor sit "), 45)) + "</body></message>"},
	} {
		b.Run(bc.name, func(b *testing.B) {
			f := opened(b)
			batch := bytes.Repeat([]byte(bc.stanza), 100)
			b.SetBytes(int64(len(bc.stanza)))
			b.ReportAllocs()
			data := batch
			for b.Loop() {
				if len(data) == 0 {
					data = batch
				}
				_, n, err := f.Next(data)
				if err != nil {
					b.Fatal(err)
				}
				data = data[n:]
			}
		})
	}
}

// BenchmarkParse reads a stanza's start tag; "children" its children as well.
func BenchmarkParse(b *testing.B) {
	raw := []byte(benchSpaces)
	var st Stanza
	b.Run("stanza", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := Parse(raw, NSClient, &st); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("children", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := Parse(raw, NSClient, &st); err != nil {
				b.Fatal(err)
			}
			for c := range st.Children {
				if len(c.Space) == 0 {
					b.Fatal("no namespace")
				}
			}
		}
	})
}

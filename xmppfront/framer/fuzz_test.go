package framer

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

func FuzzFramer(f *testing.F) {
	for _, s := range goodStanzas {
		f.Add([]byte(s), uint64(1))
	}
	for _, s := range badStanzas {
		f.Add([]byte(s.in), uint64(2))
	}
	f.Fuzz(func(t *testing.T, stanza []byte, seed uint64) {
		// The input stands for a whole stream as well as for a stanza of one.
		split(t, stanza, seed)
		input := slices.Concat([]byte(testHeader), stanza, []byte(testClose))
		got, err := split(t, input, seed)
		if err != nil {
			return
		}
		if got[len(got)-1] == "3 " {
			if ref := decodes(stanza); ref != nil {
				t.Fatalf("false accept: %q: %v", stanza, ref)
			}
		}
		for _, ev := range got {
			if ev[0] == '2' {
				checkStanza(t, ev[2:])
			}
		}
	})
}

// split requires that input gives the same events and error in one piece, by
// bytes and in random pieces.
func split(t *testing.T, input []byte, seed uint64) ([]string, error) {
	r := rand.New(rand.NewPCG(seed, 0))
	want, err := feed(New(Limits{StanzaBytes: 4096}), input, atOnce)
	for _, cuts := range []func(int) int{byByte, func(at int) int { return at + 1 + r.IntN(16) }} {
		got, again := feed(New(Limits{StanzaBytes: 4096}), input, cuts)
		if !slices.Equal(want, got) || !sameError(err, again) {
			t.Fatalf("%q: %q %v at once, in pieces %q %v", input, want, err, got, again)
		}
	}
	return want, err
}

func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"", "a&b<c>d'e\"f\tg\nh\ri", "&amp;&#65;&#x41;", "<![CDATA[x]]>", "<a b='>'>", "\xFF\uFFFE\x00", "]]>"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		text, attr := AppendEscapedText(nil, s), AppendEscapedAttr(nil, s)
		doc := slices.Concat([]byte("<a b='"), attr, []byte("' c=\""), attr, []byte("\">"), text, []byte("</a>"))
		fr := New(Limits{StanzaBytes: 1 << 24})
		fr.ResetBare()
		ev, n, err := fr.Next(doc)
		if err != nil || n != len(doc) {
			t.Fatalf("%q: %q: %v", s, doc, err)
		}
		if ValidText(s) {
			if got := Unescape(nil, text); !bytes.Equal(got, s) {
				t.Fatalf("text %q: %q: %q", s, text, got)
			}
			if got := UnescapeAttr(nil, attr); !bytes.Equal(got, s) {
				t.Fatalf("attribute %q: %q: %q", s, attr, got)
			}
		}
		// Whatever the input, nothing grows or panics.
		if len(Unescape(nil, s)) > len(s) || len(UnescapeAttr(nil, s)) > len(s) {
			t.Fatalf("%q grew", s)
		}
		var st Stanza
		if Parse(ev.Raw, NSClient, &st) != nil {
			t.Fatal("not parsed")
		}
		if Parse(s, string(binary.LittleEndian.AppendUint16(nil, uint16(len(s)))), &st) == nil {
			outline(st.Element)
			st.AppendWithFrom(nil, s)
			st.AppendStandalone(nil)
		}
	})
}

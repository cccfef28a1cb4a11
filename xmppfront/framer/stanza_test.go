package framer

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
)

func parse(t *testing.T, raw string) *Stanza {
	t.Helper()
	st := new(Stanza)
	if err := Parse([]byte(raw), NSClient, st); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return st
}

func TestParse(t *testing.T) {
	tests := []struct{ raw, want string }{
		{"<message to='a' from=\"b\" id='c' type='d' xml:lang='e' x='f'>g</message>", "jabber:client|message|a|b|c|d|e|g"},
		{"<iq\n to = 'a>b'\tid=''/>", "jabber:client|iq|a>b|||||"},
		{"<iq></iq >", "jabber:client|iq||||||"},
		{"<iq/>", "jabber:client|iq||||||"},
		{"<iq><iq><iq/></iq></iq>", "jabber:client|iq||||||<iq><iq/></iq>"},
		{"<a xmlns='u&amp;v' id='&lt;&#x41;'/>", "u&v|a|||<A|||"},
		{"<a xmlns=''/>", "|a||||||"},
		{"<c:iq xmlns:c='jabber:client' type='s&#101;t' c:id='no'><x/></c:iq>", "jabber:client|iq||||set||<x/>"},
		{"<stream:error><a/></stream:error>", NSStreams + "|error||||||<a/>"},
		{"<xml:a/>", NSXML + "|a||||||"},
		{"<a to='x\ny'><![CDATA[</a>]]></a>", "jabber:client|a|x y|||||<![CDATA[</a>]]>"},
	}
	for _, tt := range tests {
		st := parse(t, tt.raw)
		got := fmt.Sprintf("%s|%s|%s|%s|%s|%s|%s|%s", st.Space, st.Name, st.To, st.From, st.ID, st.Type, st.Lang, st.Inner)
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.raw, got, tt.want)
		}
		if string(st.Raw[st.TagEnd:st.InnerEnd]) != string(st.Inner) || !bytes.HasSuffix(st.Raw[:st.NameEnd], st.Name) {
			t.Errorf("%s: offsets %d %d %d", tt.raw, st.NameEnd, st.TagEnd, st.InnerEnd)
		}
	}
	if st := parse(t, "<a id=''/>"); st.ID == nil || st.To != nil {
		t.Error("an empty attribute must differ from an absent one")
	}
	for _, bad := range []string{"", "<", "<>", "a", "</", "<a", "<a b='>", "< a>"} {
		if err := Parse([]byte(bad), NSClient, new(Stanza)); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}

// outline writes the tree below e with resolved names.
func outline(e Element) string {
	var b strings.Builder
	for c := range e.Children {
		fmt.Fprintf(&b, "{%s}%s(%s)", c.Space, c.Name, outline(c))
	}
	return b.String()
}

func TestChildren(t *testing.T) {
	tests := []struct{ raw, want string }{
		{"<a/>", ""},
		{"<a>text</a>", ""},
		{"<a>t<b/>u<c>v</c>w</a>", "{jabber:client}b(){jabber:client}c()"},
		{"<a><b xmlns='u'><c/><d xmlns=''/></b><e/></a>", "{u}b({u}c(){}d()){jabber:client}e()"},
		{"<a xmlns='v'><b/></a>", "{v}b()"},
		{"<a><![CDATA[<x/>]]><b><![CDATA[</b>]]></b></a>", "{jabber:client}b()"},
		{"<a xmlns:p='u'><p:b><c/></p:b><d p:e=''/></a>", "{u}b({jabber:client}c()){jabber:client}d()"},
		{"<a xmlns:p='u'><b xmlns:p='v'><p:c/></b><p:c/></a>", "{jabber:client}b({v}c()){u}c()"},
		{"<a><p:b xmlns:p='u' xmlns='w'><c xmlns:q='x'><q:d/><p:d/></c></p:b></a>", "{u}b({w}c({x}d(){u}d()))"},
		{"<a><b c='/>'><b d=\"'>\"/></b><b/></a>", "{jabber:client}b({jabber:client}b()){jabber:client}b()"},
		{"<a><b xmlns='urn&#58;x'/></a>", "{urn:x}b()"},
	}
	for _, tt := range tests {
		if got := outline(parse(t, tt.raw).Element); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.raw, got, tt.want)
		}
	}
	n := 0
	for range parse(t, "<a><b/><c/></a>").Children {
		n++
		break
	}
	if n != 1 {
		t.Error("iteration went on after break")
	}
}

func TestAttr(t *testing.T) {
	e := parse(t, "<a xmlns='u' xmlns:x='v' x:b='1' b = '2&quot;' c=\"\"/>").Element
	for name, want := range map[string]string{"b": "2\" true", "c": " true", "d": " false", "x": " false", "xmlns": " false", "x:b": " false"} {
		value, ok := e.Attr(name)
		if got := fmt.Sprintf("%s %t", value, ok); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestAppendWithFrom(t *testing.T) {
	tests := []struct{ raw, want string }{
		{"<a/>", "<a from='x&amp;y'/>"},
		{"<a />", "<a from='x&amp;y' />"},
		{"<a><b from='z'/></a>", "<a from='x&amp;y'><b from='z'/></a>"},
		{"<a to='b' from='forged' id='1'>t</a>", "<a from='x&amp;y' to='b' id='1'>t</a>"},
		{"<a from = \"forged'/>\"/>", "<a from='x&amp;y'/>"},
		{"<a\nfrom='' c:from='k' xmlns:c='u' ></a>", "<a from='x&amp;y' c:from='k' xmlns:c='u' ></a>"},
	}
	for _, tt := range tests {
		if got := string(parse(t, tt.raw).AppendWithFrom(nil, []byte("x&y"))); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.raw, got, tt.want)
		}
	}
}

func TestAppendStandalone(t *testing.T) {
	tests := []struct{ raw, want string }{
		{"<a><b xmlns='u' c='d'>t<e/></b></a>", "<b xmlns='u' c='d'>t<e/></b>"},
		{"<a><b/></a>", "<b xmlns='jabber:client'/>"},
		{"<a xmlns=\"it's\"><b c='d'/></a>", "<b xmlns='it&apos;s' c='d'/>"},
		{"<a xmlns=''><b/></a>", "<b xmlns=''/>"},
		{"<a><p:b xmlns:p='u'/></a>", "<p:b xmlns:p='u'/>"},
		{"<a><p:b xmlns:p='u'><c/></p:b></a>", "<p:b xmlns='jabber:client' xmlns:p='u'><c/></p:b>"},
		{"<a xmlns:p='u' xmlns:q='v'><p:b/></a>", "<p:b xmlns:p='u'/>"},
		{"<a xmlns:p='u' xmlns:q='v'><b xmlns='w'><c q:d=''/></b></a>", "<b xmlns:q='v' xmlns='w'><c q:d=''/></b>"},
		{"<a xmlns:p='u'><p:b xmlns:p='v'/></a>", "<p:b xmlns:p='v'/>"},
	}
	for _, tt := range tests {
		for c := range parse(t, tt.raw).Children {
			if got := string(c.AppendStandalone(nil)); got != tt.want {
				t.Errorf("%s: got %s, want %s", tt.raw, got, tt.want)
			}
		}
	}
	const nested = "<a xmlns:p='u' xmlns:r='z'><b xmlns:p='v' xmlns:q='w'><p:c q:d='' r:d=''/></b></a>"
	for b := range parse(t, nested).Children {
		for c := range b.Children {
			const want = "<p:c xmlns:p='v' xmlns:q='w' xmlns:r='z' q:d='' r:d=''/>"
			if got := string(c.AppendStandalone(nil)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
	const own = "<stream:error xmlns:stream='http://etherx.jabber.org/streams'/>"
	if got := string(parse(t, "<stream:error/>").AppendStandalone(nil)); got != own {
		t.Errorf("got %s, want %s", got, own)
	}
}

// checkStanza compares how a stanza that the framer accepted is read with
// encoding/xml, and that its children mean the same on their own.
func checkStanza(t *testing.T, raw string) {
	t.Helper()
	st := parse(t, raw)
	if string(st.prefix) == "stream" || strings.Contains(raw, "<xmlns") {
		return // encoding/xml sees no stream header here, and takes <xmlns> for a declaration
	}
	d := xml.NewDecoder(strings.NewReader("<r xmlns='jabber:client'>" + raw + "</r>"))
	var walk func(e Element)
	next := func() xml.Token {
		for {
			token, err := d.Token()
			if err != nil {
				t.Fatalf("%q: %v", raw, err)
			}
			switch token.(type) {
			case xml.StartElement, xml.EndElement:
				return token
			}
		}
	}
	next()
	walk = func(e Element) {
		start, ok := next().(xml.StartElement)
		// A namespace that the framer sees is what the decoder resolved.
		if !ok || start.Name.Local != string(e.Name) || start.Name.Space != string(e.Space) && string(e.prefix) != "xml" {
			t.Fatalf("%q: read {%s}%s, encoding/xml %v", raw, e.Space, e.Name, start.Name)
		}
		for _, a := range start.Attr {
			if got, found := e.Attr(a.Name.Local); a.Name.Space == "" && a.Name.Local != "xmlns" && (!found || !sameSpace(string(got), a.Value)) {
				t.Fatalf("%q: attribute %s is %q, encoding/xml %q", raw, a.Name.Local, got, a.Value)
			}
		}
		for c := range e.Children {
			walk(c)
		}
		if _, ok := next().(xml.EndElement); !ok {
			t.Fatalf("%q: children of %s missed", raw, e.Name)
		}
	}
	walk(st.Element)
	checkStandalone(t, st.Element)
}

// sameSpace compares attribute values but for white space, which encoding/xml
// does not normalise.
func sameSpace(a, b string) bool {
	plain := strings.NewReplacer("\r\n", " ", "\r", " ", "\n", " ", "\t", " ")
	return plain.Replace(a) == plain.Replace(b)
}

// checkStandalone compares each element in place with its standalone form.
func checkStandalone(t *testing.T, e Element) {
	t.Helper()
	for c := range e.Children {
		alone := string(c.AppendStandalone(nil))
		f := New(Limits{})
		f.ResetBare()
		if got, err := feed(f, []byte(alone), atOnce); err != nil || len(got) != 1 {
			t.Fatalf("%q alone is %q: %v", c.Raw, alone, err)
		}
		var st Stanza
		if err := Parse([]byte(alone), "urn:elsewhere", &st); err != nil {
			t.Fatal(err)
		}
		if got, want := outline(st.Element), outline(c); got != want || !bytes.Equal(st.Space, c.Space) && len(c.Space) > 0 {
			t.Fatalf("%q alone is %q: {%s} %s, want {%s} %s", c.Raw, alone, st.Space, got, c.Space, want)
		}
		checkStandalone(t, c)
	}
}

func TestStanzasReadAsEncodingXMLReadsThem(t *testing.T) {
	for _, s := range goodStanzas {
		checkStanza(t, s)
	}
}

func TestEmptyElements(t *testing.T) {
	for in, want := range map[string]bool{
		`<a/>`: true, `<a></a>`: true, `<a xmlns='u' xmlns:p="v" />`: true, `<p:a xmlns:p='v'></p:a>`: true,
		`<a> </a>`: false, `<a><b/></a>`: false, `<a x='1'/>`: false, `<a xmlns='u' xml:lang='en'/>`: false,
	} {
		var st Stanza
		if err := Parse([]byte(in), NSClient, &st); err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if got := st.Empty(); got != want {
			t.Errorf("%s: %t, want %t", in, got, want)
		}
	}
}

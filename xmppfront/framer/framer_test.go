package framer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

const (
	streamNS   = "xmlns:stream='http://etherx.jabber.org/streams'"
	testHeader = "<stream:stream to='example.com' xmlns='jabber:client' " + streamNS + " version='1.0'>"
	testClose  = "</stream:stream>"
)

// feed gives the framer input in pieces that end at the cuts, as a connection
// would, and returns the events as text and the error.
func feed(f *Framer, input []byte, cuts func(at int) int) ([]string, error) {
	var events []string
	var buf []byte
	for at := 0; at < len(input); {
		end := min(max(cuts(at), at+1), len(input))
		buf = append(buf, input[at:end]...)
		at = end
		for {
			ev, n, err := f.Next(buf)
			buf = buf[n:]
			if err != nil {
				return events, err
			}
			if ev.Kind == NeedMore {
				break
			}
			text := fmt.Sprintf("%d %s", ev.Kind, ev.Raw)
			if ev.Header != nil {
				text = fmt.Sprintf("%d %+v", ev.Kind, *ev.Header)
			}
			events = append(events, text)
		}
	}
	return events, nil
}

func atOnce(int) int    { return 1 << 40 }
func byByte(at int) int { return at + 1 }

// sameError reports whether two errors are the same violation at the same place.
func sameError(a, b error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Error() == b.Error()
}

func TestHeaders(t *testing.T) {
	tests := map[string]struct {
		input string
		want  Header
	}{
		"usual": {testHeader, Header{To: "example.com", Version: "1.0", DefaultNS: NSClient, Prefix: "stream"}},
		"declaration": {
			"<?xml version='1.0' encoding=\"utf-8\" standalone='yes' ?>\n\t" + testHeader,
			Header{To: "example.com", Version: "1.0", DefaultNS: NSClient, Prefix: "stream"},
		},
		"Smack 3 without version": {
			`<stream:stream to="127.0.0.1" xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams">`,
			Header{To: "127.0.0.1", DefaultNS: NSClient, Prefix: "stream"},
		},
		"white space first": {" \r\n" + testHeader, Header{To: "example.com", Version: "1.0", DefaultNS: NSClient, Prefix: "stream"}},
		"all attributes": {
			"<s:stream xmlns:s='http://etherx.jabber.org/streams' from='a&amp;b@c' id = '&#x41;'\nxml:lang='de' to='x\ty' extra='1' s:more='2'>",
			Header{To: "x y", From: "a&b@c", ID: "A", Lang: "de", Prefix: "s"},
		},
		"stream namespace as default": {"<stream xmlns='http://etherx.jabber.org/streams'>", Header{DefaultNS: NSStreams}},
		"namespace with a reference": {
			"<a:stream xmlns:a='http://etherx.jabber.org/&#115;treams'>", Header{Prefix: "a"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := []string{fmt.Sprintf("%d %+v", StreamOpen, tt.want)}
			for _, cuts := range []func(int) int{atOnce, byByte} {
				got, err := feed(New(Limits{}), []byte(tt.input), cuts)
				if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("got %v, %v, want %v", got, err, want)
				}
			}
		})
	}
}

func TestBadHeaders(t *testing.T) {
	tests := map[string]struct {
		input string
		want  error
		at    int64
	}{
		"no markup":                 {"GET / HTTP/1.1", ErrBadFormat, 0},
		"UTF-16 mark":               {"\xFF\xFE<\x00", ErrUnsupportedEncoding, 0},
		"UTF-16":                    {"<\x00?\x00", ErrUnsupportedEncoding, 1},
		"byte order mark":           {"\uFEFF<a>", ErrBadFormat, 0},
		"control character":         {"\x01<a>", ErrNotWellFormed, 0},
		"not UTF-8":                 {"\xC0\x80", ErrNotWellFormed, 0},
		"Latin 1":                   {"<?xml version='1.0' encoding='ISO-8859-1'?>", ErrUnsupportedEncoding, 42},
		"XML 1.1":                   {"<?xml version='1.1'?>", ErrNotWellFormed, 20},
		"no version":                {"<?xml encoding='UTF-8'?>", ErrNotWellFormed, 23},
		"order":                     {"<?xml version='1.0' standalone='yes' encoding='UTF-8'?>", ErrNotWellFormed, 54},
		"standalone":                {"<?xml version='1.0' standalone='maybe'?>", ErrNotWellFormed, 39},
		"no end":                    {"<?xml version='1.0'>", ErrNotWellFormed, 19},
		"no quotes":                 {"<?xml version=1.0?>", ErrNotWellFormed, 18},
		"more":                      {"<?xml version='1.0' more?>", ErrNotWellFormed, 25},
		"space before declaration":  {" <?xml version='1.0'?>", ErrRestrictedXML, 2},
		"two declarations":          {"<?xml version='1.0'?><?xml version='1.0'?>", ErrRestrictedXML, 22},
		"text after declaration":    {"<?xml version='1.0'?>x", ErrBadFormat, 21},
		"other instruction":         {"<?xml-stylesheet?>", ErrRestrictedXML, 5},
		"instruction":               {"<?php?>", ErrRestrictedXML, 2},
		"document type":             {"<!DOCTYPE stream>", ErrRestrictedXML, 2},
		"comment":                   {"<!-- x -->", ErrRestrictedXML, 2},
		"CDATA":                     {"<![CDATA[x]]>", ErrBadFormat, 8},
		"end tag":                   {"</stream:stream>", ErrNotWellFormed, 1},
		"wrong name":                {"<s:open xmlns:s='http://etherx.jabber.org/streams'>", ErrBadFormat, 0},
		"wrong namespace":           {"<stream:stream xmlns:stream='etherx'>", ErrInvalidNamespace, 0},
		"no namespace":              {"<stream>", ErrInvalidNamespace, 0},
		"undeclared prefix":         {"<stream:stream xmlns='http://etherx.jabber.org/streams'>", ErrNotWellFormed, 1},
		"xml prefix":                {"<xml:stream xmlns='http://etherx.jabber.org/streams'>", ErrInvalidNamespace, 0},
		"closed at once":            {"<s:stream xmlns:s='http://etherx.jabber.org/streams'/>", ErrBadFormat, 53},
		"attribute prefix":          {"<s:stream xmlns:s='http://etherx.jabber.org/streams' a:b=''>", ErrNotWellFormed, 53},
		"too long":                  {"<s:stream xmlns:s='" + strings.Repeat("a", 70000), ErrPolicy, 65536},
		"endless white space after": {"<?xml version='1.0'?>" + strings.Repeat(" ", 70000), ErrPolicy, 65536},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, cuts := range []func(int) int{atOnce, byByte} {
				got, err := feed(New(Limits{}), []byte(tt.input), cuts)
				var se *SyntaxError
				if len(got) > 0 || !errors.Is(err, tt.want) || !errors.As(err, &se) || se.Offset != tt.at {
					t.Errorf("got %v, %v, want %v at %d", got, err, tt.want, tt.at)
				}
			}
		})
	}
}

func TestStreamsEndAndRestart(t *testing.T) {
	const stanza = "<a/>"
	two := testHeader + stanza + " \n" + "<b></b>" + testClose
	f := New(Limits{})
	for round := range 2 {
		for _, cuts := range []func(int) int{atOnce, byByte} {
			got, err := feed(f, []byte(two), cuts)
			if err != nil || len(got) != 4 || got[1] != "2 <a/>" || got[2] != "2 <b></b>" || got[3] != "3 " {
				t.Fatalf("round %d: %v, %v", round, got, err)
			}
			f.Reset()
		}
	}
	// A line end that belongs to the old stream stands before the declaration.
	if _, err := feed(f, []byte("\r\n<?xml version='1.0'?>"+testHeader), byByte); err != nil {
		t.Error(err)
	}
	for _, after := range []string{"x", "<a/>", "</stream:stream>", "<?x?>"} {
		f.Reset()
		if got, err := feed(f, []byte(two+"\n"+after), atOnce); len(got) != 4 || err == nil {
			t.Errorf("after the end %q: %v, %v", after, got, err)
		}
	}
}

func TestErrorsLastUntilReset(t *testing.T) {
	f := New(Limits{})
	_, err := feed(f, []byte(testHeader+"<a></b>"), atOnce)
	_, n, again := f.Next([]byte("<a/>"))
	if err == nil || n != 0 || err != again {
		t.Errorf("first %v, then %d, %v", err, n, again)
	}
	f.Reset()
	if _, err := feed(f, []byte(testHeader), atOnce); err != nil {
		t.Error(err)
	}
}

func TestStreamPrefixIsRememberedAsSent(t *testing.T) {
	const header = "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' xmlns:x='urn:x'>"
	for in, want := range map[string]error{
		"<s:error/>":                        nil,
		"<s:error><a xmlns='u'/></s:error>": nil,
		"</s:stream  >":                     nil,
		"<a><s:b/></a>":                     ErrNamespacePrefix,
		"<a s:b=''/>":                       ErrNamespacePrefix,
		"<x:a/>":                            ErrNamespacePrefix,
		"<a x:b=''/>":                       ErrNamespacePrefix,
		"<x:a xmlns:x='urn:x'/>":            nil,
		"<a xmlns:s='u'><s:b/></a>":         nil,
		"<a><b xmlns:x='u'/><x:c/></a>":     ErrNamespacePrefix,
		"<stream:error/>":                   ErrNotWellFormed,
		"</stream>":                         ErrNotWellFormed,
		"</s:strea>":                        ErrNotWellFormed,
		"</s:streams>":                      ErrNotWellFormed,
		"<y:a/>":                            ErrNotWellFormed,
	} {
		if got, err := feed(New(Limits{}), []byte(header+in), byByte); !errors.Is(err, want) || (err == nil && len(got) != 2) {
			t.Errorf("%s: %v, %v, want %v", in, got, err, want)
		}
	}
}

func TestBareStanzas(t *testing.T) {
	f := New(Limits{})
	f.ResetBare()
	got, err := feed(f, []byte("<a xmlns='jabber:client'/> <b/>"), byByte)
	if err != nil || len(got) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"</a>", "<?xml version='1.0'?>", "<stream:a/>"} {
		f.ResetBare()
		if got, err := feed(f, []byte(bad), atOnce); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}

func TestLimits(t *testing.T) {
	attrs := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, " a%d=''", i)
		}
		return b.String()
	}
	binds := func(n int) string {
		return "<a" + strings.ReplaceAll(strings.ReplaceAll(attrs(n), " a", " xmlns:a"), "''", "'u'") + ">"
	}
	nested := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	small := Limits{StanzaBytes: 120, Depth: 3, Attrs: 2}
	tests := map[string]struct {
		limits Limits
		stanza string
		ok     bool
	}{
		"size met":             {small, "<a>" + strings.Repeat("x", 113) + "</a>", true},
		"size passed":          {small, "<a>" + strings.Repeat("x", 114) + "</a>", false},
		"size passed, unended": {small, "<a>" + strings.Repeat("x", 118), false},
		"white space is free":  {small, strings.Repeat(" ", 200) + "<a/>" + strings.Repeat("\n", 200), true},
		"depth met":            {small, nested(3), true},
		"depth passed":         {small, nested(4), false},
		"attributes met":       {small, "<a b='' c=''/>", true},
		"attributes passed":    {small, "<a b='' c='' d=''/>", false},
		"declarations met":     {small, "<a xmlns:b='u' xmlns:c='u'><d/></a>", true},
		"declarations passed":  {small, "<a xmlns:b='u' xmlns:c='u'><d xmlns:d='u'/></a>", false},
		"declarations in turn": {small, "<a><d xmlns:d='u' xmlns:e='u'/><d xmlns:d='u' xmlns:e='u'/></a>", true},
		"default depth met":    {Limits{}, nested(64), true},
		"default depth passed": {Limits{}, nested(65), false},
		"default attrs met":    {Limits{}, "<a" + attrs(64) + "/>", true},
		"default attrs passed": {Limits{}, "<a" + attrs(65) + "/>", false},
		"default size met":     {Limits{}, "<a>" + strings.Repeat("x", 65536-7) + "</a>", true},
		"default size passed":  {Limits{}, "<a>" + strings.Repeat("x", 65536-6) + "</a>", false},
		"default binds met":    {Limits{}, binds(63) + "<b xmlns:b='v'/></a>", true},
		"default binds passed": {Limits{}, binds(63) + "<b xmlns:b='v' xmlns:c='w'/></a>", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var f Framer // the zero value is ready
			if _, err := feed(&f, []byte(testHeader), atOnce); err != nil {
				t.Fatal(err)
			}
			f.SetLimits(tt.limits)
			got, err := feed(&f, []byte(tt.stanza), byByte)
			if tt.ok && (err != nil || len(got) != 1) || !tt.ok && !errors.Is(err, ErrPolicy) {
				t.Errorf("got %d events, %v", len(got), err)
			}
		})
	}
}

// TestDripIsLinear feeds large parts byte by byte. Every step looks at bytes
// from Framer.pos on, so the bytes looked at are those between pos and the end,
// summed over all calls.
func TestDripIsLinear(t *testing.T) {
	const size = 256 << 10
	long := strings.Repeat("x", size)
	inputs := map[string]string{
		"attribute":      "<a b='" + long + "'/>",
		"name":           "<a" + long + "></a" + long + ">",
		"attribute name": "<a b" + long + "=''/>",
		"white space":    "<a" + strings.Repeat(" ", size) + "/>",
		"text":           "<a>" + long + "</a>",
		"brackets":       "<a>" + strings.Repeat("]", size) + "</a>",
		"wide text":      "<a>" + strings.Repeat("\U0001F600", size/4) + "</a>",
		"wide name":      "<" + strings.Repeat("é", size/2) + "/>",
		"CDATA":          "<a><![CDATA[" + strings.Repeat("]>", size/2) + "]]></a>",
		"reference":      "<a>&#" + strings.Repeat("0", size) + "65;</a>",
		"entities":       "<a b='" + strings.Repeat("&amp;", size/5) + "'/>",
		"children":       "<a>" + strings.Repeat("<b/>", size/4) + "</a>",
		"end tag":        "<a></a" + strings.Repeat("\n", size) + ">",
		"between":        strings.Repeat(" ", size) + "<a/>",
	}
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			f := New(Limits{StanzaBytes: 3 * size})
			if _, err := feed(f, []byte(testHeader), atOnce); err != nil {
				t.Fatal(err)
			}
			data, from, looked, events := []byte(input), 0, 0, 0
			for end := 1; end <= len(data); end++ {
				looked += end - from - f.pos
				ev, n, err := f.Next(data[from:end])
				if err != nil {
					t.Fatal(err)
				}
				if from += n; ev.Kind == WholeStanza {
					events++
				}
			}
			if events != 1 || looked > 4*len(data) {
				t.Errorf("%d events, looked at %d bytes for %d", events, looked, len(data))
			}
		})
	}
}

func TestNextAllocatesNothing(t *testing.T) {
	f := New(Limits{})
	if _, err := feed(f, []byte(testHeader), atOnce); err != nil {
		t.Fatal(err)
	}
	stanza := []byte("<message to='a@b' xmlns:x='u'><x:body x:y=''>hi &amp; ho</x:body><b xmlns='v'/></message>")
	batch := bytes.Repeat(stanza, 10)
	var st Stanza
	allocs := testing.AllocsPerRun(100, func() {
		for data := batch; len(data) > 0; {
			ev, n, err := f.Next(data)
			if err != nil || Parse(ev.Raw, NSClient, &st) != nil {
				t.Fatal(err)
			}
			data = data[n:]
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

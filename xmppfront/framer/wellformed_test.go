package framer

import (
	"errors"
	"strings"
	"testing"
)

var goodStanzas = []string{
	"<a/>", "<a />", "<a></a>", "<a\n\t\r ></a \n>", "<_a-b.c1/>",
	"<message to='bob@example.com' type=\"chat\" id='1'><body>Hello</body></message>",
	"<a b = 'c'\nd='e'/>", "<a b='\"' c=\"'\"/>", "<a b='>'>></a>", "<a b='a\tb\nc\rd'/>",
	"<a>]]</a>", "<a>]></a>", "<a>]] ></a>", "<a>]]&gt;</a>", "<a>&#93;]></a>", "<a b=']]>'/>",
	"<a>&lt;&gt;&amp;&apos;&quot;</a>", "<a b='&lt;&gt;&amp;&apos;&quot;'/>",
	"<a>&#65;&#x1F600;&#x10FFFF;&#9;&#xA;&#13;&#0000000000000000000065;</a>", "<a>&#xd7FF;&#xE000;&#xFFFD;</a>",
	"<a>é ю 漢 \U0001F600 \uFFFD \u0085 \u2028 \U0010FFFF</a>", "<a b='é\U0001F600'/>", "<é è='ü'/>", "<a·é/>",
	"<a><![CDATA[]]></a>", "<a><![CDATA[x]]y]>z<&\n]]]></a>", "<a>x<![CDATA[<b>]]>y<![CDATA[]]]]>z</a>", "<a><![CDATA[>]]></a>",
	"<a><b><c/></b>t<b/></a>", "<a><a><a></a></a></a>",
	"<a xmlns='u'><b xmlns=''/></a>", "<x:a xmlns:x='u' x:b='' b=''/>", "<a xmlns:x='u'><x:b/><c x:d='1'/></a>",
	"<a b='1' xmlns:x='u' x:b='2' xmlns:y='v' y:b='3'/>", "<x:a x:b='' xmlns:x='u'/>",
	"<a xml:lang='en' xml:space='preserve'/>", "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
	"<xml:a/>", "<a xmlns:x='u'><b xmlns:x='v'><x:c/></b><x:c/></a>", "<a xmlns:xmlfoo='u'/>",
	"<a xmlns='http://x/?a=1&amp;b=2#c'/>", "<a xmlns='jabber&#58;x'/>", "<a xmlns:x='urn:ü'><x:b/></a>",
	"<xmlns/>", "<a xmlnsx='u'/>", "<a x='u' X='u'/>", "<stream:error/>", "<xml/>",
}

var badStanzas = []struct {
	in   string
	want error
}{
	{"x", ErrBadFormat},
	{"&amp;", ErrBadFormat},
	{"é", ErrBadFormat},
	{">", ErrBadFormat},
	{"<![CDATA[]]>", ErrBadFormat},
	{"\x00", ErrNotWellFormed},
	{"\xFF", ErrNotWellFormed},
	{"\uFFFE", ErrNotWellFormed},
	{"</a>", ErrNotWellFormed},
	{"<!-- -->", ErrRestrictedXML},
	{"<?x?>", ErrRestrictedXML},
	{"<!DOCTYPE a>", ErrRestrictedXML},
	{"<?xml version='1.0'?>", ErrRestrictedXML},
	{"<a><!-- --></a>", ErrRestrictedXML},
	{"<a><?x y?></a>", ErrRestrictedXML},
	{"<a>&nbsp;</a>", ErrRestrictedXML},
	{"<a b='&Lt;'/>", ErrRestrictedXML},
	{"<a>&ltt;</a>", ErrRestrictedXML},
	{"<a>&quotx;</a>", ErrRestrictedXML},
	{"<a>&xquot;</a>", ErrRestrictedXML},
	{"<a>&é;</a>", ErrRestrictedXML},

	{"< a/>", ErrNotWellFormed},
	{"<1a/>", ErrNotWellFormed},
	{"<-a/>", ErrNotWellFormed},
	{"<.a/>", ErrNotWellFormed},
	{"<>", ErrNotWellFormed},
	{"<a$/>", ErrNotWellFormed},
	{"<a\x00/>", ErrNotWellFormed},
	{"<a/ >", ErrNotWellFormed},
	{"<a//>", ErrNotWellFormed},
	{"<a<b/>", ErrNotWellFormed},
	{"<\u0301/>", ErrNotWellFormed},
	{"<·/>", ErrNotWellFormed},
	{"<a×/>", ErrNotWellFormed},
	{"<\xC3/>", ErrNotWellFormed},
	{"<a \u0300=''/>", ErrNotWellFormed},
	{"<x:\u0300 xmlns:x='u'/>", ErrNotWellFormed},
	{"<a\U00010400/>", ErrNotWellFormed},
	{"<a></b>", ErrNotWellFormed},
	{"<a></A>", ErrNotWellFormed},
	{"<a></aa>", ErrNotWellFormed},
	{"<aa></a>", ErrNotWellFormed},
	{"<a><b></a></b>", ErrNotWellFormed},
	{"<a></ a>", ErrNotWellFormed},
	{"<a></a b=''>", ErrNotWellFormed},
	{"<a></a/>", ErrNotWellFormed},
	{"<x:a xmlns:x='u' xmlns:y='u'></y:a>", ErrNotWellFormed},

	{"<a b/>", ErrNotWellFormed},
	{"<a b=c/>", ErrNotWellFormed},
	{"<a b='1'c='2'/>", ErrNotWellFormed},
	{"<a b='1\"/><c d='", ErrNotWellFormed},
	{"<a b='1' b='1'/>", ErrNotWellFormed},
	{"<a b='<'/>", ErrNotWellFormed},
	{"<a b=\"\x01\"/>", ErrNotWellFormed},
	{"<a b='\xE9'/>", ErrNotWellFormed},
	{"<a 'b'/>", ErrNotWellFormed},
	{"<a ='b'/>", ErrNotWellFormed},
	{"<a b=='c'/>", ErrNotWellFormed},
	{"<a b 'c'/>", ErrNotWellFormed},
	{"<ab='c'/>", ErrNotWellFormed},
	{"<a b='\uFFFF'/>", ErrNotWellFormed},

	{"<a>]]></a>", ErrNotWellFormed},
	{"<a>]]]></a>", ErrNotWellFormed},
	{"<a>\x0B</a>", ErrNotWellFormed},
	{"<a>\x7F\x1F</a>", ErrNotWellFormed},
	{"<a>\xC0\x80</a>", ErrNotWellFormed},
	{"<a>\xED\xA0\x80</a>", ErrNotWellFormed},
	{"<a>\xF4\x90\x80\x80</a>", ErrNotWellFormed},
	{"<a>\uFFFE</a>", ErrNotWellFormed},
	{"<a>\xE2\x82<b/></a>", ErrNotWellFormed},
	{"<a><![CDATA[\x00]]></a>", ErrNotWellFormed},
	{"<a><![CDATA[\xFE]]></a>", ErrNotWellFormed},
	{"<a><![cdata[]]></a>", ErrNotWellFormed},
	{"<a><![CDATA []]></a>", ErrNotWellFormed},
	{"<a><!></a>", ErrNotWellFormed},

	{"<a>&</a>", ErrNotWellFormed},
	{"<a>& amp;</a>", ErrNotWellFormed},
	{"<a>&amp</a>", ErrNotWellFormed},
	{"<a>&;</a>", ErrNotWellFormed},
	{"<a>&#;</a>", ErrNotWellFormed},
	{"<a>&#x;</a>", ErrNotWellFormed},
	{"<a>&#a;</a>", ErrNotWellFormed},
	{"<a>&#xg;</a>", ErrNotWellFormed},
	{"<a>&#X41;</a>", ErrNotWellFormed},
	{"<a>&#0;</a>", ErrNotWellFormed},
	{"<a>&#8;</a>", ErrNotWellFormed},
	{"<a>&#xD800;</a>", ErrNotWellFormed},
	{"<a>&#xFFFE;</a>", ErrNotWellFormed},
	{"<a>&#x110000;</a>", ErrNotWellFormed},
	{"<a>&#4294967361;</a>", ErrNotWellFormed},
	{"<a b='&#1;'/>", ErrNotWellFormed},
	{"<a>&1;</a>", ErrNotWellFormed},
	{"<a b='&'/>", ErrNotWellFormed},

	{"<:a/>", ErrNotWellFormed},
	{"<a:/>", ErrNotWellFormed},
	{"<a:b:c xmlns:a='u'/>", ErrNotWellFormed},
	{"<a:1 xmlns:a='u'/>", ErrNotWellFormed},
	{"<a :b=''/>", ErrNotWellFormed},
	{"<a b:=''/>", ErrNotWellFormed},
	{"<a xmlns:=''/>", ErrNotWellFormed},
	{"<a xmlns:a:b='u'/>", ErrNotWellFormed},
	{"<x:a/>", ErrNotWellFormed},
	{"<a x:b=''/>", ErrNotWellFormed},
	{"<a><b xmlns:x='u'/><x:c/></a>", ErrNotWellFormed},
	{"<a xmlns:x=''/>", ErrNotWellFormed},
	{"<xmlns:a/>", ErrNotWellFormed},
	{"<a xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>", ErrNotWellFormed},
	{"<a xmlns:x='http://www.w3.org/2000/xmlns/'/>", ErrNotWellFormed},
	{"<a xmlns='http://www.w3.org/2000/xmlns/'/>", ErrNotWellFormed},
	{"<a xmlns:x='http://www.w3.org/XML/1998/namespace'/>", ErrNotWellFormed},
	{"<a xmlns='http://www.w3.org/XML/1998/namespac&#101;'/>", ErrNotWellFormed},
	{"<a xmlns:xml='u'/>", ErrNotWellFormed},
	{"<a xmlns:x='u' xmlns:y='u' x:b='' y:b=''/>", ErrNotWellFormed},
	{"<a xmlns:x='u&amp;' xmlns:y='u&#38;' x:b='' y:b=''/>", ErrNotWellFormed},
	{"<a xmlns:x='u'><b xmlns:y='u' x:b='' y:b=''/></a>", ErrNotWellFormed},
	{"<a xmlns='u' xmlns='u'/>", ErrNotWellFormed},
	{"<a xmlns='a b'/>", ErrNotWellFormed},
	{"<a xmlns='a}b'/>", ErrNotWellFormed},
	{"<a xmlns:x='&#9;'/>", ErrNotWellFormed},
}

func TestGoodStanzasPassUnchanged(t *testing.T) {
	for _, in := range goodStanzas {
		for _, cuts := range []func(int) int{atOnce, byByte} {
			got, err := feed(New(Limits{}), []byte(testHeader+in+"<next/>"+testClose), cuts)
			if err != nil || len(got) != 4 || got[1] != "2 "+in {
				t.Errorf("%q: %q, %v", in, got, err)
			}
		}
	}
}

func TestBadStanzasAreRefused(t *testing.T) {
	for _, tt := range badStanzas {
		once, err := feed(New(Limits{}), []byte(testHeader+tt.in+"<next/>"), atOnce)
		if !errors.Is(err, tt.want) || len(once) != 1 {
			t.Errorf("%q: %q, %v, want %v", tt.in, once, err, tt.want)
		}
		if _, dripped := feed(New(Limits{}), []byte(testHeader+tt.in+"<next/>"), byByte); !sameError(err, dripped) {
			t.Errorf("%q: %v, but byte by byte %v", tt.in, err, dripped)
		}
		if err != nil && strings.Contains(err.Error(), "example.com") {
			t.Errorf("%q: error repeats input: %v", tt.in, err)
		}
	}
}

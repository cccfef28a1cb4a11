package framer

import (
	"testing"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	tests := []struct{ in, text, attr string }{
		{"", "", ""},
		{"plain é \U0001F600", "plain é \U0001F600", "plain é \U0001F600"},
		{"<&>", "&lt;&amp;&gt;", "&lt;&amp;&gt;"},
		{"'\"", "'\"", "&apos;&quot;"},
		{"\t\n\r", "\t\n&#xD;", "&#x9;&#xA;&#xD;"},
		{"]]>", "]]&gt;", "]]&gt;"},
		{"a\x00b\xFFc\uFFFEd\xE2\x82", "a\uFFFDb\uFFFDc\uFFFD\uFFFD\uFFFDd\uFFFD\uFFFD", "a\uFFFDb\uFFFDc\uFFFD\uFFFD\uFFFDd\uFFFD\uFFFD"},
	}
	for _, tt := range tests {
		if got := string(AppendEscapedText([]byte("+"), tt.in)); got != "+"+tt.text {
			t.Errorf("text %q: got %q, want %q", tt.in, got, tt.text)
		}
		if got := string(AppendEscapedAttr([]byte("+"), []byte(tt.in))); got != "+"+tt.attr {
			t.Errorf("attribute %q: got %q, want %q", tt.in, got, tt.attr)
		}
	}
}

func TestUnescape(t *testing.T) {
	tests := []struct{ in, text, attr string }{
		{"", "", ""},
		{"a&amp;b&lt;&gt;&apos;&quot;", "a&b<>'\"", "a&b<>'\""},
		{"&#65;&#x1F600;&#xD;&#0065;", "A\U0001F600\rA", "A\U0001F600\rA"},
		{"a\r\nb\rc\nd\te\r\r\n", "a\nb\nc\nd\te\n\n", "a b c d e  "},
		{"&amp;lt;", "&lt;", "&lt;"},
		{"&;&x;&#;&#x;&#0;&#xD800;&#1114112;&", "&;&x;&#;&#x;&#0;&#xD800;&#1114112;&", "&;&x;&#;&#x;&#0;&#xD800;&#1114112;&"},
	}
	for _, tt := range tests {
		if got := string(Unescape([]byte("+"), []byte(tt.in))); got != "+"+tt.text {
			t.Errorf("text %q: got %q, want %q", tt.in, got, tt.text)
		}
		if got := string(UnescapeAttr([]byte("+"), []byte(tt.in))); got != "+"+tt.attr {
			t.Errorf("attribute %q: got %q, want %q", tt.in, got, tt.attr)
		}
	}
	for in, want := range map[string]string{
		"a<![CDATA[<b>&amp;\r\n]]]]>c": "a<b>&amp;\n]]c",
		"a<b c='>'>d</b>e<f/>":         "ade",
		"<![CDATA[":                    "",
		"<![CDATA[x":                   "x",
		"a<b":                          "a",
	} {
		if got := string(Unescape(nil, []byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestValidText(t *testing.T) {
	for in, want := range map[string]bool{
		"": true, "a<&>]]>\t\r\n\x7F\u0080": true, "é\uFFFD\U0010FFFF\uFDD0": true,
		"\x00": false, "\x0B": false, "\x1F": false, "\uFFFE": false, "\uFFFF": false,
		"\xC0\x80": false, "\xED\xA0\x80": false, "\xE2\x82": false, "\xF4\x90\x80\x80": false,
	} {
		if got := ValidText([]byte(in)); got != want {
			t.Errorf("%q: %t", in, got)
		}
	}
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if utf8.ValidRune(r) && ValidText(utf8.AppendRune(nil, r)) != isChar(r) {
			t.Fatalf("%U", r)
		}
	}
}

package framer

import (
	"bytes"
	"unicode/utf8"
)

// AppendEscapedText appends s as character data. Unescape gives the same bytes
// back, provided that ValidText accepts them; what XML cannot carry becomes
// U+FFFD, so that the result is always well-formed.
func AppendEscapedText[T string | []byte](dst []byte, s T) []byte {
	return appendEscaped(dst, s, isText, '\r')
}

// AppendEscapedAttr appends s for use in an attribute value, within quotes of
// either kind. UnescapeAttr gives the same bytes back, as AppendEscapedText
// says.
func AppendEscapedAttr[T string | []byte](dst []byte, s T) []byte {
	return appendEscaped(dst, s, isValue, '>')
}

// appendEscaped escapes each ASCII byte outside of the class, and the byte also.
func appendEscaped[T string | []byte](dst []byte, s T, plain uint8, also byte) []byte {
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if is(c, plain) && c != also {
			i++
			continue
		}
		if c >= 0x80 {
			var b [utf8.UTFMax]byte
			if w := charLen(b[:copy(b[:], s[i:])]); w > 0 {
				i += w
				continue
			}
		}
		dst = append(dst, s[from:i]...)
		dst = append(dst, escapeOf(c)...)
		i++
		from = i
	}
	return append(dst, s[from:]...)
}

// escapeOf returns what stands for a byte that cannot stand for itself.
func escapeOf(c byte) string {
	switch c {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '\'':
		return "&apos;"
	case '"':
		return "&quot;"
	case '\t':
		return "&#x9;"
	case '\n':
		return "&#xA;"
	case '\r':
		return "&#xD;"
	}
	return "\uFFFD"
}

// Unescape appends the text that src, the content of an element, stands for:
// references resolved, CDATA sections opened, line ends as XML 1.0 §2.11 has
// them. Tags of child elements are left out, their text is not.
func Unescape(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		n := plainLen(src[i:], "&<\r")
		dst = append(dst, src[i:i+n]...)
		i += n
		if i == len(src) {
			break
		}
		switch src[i] {
		case '&':
			dst, n = appendRef(dst, src[i:])
		case '\r':
			dst, n = append(dst, '\n'), lineEnd(src[i:])
		default:
			dst, n = appendSection(dst, src[i:])
		}
		i += n
	}
	return dst
}

// UnescapeAttr appends the text that src, an attribute value without its
// quotes, stands for: references resolved, white space as XML 1.0 §3.3.3 has it.
func UnescapeAttr(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		n := plainLen(src[i:], "&\t\n\r")
		dst = append(dst, src[i:i+n]...)
		i += n
		if i == len(src) {
			break
		}
		if src[i] == '&' {
			dst, n = appendRef(dst, src[i:])
		} else {
			dst, n = append(dst, ' '), lineEnd(src[i:])
		}
		i += n
	}
	return dst
}

// decodeAttr is UnescapeAttr that returns the value itself where that will do,
// as it nearly always does.
func decodeAttr(value []byte) []byte {
	for _, c := range value {
		if c == '&' || c < ' ' {
			return UnescapeAttr(nil, value)
		}
	}
	return value
}

// plainLen counts the bytes before the first one of stops.
func plainLen(b []byte, stops string) int {
	if i := bytes.IndexAny(b, stops); i >= 0 {
		return i
	}
	return len(b)
}

// lineEnd returns the length of the white space character or line end at the
// start of b.
func lineEnd(b []byte) int {
	if len(b) > 1 && b[0] == '\r' && b[1] == '\n' {
		return 2
	}
	return 1
}

// appendRef appends what the reference at the start of b stands for, and
// returns its length. A '&' that begins no reference stands for itself.
func appendRef(dst, b []byte) ([]byte, int) {
	end := 1
	for end < len(b) && (is(b[end], isName) || b[end] == '#') {
		end++
	}
	if end < 3 || end == len(b) || b[end] != ';' {
		return append(dst, '&'), 1
	}
	name := b[1:end]
	if name[0] == '#' {
		if r, ok := charRef(name[1:]); ok {
			return utf8.AppendRune(dst, r), end + 1
		}
		return append(dst, '&'), 1
	}
	var packed uint32
	for _, c := range name {
		packed = packed<<8 | uint32(c)
	}
	if c := predefined(packed, len(name)); c != 0 {
		return append(dst, c), end + 1
	}
	return append(dst, '&'), 1
}

// charRef reads a character reference without its "&#" and ";".
func charRef(b []byte) (rune, bool) {
	radix := uint32(10)
	if len(b) > 0 && b[0] == 'x' {
		radix, b = 16, b[1:]
	}
	if len(b) == 0 {
		return 0, false
	}
	var r uint32
	for _, c := range b {
		v := digit(c)
		if v >= radix {
			return 0, false
		}
		r = min(r*radix+v, 0x110000)
	}
	return rune(r), isChar(rune(r))
}

// appendSection appends the text of the CDATA section at the start of b, or
// nothing of a tag, and returns the length of either.
func appendSection(dst, b []byte) ([]byte, int) {
	const open, end = "<!" + cdataOpen, "]]>"
	if !bytes.HasPrefix(b, []byte(open)) {
		if n := tagLen(b); n > 0 {
			return dst, n
		}
		return dst, len(b)
	}
	text, _, found := bytes.Cut(b[len(open):], []byte(end))
	n := len(open) + len(text)
	if found {
		n += len(end)
	}
	for i := 0; i < len(text); {
		w := plainLen(text[i:], "\r")
		dst = append(dst, text[i:i+w]...)
		if i += w; i < len(text) {
			dst = append(dst, '\n')
			i += lineEnd(text[i:])
		}
	}
	return dst, n
}

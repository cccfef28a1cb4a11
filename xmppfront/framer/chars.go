package framer

import (
	"encoding/binary"
	"math/bits"
	"sort"
	"unicode/utf8"
)

// The classes of ASCII bytes, as bits of class.
const (
	isText   = 1 << iota // stands for itself in character data, with no look back
	isValue              // stands for itself in an attribute value of either quote
	isCDATA              // stands for itself in a CDATA section, with no look back
	isStart              // may start a name
	isName               // may stand in a name
	isSpace              // white space, XML 1.0 §2.3
	isNSName             // may stand in a namespace name: RFC 3986 characters
)

var class = classes()

func classes() (t [256]uint8) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = isText | isValue | isCDATA
	}
	for _, c := range "\t\n\r" {
		t[c] = isText | isCDATA | isSpace
	}
	t[' '] |= isSpace
	for _, c := range "<&>" {
		t[c] &^= isText
	}
	t['>'] &^= isCDATA
	for _, c := range "<&'\"" {
		t[c] &^= isValue
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= isStart | isName | isNSName
		t[c-'a'+'A'] |= isStart | isName | isNSName
	}
	t['_'] |= isStart
	for _, c := range "0123456789-._" {
		t[c] |= isName | isNSName
	}
	for _, c := range "~:/?#[]@!$&'()*+,;=%" {
		t[c] |= isNSName
	}
	return t
}

func is(c byte, bits uint8) bool { return class[c]&bits != 0 }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainText returns the offset, from i on, of the first byte of d that isText
// may not hold for: eight bytes at a time, so less than eight are left over.
// Subtracting n from each byte of a word sets the high bit of the bytes below
// n; a borrow disturbs only bytes above such a one. Bytes from 0x80 on keep
// theirs in one term or another.
func plainText(d []byte, i int) int {
	for ; i+8 <= len(d); i += 8 {
		w := binary.LittleEndian.Uint64(d[i:])
		stop := (w - 0x20*ones) | ((w ^ '&'*ones) - ones) | (((w | 2*ones) ^ '>'*ones) - ones) // '<'|2 == '>'
		if stop &= highs; stop != 0 {
			return i + bits.TrailingZeros64(stop)>>3
		}
	}
	return i
}

// plainValue is plainText for isValue.
func plainValue(d []byte, i int) int {
	for ; i+8 <= len(d); i += 8 {
		w := binary.LittleEndian.Uint64(d[i:])
		stop := (w - 0x20*ones) | ((w ^ '<'*ones) - ones) | ((w ^ '"'*ones) - ones) | (((w | ones) ^ '\''*ones) - ones) // '&'|1 == '\''
		if stop &= highs; stop != 0 {
			return i + bits.TrailingZeros64(stop)>>3
		}
	}
	return i
}

// charLen returns the length of the character that b starts with: 0 when b ends
// within it, -1 when it is not UTF-8 or not a Char of XML 1.0 §2.2. The first
// byte must be 0x80 or above.
func charLen(b []byte) int {
	// Most text beyond ASCII: U+0080 to U+07FF, U+1000 to U+CFFF.
	if c := b[0]; len(b) > 2 && b[1]&0xC0 == 0x80 {
		if c >= 0xC2 && c < 0xE0 {
			return 2
		}
		if c > 0xE0 && c < 0xED && b[2]&0xC0 == 0x80 {
			return 3
		}
	}
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError && n <= 1 {
		if utf8.FullRune(b) {
			return -1
		}
		return 0
	}
	if r == 0xFFFE || r == 0xFFFF {
		return -1
	}
	return n
}

// nameLen is charLen for a character of a name, or the first of one.
func nameLen(b []byte, first bool) int {
	n := charLen(b)
	if n <= 0 {
		return n
	}
	r, _ := utf8.DecodeRune(b)
	if inRanges(nameStartRanges[:], r) || !first && inRanges(nameExtraRanges[:], r) {
		return n
	}
	return -1
}

func inRanges(ranges [][2]uint16, r rune) bool {
	i := sort.Search(len(ranges), func(i int) bool { return rune(ranges[i][1]) >= r })
	return i < len(ranges) && rune(ranges[i][0]) <= r
}

// isChar reports whether XML 1.0 §2.2 allows the code point.
func isChar(r rune) bool {
	switch {
	case r < 0x20:
		return r == '\t' || r == '\n' || r == '\r'
	case r < 0xD800:
		return true
	}
	return r >= 0xE000 && r <= utf8.MaxRune && r != 0xFFFE && r != 0xFFFF
}

// ValidText reports whether b is UTF-8 of nothing but characters that XML 1.0
// §2.2 allows, so that it can travel in a stream as text.
func ValidText(b []byte) bool {
	for i := 0; i < len(b); {
		if b[i] < 0x80 {
			if !is(b[i], isCDATA) && b[i] != '>' {
				return false
			}
			i++
			continue
		}
		n := charLen(b[i:])
		if n <= 0 {
			return false
		}
		i += n
	}
	return true
}

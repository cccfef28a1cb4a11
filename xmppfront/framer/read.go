package framer

import "bytes"

// The functions here read bytes that the framer has checked. They trust what
// they see as far as finding ends goes, and on other input return nonsense, or
// the negative that their comment names, but stay within the bytes given.

// readTag reads the start tag at the start of b. The element's names are not
// resolved yet; tag is the tag's length.
func readTag(b []byte) (e Element, tag int, ok bool) {
	tag = tagLen(b)
	if tag < 3 || b[0] != '<' {
		return e, 0, false
	}
	end := tag - 1
	if b[end-1] == '/' {
		end--
	}
	i := 1
	for i < end && !is(b[i], isSpace) {
		i++
	}
	if i == 1 {
		return e, 0, false
	}
	e.prefix, e.Name = splitName(b[1:i])
	e.attrs = b[i:end]
	return e, tag, true
}

// tagLen returns the length of the tag at the start of b, -1 when it does not
// end.
func tagLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch c := b[i]; c {
		case '>':
			return i + 1
		case '"', '\'':
			n := bytes.IndexByte(b[i+1:], c)
			if n < 0 {
				return -1
			}
			i += n + 1
		}
	}
	return -1
}

// cdataLen returns the length of the CDATA section at the start of b, 0 when
// something else stands there.
func cdataLen(b []byte) int {
	if len(b) < 2 || b[1] != '!' {
		return 0
	}
	if i := bytes.Index(b, []byte("]]>")); i >= 0 {
		return i + len("]]>")
	}
	return len(b)
}

// elementLen returns the length of the element at the start of b, and the
// offset of its end tag (its length without one); -1 when it does not end.
func elementLen(b []byte) (n, inner int) {
	for depth := 0; ; {
		i := bytes.IndexByte(b[n:], '<')
		if i < 0 {
			return -1, 0
		}
		n += i
		if w := cdataLen(b[n:]); w > 0 {
			n += w
			continue
		}
		w := tagLen(b[n:])
		if w < 2 {
			return -1, 0
		}
		inner = n
		n += w
		switch {
		case b[inner+1] == '/':
			depth--
		case b[n-2] != '/':
			depth++
		case depth == 0:
			inner = n
		}
		if depth <= 0 {
			return n, inner
		}
	}
}

// nextAttr takes the first attribute from what follows a start tag's name; a
// nil name says that there is none.
func nextAttr(b []byte) (name, value, rest []byte) {
	s := trimSpace(b)
	i := 0
	for i < len(s) && s[i] != '=' && !is(s[i], isSpace) {
		i++
	}
	eq := i
	for eq < len(s) && s[eq] != '"' && s[eq] != '\'' {
		eq++
	}
	if i == 0 || eq == len(s) {
		return nil, nil, b
	}
	v := s[eq+1:]
	end := bytes.IndexByte(v, s[eq])
	if end < 0 {
		return nil, nil, b
	}
	return s[:i], v[:end:end], v[end+1:]
}

// findAttr returns the raw value of the attribute with that prefix and local
// name, of all that follows a start tag's name.
func findAttr(attrs []byte, prefix, local string) ([]byte, bool) {
	for {
		var name, value []byte
		if name, value, attrs = nextAttr(attrs); name == nil {
			return nil, false
		}
		p, l := splitName(name)
		if string(p) == prefix && string(l) == local {
			return value, true
		}
	}
}

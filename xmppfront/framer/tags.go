package framer

import "bytes"

// name passes the name of a start tag.
func (f *Framer) name(d []byte) verdict {
	i, v := f.passName(d)
	if v != onward {
		return v
	}
	if f.elems == nil {
		f.elems = make([]elem, 0, 8)
	}
	f.elems = append(f.elems, elem{span{int32(f.mark), int32(i)}, uint16(len(f.binds))})
	f.named = f.colon >= 0
	f.pos, f.spaced, f.state = i, false, inTag
	return f.tag(d)
}

// passName goes to the end of the name that began at mark, and checks that it
// is a QName (Namespaces in XML 1.0 §4). With onward, the name ends at the
// offset returned and a byte stands there.
func (f *Framer) passName(d []byte) (int, verdict) {
	i := f.pos
	for ; i < len(d); i++ {
		c := d[i]
		if is(c, isName) {
			continue
		}
		if c == ':' {
			if f.colon >= 0 || i == f.mark {
				return i, f.fail(ErrNotWellFormed, detailColon, i)
			}
			f.colon = i
			continue
		}
		if c < 0x80 {
			break
		}
		n := nameLen(d[i:], i == f.mark || i == f.colon+1)
		if n < 0 {
			return i, f.fail(ErrNotWellFormed, detailName, i)
		}
		if n == 0 {
			f.pos = i
			return i, starved
		}
		i += n - 1
	}
	f.pos = i
	if i == len(d) {
		return i, starved
	}
	if f.colon >= 0 {
		if c := d[f.colon+1]; f.colon+1 == i || c < 0x80 && !is(c, isStart) {
			return i, f.fail(ErrNotWellFormed, detailColon, f.colon)
		}
	}
	return i, onward
}

// tag passes white space within a start tag, up to an attribute or its end.
func (f *Framer) tag(d []byte) verdict {
	i := f.pos
	for i < len(d) && is(d[i], isSpace) {
		i++
		f.spaced = true
	}
	f.pos = i
	if i == len(d) {
		return starved
	}
	c := d[i]
	if c == '>' {
		f.pos++
		f.empty = false
		return f.endStartTag(d)
	}
	if is(c, isStart) || c >= 0x80 {
		return f.openAttr(d, i)
	}
	if c == '/' {
		f.pos, f.state = i+1, afterSlash
		return onward
	}
	return f.fail(ErrNotWellFormed, detailTag, i)
}

// slash expects the '>' of an empty-element tag.
func (f *Framer) slash(d []byte) verdict {
	if d[f.pos] != '>' {
		return f.fail(ErrNotWellFormed, detailTag, f.pos)
	}
	f.pos++
	f.empty = true
	return f.endStartTag(d)
}

// openAttr begins an attribute whose name starts at i.
func (f *Framer) openAttr(d []byte, i int) verdict {
	if !f.spaced {
		return f.fail(ErrNotWellFormed, detailAttrSpace, i)
	}
	if len(f.attrs) >= f.limits.Attrs {
		return f.fail(ErrPolicy, detailAttrCount, i)
	}
	f.mark, f.colon, f.refs, f.state = i, -1, false, inAttrName
	return f.attrName(d)
}

// attrName passes the name of an attribute.
func (f *Framer) attrName(d []byte) verdict {
	i, v := f.passName(d)
	if v != onward {
		return v
	}
	if f.colon >= 0 || i-f.mark == len("xmlns") && string(d[f.mark:i]) == "xmlns" {
		f.named = true
	}
	if f.attrs == nil {
		f.attrs = make([]attr, 0, 8)
	}
	f.attrs = append(f.attrs, attr{name: span{int32(f.mark), int32(i)}, colon: int32(f.colon)})
	if i+2 < len(d) && d[i] == '=' && (d[i+1] == '"' || d[i+1] == '\'') {
		f.quote, f.mark, f.pos, f.state = d[i+1], i+2, i+2, inValue // as nearly all write it
		return f.value(d)
	}
	f.state = beforeEquals
	return f.equals(d)
}

// equals expects the '=' of an attribute.
func (f *Framer) equals(d []byte) verdict {
	i := f.pos
	for i < len(d) && is(d[i], isSpace) {
		i++
	}
	f.pos = i
	if i == len(d) {
		return starved
	}
	if d[i] != '=' {
		return f.fail(ErrNotWellFormed, detailAttrEquals, i)
	}
	f.pos, f.state = i+1, beforeValue
	return onward
}

// openQuote expects the opening quote of an attribute value.
func (f *Framer) openQuote(d []byte) verdict {
	i := f.pos
	for i < len(d) && is(d[i], isSpace) {
		i++
	}
	f.pos = i
	if i == len(d) {
		return starved
	}
	if d[i] != '"' && d[i] != '\'' {
		return f.fail(ErrNotWellFormed, detailAttrQuote, i)
	}
	f.quote, f.mark, f.pos, f.state = d[i], i+1, i+1, inValue
	return f.value(d)
}

// value passes an attribute value up to its closing quote.
func (f *Framer) value(d []byte) verdict {
	i := plainValue(d, f.pos)
	for i < len(d) {
		c := d[i]
		if is(c, isValue) {
			i++
			continue
		}
		if c == f.quote {
			a := &f.attrs[len(f.attrs)-1]
			a.value, a.refs = span{int32(f.mark), int32(i)}, f.refs
			f.pos, f.spaced, f.state = i+1, false, inTag
			return onward
		}
		if is(c, isSpace) || c == '"' || c == '\'' {
			i++
			continue
		}
		if c == '&' {
			f.pos, f.refs, f.back, f.state = i+1, true, inValue, afterAmp
			return onward
		}
		if c == '<' {
			return f.fail(ErrNotWellFormed, detailAttrLess, i)
		}
		n, v := f.beyondASCII(d, i)
		if n <= 0 {
			return v
		}
		i += n
	}
	f.pos = i
	return starved
}

// endStartTag checks what only a whole start tag shows.
func (f *Framer) endStartTag(d []byte) verdict {
	if len(f.attrs) > 1 && f.sameAttr(d) {
		return f.fail(ErrNotWellFormed, detailAttrTwice, f.pos-1)
	}
	if f.named {
		if v := f.namespaces(d); v != onward {
			return v
		}
	}
	if f.phase == inHeader {
		return whole // Framer.header reads the attributes
	}
	if len(f.attrs) > 0 {
		f.attrs = f.attrs[:0]
	}
	if f.empty {
		return f.closeElement()
	}
	f.state = inText
	return onward
}

// sameAttr finds two attributes of the same name. XML 1.0 §3.1
func (f *Framer) sameAttr(d []byte) bool {
	for i := range f.attrs {
		a := f.attrs[i].name
		for _, b := range f.attrs[:i] {
			if a.len() == b.name.len() && bytes.Equal(a.of(d), b.name.of(d)) {
				return true
			}
		}
	}
	return false
}

package framer

import "bytes"

// bind is a prefix declaration in scope.
type bind struct {
	prefix  span
	uri     span
	id      uint16 // the index of the first declaration in scope with an equal uri
	decoded bool   // uri is a range of Framer.decoded, not of the part
}

// Results of lookup beside indices of Framer.binds.
const (
	bindXML    = -1 // the prefix "xml", which needs no declaration
	bindStream = -2 // the stream's own prefix
	bindNone   = -3
)

// namespaces checks the current start tag against Namespaces in XML 1.0, and
// takes in its declarations.
func (f *Framer) namespaces(d []byte) verdict {
	for i := range f.attrs {
		if v := f.declare(d, &f.attrs[i]); v != onward {
			return v
		}
	}
	e := &f.elems[len(f.elems)-1]
	if i := bytes.IndexByte(e.name.of(d), ':'); i >= 0 {
		if _, v := f.lookup(d, span{e.name.from, e.name.from + int32(i)}, len(f.elems) == 1); v != onward {
			return v
		}
	}
	return f.sameExpanded(d)
}

// declare takes in the attribute if it is a declaration.
func (f *Framer) declare(d []byte, a *attr) verdict {
	name := a.name.of(d)
	prefixed := a.colon == a.name.from+int32(len("xmlns"))
	if !(prefixed || len(name) == len("xmlns")) || string(name[:len("xmlns")]) != "xmlns" {
		return onward
	}
	b := bind{uri: a.value}
	if a.refs {
		from := len(f.decoded)
		f.decoded = UnescapeAttr(f.decoded, a.value.of(d))
		b.uri, b.decoded = span{int32(from), int32(len(f.decoded))}, true
	}
	uri := f.uri(d, b)
	if detail := badDeclaration(name, uri); detail != "" {
		return f.fail(ErrNotWellFormed, detail, int(a.name.from))
	}
	if !prefixed {
		return onward // nothing here depends on the default namespace
	}
	b.prefix = span{a.colon + 1, a.name.to}
	if len(f.binds) >= f.limits.Attrs {
		return f.fail(ErrPolicy, detailAttrCount, int(a.name.from)) // lookups are linear
	}
	b.id = uint16(len(f.binds))
	for i, o := range f.binds {
		if bytes.Equal(f.uri(d, o), uri) {
			b.id = uint16(i)
			break
		}
	}
	if f.binds == nil {
		f.binds = make([]bind, 0, 4)
	}
	f.binds = append(f.binds, b)
	return onward
}

// uri returns the namespace name of a declaration.
func (f *Framer) uri(d []byte, b bind) []byte {
	if b.decoded {
		return b.uri.of(f.decoded)
	}
	return b.uri.of(d)
}

// badDeclaration says what is wrong with declaring name ("xmlns" or
// "xmlns:prefix") as uri, "" if nothing.
func badDeclaration(name, uri []byte) string {
	prefix := ""
	if len(name) > len("xmlns:") {
		prefix = string(name[len("xmlns:"):])
	}
	// Namespaces in XML 1.0 §3, "Reserved Prefixes and Namespace Names"
	switch {
	case prefix == "xmlns":
		return detailNSReserved
	case prefix == "xml":
		if string(uri) != NSXML {
			return detailNSReserved
		}
		return ""
	case string(uri) == NSXML || string(uri) == nsXMLNS:
		return detailNSBound
	case prefix != "" && len(uri) == 0:
		return detailNSEmpty // "No Prefix Undeclaring"
	}
	// The namespace name must be a URI reference (§2.2). Not idle: some parsers
	// give up on one that holds the character with which they join names.
	for _, c := range uri {
		if c < 0x80 && !is(c, isNSName) {
			return detailNSChar
		}
	}
	return ""
}

// lookup finds what a prefix is bound to. own says whether the stream's own
// prefix may serve.
func (f *Framer) lookup(d []byte, prefix span, own bool) (int, verdict) {
	p := prefix.of(d)
	for i := len(f.binds) - 1; i >= 0; i-- {
		if bytes.Equal(f.binds[i].prefix.of(d), p) {
			return int(f.binds[i].id), onward
		}
	}
	if string(p) == "xml" {
		return bindXML, onward
	}
	for i, foreign := range f.foreign {
		if string(p) != foreign {
			continue
		}
		// Only the name of a first-level element, such as <stream:error/>, may
		// use the stream's prefix: whoever copies stanzas never copies those.
		if own && i == 0 {
			return bindStream, onward
		}
		return bindNone, f.fail(ErrNamespacePrefix, detailForeign, int(prefix.from))
	}
	return bindNone, f.fail(ErrNotWellFormed, detailNSUnbound, int(prefix.from))
}

// sameExpanded resolves the attributes' prefixes, and refuses two attributes of
// one local name and namespace. Namespaces in XML 1.0 §6.3
func (f *Framer) sameExpanded(d []byte) verdict {
	for i := range f.attrs {
		a := &f.attrs[i]
		if a.colon < 0 {
			continue
		}
		prefix := span{a.name.from, a.colon}
		if string(prefix.of(d)) == "xmlns" {
			a.colon = -1
			continue
		}
		id, v := f.lookup(d, prefix, false)
		if v != onward {
			return v
		}
		local := d[a.colon+1 : a.name.to]
		a.ns = int16(id)
		for _, b := range f.attrs[:i] {
			if b.colon >= 0 && b.ns == int16(id) && bytes.Equal(d[b.colon+1:b.name.to], local) {
				return f.fail(ErrNotWellFormed, detailAttrSame, int(a.name.from))
			}
		}
	}
	return onward
}

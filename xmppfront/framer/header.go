package framer

import "bytes"

// Header is what a stream header says. RFC 6120 §4.7, §4.8
type Header struct {
	To, From, ID, Version, Lang string // as sent, references resolved; "" when absent

	DefaultNS string // the content namespace, such as "jabber:client"; "" when undeclared
	Prefix    string // the prefix of the stream's namespace, "" when it is the default one
}

const declOpen = "<?xml"

// declaration collects an XML declaration up to its '>', which no valid one
// holds elsewhere.
func (f *Framer) declaration(d []byte) verdict {
	for ; f.pos < len(d); f.pos++ {
		c := d[f.pos]
		if f.pos < len(declOpen) && c != declOpen[f.pos] || f.pos == len(declOpen) && !is(c, isSpace) {
			return f.fail(ErrRestrictedXML, detailPI, f.pos)
		}
		if c != '>' {
			continue
		}
		detail, kind := checkDecl(d[len(declOpen):f.pos])
		if kind != nil {
			return f.fail(kind, detail, f.pos)
		}
		f.pos++
		f.noDecl, f.state = true, afterDecl
		return onward
	}
	return starved
}

// checkDecl checks what stands between "<?xml" and '>'. XML 1.0 §2.8
func checkDecl(b []byte) (detail string, kind error) {
	b, ok := bytes.CutSuffix(b, []byte("?"))
	if !ok {
		return detailDecl, ErrNotWellFormed
	}
	value, b := declPart(b, "version")
	if string(value) != "1.0" {
		return detailDecl, ErrNotWellFormed
	}
	if value, rest := declPart(b, "encoding"); value != nil {
		if !bytes.EqualFold(value, []byte("UTF-8")) {
			return detailEncoding, ErrUnsupportedEncoding // RFC 6120 §11.6
		}
		b = rest
	}
	if value, rest := declPart(b, "standalone"); value != nil {
		if s := string(value); s != "yes" && s != "no" {
			return detailDecl, ErrNotWellFormed
		}
		b = rest
	}
	if len(trimSpace(b)) > 0 {
		return detailDecl, ErrNotWellFormed
	}
	return "", nil
}

// declPart takes ` name = "value"` from the front of b; a nil value says that
// something else stands there.
func declPart(b []byte, name string) (value, rest []byte) {
	s := trimSpace(b)
	if len(s) == len(b) {
		return nil, b
	}
	s, ok := bytes.CutPrefix(s, []byte(name))
	if !ok {
		return nil, b
	}
	s, ok = bytes.CutPrefix(trimSpace(s), []byte("="))
	if s = trimSpace(s); !ok || len(s) == 0 || s[0] != '"' && s[0] != '\'' {
		return nil, b
	}
	end := bytes.IndexByte(s[1:], s[0])
	if end < 0 {
		return nil, b
	}
	return s[1 : 1+end : 1+end], s[2+end:]
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && is(b[0], isSpace) {
		b = b[1:]
	}
	return b
}

// misc expects the header, after white space.
func (f *Framer) misc(d []byte) verdict {
	for ; f.pos < len(d); f.pos++ {
		c := d[f.pos]
		if is(c, isSpace) {
			continue
		}
		if c != '<' {
			return f.fail(ErrBadFormat, detailTextOutside, f.pos)
		}
		f.pos++
		f.state = afterLess
		return onward
	}
	return starved
}

// header reads the stream header, whose start tag was just checked, and
// remembers the prefixes that it declares.
func (f *Framer) header(d []byte) (*Header, error) {
	h := new(Header)
	for _, a := range f.attrs {
		h.set(a.name.of(d), a.value.of(d))
	}
	f.attrs = f.attrs[:0]
	name := f.elems[0].name.of(d)
	prefix, local := splitName(name)
	h.Prefix = string(prefix)
	space := ""
	if prefix == nil {
		space = h.DefaultNS
	}
	f.foreign = append(f.foreign[:0], h.Prefix)
	for _, b := range f.binds {
		p := string(b.prefix.of(d))
		if p == h.Prefix {
			space = string(f.uri(d, b))
		} else if p != "xml" {
			f.foreign = append(f.foreign, p)
		}
	}
	switch {
	case string(local) != "stream":
		f.fail(ErrBadFormat, detailRoot, 0)
	case space != NSStreams: // RFC 6120 §4.8.1
		f.fail(ErrInvalidNamespace, detailRootSpace, 0)
	case f.empty:
		f.fail(ErrBadFormat, detailRootEmpty, f.pos-1)
	}
	f.root = bytes.Clone(name)
	return h, f.err
}

// set takes in one attribute.
func (h *Header) set(name, value []byte) {
	var field *string
	switch string(name) {
	case "to":
		field = &h.To
	case "from":
		field = &h.From
	case "id":
		field = &h.ID
	case "version":
		field = &h.Version
	case "xml:lang":
		field = &h.Lang
	case "xmlns":
		field = &h.DefaultNS
	default:
		return
	}
	*field = string(decodeAttr(value))
}

// splitName splits a qualified name; the prefix is nil without a colon.
func splitName(name []byte) (prefix, local []byte) {
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return nil, name
}

package framer

import (
	"bytes"
	"errors"
)

// errNotElement says that Parse was given what Framer never yields.
var errNotElement = errors.New("not a whole element")

// Element is an element of a stanza, as ranges of the stanza's bytes.
//
// Names, namespaces and attribute values are as a reader of XML sees them: a
// value that was written with references is resolved (into new memory, the only
// case that allocates), so that no spelling escapes a comparison. To write one
// into a stream it must be escaped again.
type Element struct {
	Name  []byte // local name
	Space []byte // namespace; empty for none
	Raw   []byte // from '<' to '>'
	Inner []byte // between the tags, unresolved; see Unescape

	prefix  []byte
	attrs   []byte // from the name's end to the '>' or "/>"
	content []byte // default namespace within
	scope   *scope // prefixes declared around the element
	own     bool   // declares prefixes
}

// scope is an ancestor that declares prefixes. Its declarations are read once,
// however many descendants use them.
type scope struct {
	up    *scope
	decls []decl
}

type decl struct{ prefix, space []byte }

func newScope(up *scope, attrs []byte) *scope {
	s := &scope{up: up}
	for {
		var name, value []byte
		if name, value, attrs = nextAttr(attrs); name == nil {
			return s
		}
		if kind, prefix := splitName(name); string(kind) == "xmlns" {
			s.decls = append(s.decls, decl{prefix, decodeAttr(value)})
		}
	}
}

// find returns what the scope itself binds a prefix to.
func (s *scope) find(prefix []byte) (space []byte, ok bool) {
	for _, d := range s.decls {
		if bytes.Equal(d.prefix, prefix) {
			return d.space, true
		}
	}
	return nil, false
}

// Stanza is a first-level element. One value may be parsed into again and again.
type Stanza struct {
	Element
	To, From, ID, Type, Lang []byte // attributes, nil when absent; Lang is xml:lang

	NameEnd  int // offset in Raw after the name: here an attribute can be put in
	TagEnd   int // offset in Raw after the start tag
	InnerEnd int // offset in Raw of the end tag; TagEnd when there is none
}

// Parse reads a stanza that Framer yielded into st, which refers to raw.
// defaultNS is the namespace that the stream declares as its default one. Parse
// does not check raw again: of other input it makes an error or nonsense, never
// a panic.
func Parse(raw []byte, defaultNS string, st *Stanza) error {
	e, tag, ok := readTag(raw)
	if !ok {
		return errNotElement
	}
	*st = Stanza{Element: e, NameEnd: tag - len(e.attrs) - 1, TagEnd: tag, InnerEnd: tag}
	st.Raw = raw
	if raw[tag-2] == '/' {
		st.NameEnd--
	}
	if tag < len(raw) {
		// The framer's stanzas end where their end tag does.
		st.InnerEnd = max(tag, bytes.LastIndexByte(raw, '<'))
		st.Inner = raw[tag:st.InnerEnd]
	}
	st.content = nsBytes(defaultNS)
	for rest := st.attrs; ; {
		var name, value []byte
		if name, value, rest = nextAttr(rest); name == nil {
			break
		}
		st.set(name, value)
		st.declare(name, value)
	}
	st.name()
	return nil
}

// nsBytes avoids a copy for the one namespace that nearly all streams have.
func nsBytes(s string) []byte {
	if s == NSClient {
		return nsClient
	}
	return []byte(s)
}

var (
	nsClient  = []byte(NSClient)
	nsStreams = []byte(NSStreams)
	nsXML     = []byte(NSXML)
)

// set takes in one attribute.
func (st *Stanza) set(name, value []byte) {
	var field *[]byte
	switch string(name) {
	case "to":
		field = &st.To
	case "from":
		field = &st.From
	case "id":
		field = &st.ID
	case "type":
		field = &st.Type
	case "xml:lang":
		field = &st.Lang
	default:
		return
	}
	*field = decodeAttr(value)
}

// AppendWithFrom appends the stanza with its from attribute set to from (not
// yet escaped) and all else as it is. RFC 6120 §8.1.2.1
func (st *Stanza) AppendWithFrom(dst, from []byte) []byte {
	dst = append(dst, st.Raw[:st.NameEnd]...)
	dst = append(dst, " from='"...)
	dst = AppendEscapedAttr(dst, from)
	dst = append(dst, '\'')
	rest := st.attrs
	for {
		name, _, after := nextAttr(rest)
		if name == nil {
			break
		}
		if string(name) != "from" {
			dst = append(dst, rest[:len(rest)-len(after)]...)
		}
		rest = after
	}
	return append(dst, st.Raw[st.NameEnd+len(st.attrs)-len(rest):]...)
}

// Attr returns the value of the attribute of that name and no namespace.
func (e Element) Attr(local string) ([]byte, bool) {
	value, ok := findAttr(e.attrs, "", local)
	if !ok || local == "xmlns" {
		return nil, false
	}
	return decodeAttr(value), true
}

// Empty reports whether the element has neither content nor attributes, but for
// declarations of namespaces.
func (e Element) Empty() bool {
	if len(e.Inner) > 0 {
		return false
	}
	for rest := e.attrs; ; {
		var name []byte
		if name, _, rest = nextAttr(rest); name == nil {
			return true
		}
		if kind, _ := splitName(name); string(name) != "xmlns" && string(kind) != "xmlns" {
			return false
		}
	}
}

// Children calls yield for each child element in order, until it returns false.
// Text is passed over.
func (e Element) Children(yield func(Element) bool) {
	around := e.scope
	if e.own {
		around = newScope(around, e.attrs)
	}
	for b := e.Inner; ; {
		i := bytes.IndexByte(b, '<')
		if i < 0 {
			return
		}
		b = b[i:]
		if n := cdataLen(b); n > 0 {
			b = b[n:]
			continue
		}
		child, tag, ok := readTag(b)
		n, inner := elementLen(b)
		if !ok || n < 0 {
			return
		}
		child.Raw = b[:n:n]
		if inner > tag {
			child.Inner = b[tag:inner:inner]
		}
		child.resolve(e.content, around)
		if !yield(child) {
			return
		}
		b = b[n:]
	}
}

// resolve finds the element's namespaces, given those around it.
func (e *Element) resolve(content []byte, around *scope) {
	e.content, e.scope = content, around
	for rest := e.attrs; ; {
		var name, value []byte
		if name, value, rest = nextAttr(rest); name == nil {
			break
		}
		e.declare(name, value)
	}
	e.name()
}

// declare takes in the attribute if it is a declaration.
func (e *Element) declare(name, value []byte) {
	if len(name) < len("xmlns") || string(name[:len("xmlns")]) != "xmlns" {
		return
	}
	if len(name) == len("xmlns") {
		e.content = decodeAttr(value)
	} else if name[len("xmlns")] == ':' {
		e.own = true
	}
}

// name finds the namespace of the element's name.
func (e *Element) name() {
	e.Space = e.content
	if e.prefix != nil {
		e.Space, _ = e.lookup(e.prefix)
	}
}

// lookup returns what a prefix is bound to. Without a declaration that is the
// stream's namespace: the framer lets no other undeclared prefix pass.
func (e *Element) lookup(prefix []byte) (space []byte, declared bool) {
	if string(prefix) == "xml" {
		return nsXML, true
	}
	if value, ok := findAttr(e.attrs, "xmlns", string(prefix)); ok {
		return decodeAttr(value), true
	}
	for s := e.scope; s != nil; s = s.up {
		if space, ok := s.find(prefix); ok {
			return space, true
		}
	}
	return nsStreams, false
}

// AppendStandalone appends the element such that it means the same anywhere:
// with what it inherits from around it declared on itself, or verbatim when it
// inherits nothing.
func (e Element) AppendStandalone(dst []byte) []byte {
	at := 1 + len(e.Name)
	if e.prefix != nil {
		at += len(e.prefix) + 1
	}
	dst = append(dst, e.Raw[:at]...)
	if _, ok := findAttr(e.attrs, "", "xmlns"); !ok && (e.prefix == nil || bytes.IndexByte(e.Inner, '<') >= 0) {
		dst = appendDeclaration(dst, nil, e.content)
	}
	if e.prefix != nil {
		if space, declared := e.lookup(e.prefix); !declared {
			dst = appendDeclaration(dst, e.prefix, space)
		}
	}
	for s := e.scope; s != nil; s = s.up {
		dst = e.appendScope(dst, s)
	}
	return append(dst, e.Raw[at:]...)
}

// appendScope declares the prefixes of s that the element may use and that
// nothing nearer declares.
func (e *Element) appendScope(dst []byte, s *scope) []byte {
	for _, d := range s.decls {
		if string(d.prefix) == "xml" || !mentions(e.Raw, d.prefix) {
			continue
		}
		_, hidden := findAttr(e.attrs, "xmlns", string(d.prefix))
		for n := e.scope; n != s && !hidden; n = n.up {
			_, hidden = n.find(d.prefix)
		}
		if !hidden {
			dst = appendDeclaration(dst, d.prefix, d.space)
		}
	}
	return dst
}

// mentions reports whether prefix, with a colon, stands anywhere in raw. Where
// it is not a prefix there, one declaration too many does no harm.
func mentions(raw, prefix []byte) bool {
	for {
		i := bytes.IndexByte(raw, ':')
		if i < 0 {
			return false
		}
		if bytes.HasSuffix(raw[:i], prefix) {
			return true
		}
		raw = raw[i+1:]
	}
}

func appendDeclaration(dst, prefix, space []byte) []byte {
	dst = append(dst, " xmlns"...)
	if prefix != nil {
		dst = append(append(dst, ':'), prefix...)
	}
	dst = append(dst, "='"...)
	return append(AppendEscapedAttr(dst, space), '\'')
}

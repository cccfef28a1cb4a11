package framer

import "math"

// Namespaces that the framer itself knows.
const (
	NSClient  = "jabber:client"
	NSStreams = "http://etherx.jabber.org/streams"
	NSXML     = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS   = "http://www.w3.org/2000/xmlns/"
)

// Limits bounds what one peer may send. A zero field means its default.
type Limits struct {
	StanzaBytes int // bytes of one stanza, or of the stream header; 65536
	Depth       int // elements open at once within a stanza, itself included; 64
	Attrs       int // attributes of one tag, and prefix declarations in scope; 64
}

func (l Limits) orDefaults() Limits {
	pick := func(v, def int) int {
		if v <= 0 {
			return def
		}
		return min(v, math.MaxInt32/2) // offsets are kept in 32 bits
	}
	return Limits{pick(l.StanzaBytes, 65536), pick(l.Depth, 64), min(pick(l.Attrs, 64), math.MaxInt16)}
}

// Kind tells events apart.
type Kind uint8

// The kinds of Event.
const (
	NeedMore    Kind = iota // nothing whole in data yet; only white space was consumed
	StreamOpen              // the stream header; Event.Header is set
	WholeStanza             // a first-level element; Event.Raw is set
	StreamClose             // the stream's closing tag
)

// Event is one part of a stream.
type Event struct {
	Kind   Kind
	Raw    []byte  // the stanza, a part of the caller's data: valid as long as that
	Header *Header // for StreamOpen
}

// phase is where in the stream's life the framer is.
type phase uint8

const (
	atProlog phase = iota // the header has not begun
	inHeader              // within the header's start tag
	inBody                // between the header and the closing tag
	atEnd                 // after the closing tag
)

// span is a range of the current part's bytes.
type span struct{ from, to int32 }

func (s span) of(d []byte) []byte { return d[s.from:s.to] }
func (s span) len() int           { return int(s.to - s.from) }

// elem is an open element.
type elem struct {
	name  span
	binds uint16 // length of Framer.binds outside of it
}

// attr is an attribute of the current start tag.
type attr struct {
	name, value span
	colon       int32 // offset of the name's colon, -1 without
	ns          int16 // what a prefix is bound to, as lookup returns it
	refs        bool  // the value holds references
}

// Framer is the state of one stream. It is not safe for concurrent use. It
// holds a few hundred bytes and never a copy of a stanza.
type Framer struct {
	limits Limits
	err    error
	base   int64 // stream offset of the current part

	pos   int // next byte of the current part to look at: nothing before it is scanned again
	mark  int // start of the current name or value
	colon int // offset of the current name's colon, -1 without
	ref   uint32
	match int // bytes matched of a fixed text or an end tag's name

	state  state
	back   state // where a finished reference returns to
	phase  phase
	quote  byte
	empty  bool // the current tag ends in "/>"
	spaced bool // white space stands before the next attribute
	refs   bool // the current value holds references
	named  bool // the current tag has prefixes or declarations to check
	again  bool // the stream was restarted on its connection
	noDecl bool // an XML declaration may no longer come
	bare   bool // stanzas come without a stream around them

	elems   []elem
	attrs   []attr
	binds   []bind
	decoded []byte // namespace names that were written with references

	root    []byte   // the header's qualified name
	foreign []string // prefixes of the header, its own included
}

// New returns a framer at the start of a stream.
func New(limits Limits) *Framer {
	f := new(Framer)
	f.SetLimits(limits)
	return f
}

// SetLimits replaces the limits, from the next call of Next on.
func (f *Framer) SetLimits(limits Limits) { f.limits = limits.orDefaults() }

// Reset awaits a new stream header, as after STARTTLS and SASL (RFC 6120 §4.3.3).
// The limits stay; an earlier error is forgotten.
func (f *Framer) Reset() {
	*f = Framer{limits: f.limits, again: true, elems: f.elems[:0], attrs: f.attrs[:0], binds: f.binds[:0]}
}

// ResetBare awaits stanzas without a stream around them, for transports that
// frame each one (RFC 7395 §3.3, XEP-0206).
func (f *Framer) ResetBare() {
	f.Reset()
	f.phase, f.bare = inBody, true
}

// Next returns the next part of the stream.
//
// data holds all bytes that arrived and were not consumed; n says how many of
// them to drop before the next call. After NeedMore the caller appends what
// arrives next and calls again: bytes once seen must not change, and are not
// scanned again. White space between stanzas is consumed silently, even with
// NeedMore. The error is a *SyntaxError, and final until Reset.
func (f *Framer) Next(data []byte) (ev Event, n int, err error) {
	if f.err != nil {
		return Event{}, 0, f.err
	}
	if f.limits.StanzaBytes == 0 {
		f.SetLimits(Limits{})
	}
	if f.pos == 0 {
		n = f.skipSpace(data)
		f.base += int64(n)
	}
	d := data[n:]
	most := f.limits.StanzaBytes
	if len(d) > most {
		d = d[:most]
	}
	v := f.run(d)
	if v == starved && len(data)-n > most {
		v = f.fail(ErrPolicy, detailSize, most)
	}
	if v == starved {
		return Event{}, n, nil
	}
	if v == broken {
		return Event{}, n, f.err
	}
	ev, err = f.event(d[:f.pos])
	if err != nil {
		return Event{}, n, err
	}
	n += f.pos
	f.next()
	return ev, n, nil
}

// skipSpace counts the white space before the current part.
func (f *Framer) skipSpace(data []byte) int {
	i := 0
	for i < len(data) && is(data[i], isSpace) {
		i++
	}
	// XML 1.0 §2.8 wants the XML declaration at the very start.
	//
	// deviates: white space before it is accepted after a restart. It belongs to
	// the old stream (a line end after the last element, as some clients send),
	// but cannot be told from the start of the new one.
	if i > 0 && f.phase == atProlog && !f.again {
		f.noDecl = true
	}
	return i
}

// event describes the part that d holds.
func (f *Framer) event(d []byte) (Event, error) {
	switch f.phase {
	case inHeader:
		h, err := f.header(d)
		return Event{Kind: StreamOpen, Header: h}, err
	case atEnd:
		return Event{Kind: StreamClose}, nil
	}
	return Event{Kind: WholeStanza, Raw: d[:len(d):len(d)]}, nil
}

// next makes ready for the next part.
func (f *Framer) next() {
	if f.phase == inHeader {
		f.phase = inBody
	}
	f.base += int64(f.pos)
	f.pos, f.state = 0, atStart
	if len(f.elems) > 0 || len(f.binds) > 0 {
		f.elems, f.binds = f.elems[:0], f.binds[:0]
	}
	if cap(f.attrs) > keepAttrs || cap(f.decoded) > 0 {
		f.trim()
	}
}

// keepAttrs bounds what an idle framer keeps of an unusual stanza.
const keepAttrs = 16

// trim lets go of memory that only an unusual stanza needs, so that idle
// streams stay small.
func (f *Framer) trim() {
	f.decoded = nil
	if cap(f.attrs) > keepAttrs {
		f.attrs, f.elems, f.binds = nil, nil, nil
	}
}

// fail records a violation at offset i of the current part.
func (f *Framer) fail(kind error, detail string, i int) verdict {
	f.err = &SyntaxError{Kind: kind, Detail: detail, Offset: f.base + int64(i)}
	return broken
}

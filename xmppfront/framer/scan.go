package framer

import "bytes"

// state is what the scanner expects at Framer.pos.
type state uint8

const (
	atStart      state = iota // the '<' of a part
	inDecl                    // the rest of an XML declaration
	afterDecl                 // white space, then the header
	afterLess                 // what follows '<'
	afterBang                 // what follows "<!"
	inText                    // character data
	inCDATA                   // a CDATA section
	inName                    // the name of a start tag
	inTag                     // white space, an attribute or the end of a start tag
	afterSlash                // the '>' of an empty-element tag
	inAttrName                // the name of an attribute
	beforeEquals              // the '=' of an attribute
	beforeValue               // the opening quote
	inValue                   // the rest of an attribute value
	inEndName                 // the name of an end tag
	inEndTag                  // the '>' of an end tag
	afterAmp                  // what follows '&'
	afterHash                 // what follows "&#"
	inDecimal                 // decimal digits of a reference, then ';'
	inHex                     // hexadecimal digits of a reference, then ';'
	inEntity                  // an entity's name, then ';'
)

// verdict is what a step of the scanner comes to.
type verdict uint8

const (
	onward  verdict = iota // go on from Framer.pos
	starved                // d ends here
	whole                  // the part ends at Framer.pos
	broken                 // Framer.err is set
)

// steps maps each state to the step that leaves it. Each step starts at
// Framer.pos, which is within d, and looks back by two bytes at most.
var steps = [...]func(*Framer, []byte) verdict{
	atStart: (*Framer).start, inDecl: (*Framer).declaration, afterDecl: (*Framer).misc,
	afterLess: (*Framer).less, afterBang: (*Framer).bang,
	inText: (*Framer).text, inCDATA: (*Framer).cdata,
	inName: (*Framer).name, inTag: (*Framer).tag, afterSlash: (*Framer).slash,
	inAttrName: (*Framer).attrName, beforeEquals: (*Framer).equals,
	beforeValue: (*Framer).openQuote, inValue: (*Framer).value,
	inEndName: (*Framer).endName, inEndTag: (*Framer).endTag,
	afterAmp: (*Framer).amp, afterHash: (*Framer).hash, inDecimal: (*Framer).decimal,
	inHex: (*Framer).hex, inEntity: (*Framer).entity,
}

// run takes steps until the part ends, d ends or an error is found.
func (f *Framer) run(d []byte) verdict {
	for f.pos < len(d) {
		var v verdict
		switch f.state { // an indirect call costs more than the commonest steps do
		case inText:
			v = f.text(d)
		case inTag:
			v = f.tag(d)
		default:
			v = steps[f.state](f, d)
		}
		if v != onward {
			return v
		}
	}
	return starved
}

// start expects the '<' of a part; white space was skipped before.
func (f *Framer) start(d []byte) verdict {
	switch c := d[0]; {
	case c == '<':
		f.pos, f.state = 1, afterLess
		return onward
	case f.phase == atProlog && (c == 0 || c >= 0xFE):
		// The first byte of UTF-16 or UTF-32. RFC 6120 §11.6
		return f.fail(ErrUnsupportedEncoding, detailEncoding, 0)
	case c < 0x80 && (is(c, isText) || c == '>' || c == '&'):
		return f.fail(ErrBadFormat, detailTextOutside, 0)
	case c < 0x80:
		return f.fail(ErrNotWellFormed, detailChar, 0)
	}
	switch n := charLen(d); {
	case n == 0:
		return starved
	case n < 0:
		return f.fail(ErrNotWellFormed, detailChar, 0)
	}
	return f.fail(ErrBadFormat, detailTextOutside, 0)
}

// less tells what a '<' begins.
func (f *Framer) less(d []byte) verdict {
	i := f.pos
	c := d[i]
	switch {
	case is(c, isStart) || c >= 0x80:
		return f.openElement(d, i)
	case c == '/':
		return f.openEndTag(d, i)
	case c == '!':
		f.pos, f.match, f.state = i+1, 0, afterBang
		return onward
	case c == '?':
		if f.phase != atProlog || f.noDecl {
			return f.fail(ErrRestrictedXML, detailPI, i)
		}
		f.pos, f.state = i+1, inDecl
		return onward
	case c == 0 && f.phase == atProlog:
		return f.fail(ErrUnsupportedEncoding, detailEncoding, i)
	}
	return f.fail(ErrNotWellFormed, detailMarkup, i)
}

// openElement begins a start tag whose name starts at i.
func (f *Framer) openElement(d []byte, i int) verdict {
	if f.phase == atEnd {
		return f.fail(ErrNotWellFormed, detailTextOutside, i)
	}
	if f.phase == atProlog {
		f.phase = inHeader
	}
	if len(f.elems) >= f.limits.Depth {
		return f.fail(ErrPolicy, detailDepth, i)
	}
	f.mark, f.pos, f.colon, f.state = i, i, -1, inName
	return f.name(d)
}

// openEndTag begins an end tag, or the closing tag of the stream.
func (f *Framer) openEndTag(d []byte, i int) verdict {
	if len(f.elems) == 0 && (f.phase != inBody || f.bare) {
		return f.fail(ErrNotWellFormed, detailEndTag, i)
	}
	f.pos, f.match, f.state = i+1, 0, inEndName
	return f.endName(d)
}

const cdataOpen = "[CDATA["

// bang tells what "<!" begins: only a CDATA section is allowed. RFC 6120 §11.1
func (f *Framer) bang(d []byte) verdict {
	for ; f.pos < len(d); f.pos++ {
		c := d[f.pos]
		if f.match == 0 && (c == '-' || c == 'D') {
			return f.fail(ErrRestrictedXML, detailComment, f.pos)
		}
		if c != cdataOpen[f.match] {
			return f.fail(ErrNotWellFormed, detailBang, f.pos)
		}
		if f.match++; f.match < len(cdataOpen) {
			continue
		}
		if len(f.elems) == 0 {
			return f.fail(ErrBadFormat, detailCDATAOutside, f.pos)
		}
		f.pos++
		f.state = inCDATA
		return onward
	}
	return starved
}

// text passes character data.
func (f *Framer) text(d []byte) verdict {
	i := plainText(d, f.pos)
	for i < len(d) {
		c := d[i]
		if is(c, isText) {
			if i++; c < ' ' { // the one plain text that stops plainText
				i = plainText(d, i)
			}
			continue
		}
		if c == '<' {
			f.pos, f.state = i+1, afterLess
			if i+1 == len(d) {
				return starved
			}
			return f.less(d)
		}
		if c == '&' {
			f.pos, f.back, f.state = i+1, inText, afterAmp
			return onward
		}
		if c == '>' {
			// Only text ends in ']', so the two bytes before are text as well.
			if d[i-1] == ']' && d[i-2] == ']' {
				return f.fail(ErrNotWellFormed, detailBracket, i)
			}
			i++
			continue
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

// beyondASCII passes the character at i, which no class table allows. With a
// length of 0 or less the caller returns the verdict.
func (f *Framer) beyondASCII(d []byte, i int) (int, verdict) {
	n := -1
	if d[i] >= 0x80 {
		n = charLen(d[i:])
	}
	if n < 0 {
		return n, f.fail(ErrNotWellFormed, detailChar, i)
	}
	if n == 0 {
		f.pos = i
	}
	return n, starved
}

// cdata passes a CDATA section.
func (f *Framer) cdata(d []byte) verdict {
	i := f.pos
	for i < len(d) {
		c := d[i]
		if is(c, isCDATA) {
			i++
			continue
		}
		if c == '>' {
			i++
			// "<![CDATA[" holds no ']', so both bytes before are of the section.
			if d[i-2] == ']' && d[i-3] == ']' {
				f.pos, f.state = i, inText
				return onward
			}
			continue
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

// endName compares an end tag's name with the open element's. What matched
// is not compared again when more bytes come.
func (f *Framer) endName(d []byte) verdict {
	want := f.root
	if n := len(f.elems); n > 0 {
		want = f.elems[n-1].name.of(d)
	}
	have := d[f.pos:]
	if rest := want[f.match:]; len(have) >= len(rest) {
		have = have[:len(rest)]
	}
	if !bytes.Equal(have, want[f.match:f.match+len(have)]) {
		i := 0
		for have[i] == want[f.match+i] {
			i++
		}
		return f.fail(ErrNotWellFormed, detailEndTag, f.pos+i)
	}
	f.pos += len(have)
	f.match += len(have)
	if f.match < len(want) {
		return starved
	}
	f.state = inEndTag
	return f.endTag(d)
}

// endTag expects the '>' of an end tag.
func (f *Framer) endTag(d []byte) verdict {
	i := f.pos
	for i < len(d) && is(d[i], isSpace) {
		i++
	}
	f.pos = i
	if i == len(d) {
		return starved
	}
	if d[i] != '>' {
		return f.fail(ErrNotWellFormed, detailEndTag, i)
	}
	f.pos++
	if len(f.elems) == 0 {
		f.phase = atEnd
		return whole
	}
	return f.closeElement()
}

// closeElement forgets the innermost element.
func (f *Framer) closeElement() verdict {
	last := len(f.elems) - 1
	f.binds = f.binds[:f.elems[last].binds]
	f.elems = f.elems[:last]
	if last == 0 {
		return whole
	}
	f.state = inText
	return onward
}

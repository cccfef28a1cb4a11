package framer

// amp tells what a reference begins with.
func (f *Framer) amp(d []byte) verdict {
	c := d[f.pos]
	f.ref, f.match = 0, 0
	if c == '#' {
		f.pos, f.state = f.pos+1, afterHash
		return onward
	}
	if !is(c, isStart) && c < 0x80 {
		return f.fail(ErrNotWellFormed, detailReference, f.pos)
	}
	f.state = inEntity
	return onward
}

// hash tells decimal from hexadecimal character references.
func (f *Framer) hash(d []byte) verdict {
	if d[f.pos] == 'x' {
		f.pos, f.state = f.pos+1, inHex
		return onward
	}
	f.state = inDecimal
	return onward
}

func (f *Framer) decimal(d []byte) verdict { return f.digits(d, 10) }
func (f *Framer) hex(d []byte) verdict     { return f.digits(d, 16) }

// digits passes the digits of a character reference. XML 1.0 §4.1
func (f *Framer) digits(d []byte, radix uint32) verdict {
	for ; f.pos < len(d); f.pos++ {
		c := d[f.pos]
		if c == ';' {
			if f.match == 0 {
				return f.fail(ErrNotWellFormed, detailReference, f.pos)
			}
			if !isChar(rune(f.ref)) {
				return f.fail(ErrNotWellFormed, detailReferenceChar, f.pos)
			}
			return f.endRef()
		}
		v := digit(c)
		if v >= radix {
			return f.fail(ErrNotWellFormed, detailReference, f.pos)
		}
		f.ref = min(f.ref*radix+v, 0x110000) // leading zeros may be many
		f.match = 1
	}
	return starved
}

// digit returns the value of a hexadecimal digit, 16 for any other byte.
func digit(c byte) uint32 {
	switch {
	case c >= '0' && c <= '9':
		return uint32(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return uint32(c|0x20-'a') + 10
	}
	return 16
}

// entity passes an entity's name, which must be predefined. RFC 6120 §11.1
func (f *Framer) entity(d []byte) verdict {
	for ; f.pos < len(d); f.pos++ {
		c := d[f.pos]
		if c == ';' {
			if predefined(f.ref, f.match) == 0 {
				return f.fail(ErrRestrictedXML, detailEntity, f.pos)
			}
			return f.endRef()
		}
		if !is(c, isName) && c < 0x80 {
			return f.fail(ErrNotWellFormed, detailReference, f.pos)
		}
		f.ref = f.ref<<8 | uint32(c) // the longest predefined name fills it
		f.match = min(f.match+1, 5)
	}
	return starved
}

// predefined returns the character of the entity whose name of n bytes is
// packed into name, 0 when it is not one of the five. XML 1.0 §4.6
func predefined(name uint32, n int) byte {
	switch {
	case n == 2 && name == 'l'<<8|'t':
		return '<'
	case n == 2 && name == 'g'<<8|'t':
		return '>'
	case n == 3 && name == 'a'<<16|'m'<<8|'p':
		return '&'
	case n == 4 && name == 'a'<<24|'p'<<16|'o'<<8|'s':
		return '\''
	case n == 4 && name == 'q'<<24|'u'<<16|'o'<<8|'t':
		return '"'
	}
	return 0
}

// endRef returns to where the reference stood.
func (f *Framer) endRef() verdict {
	f.pos++
	f.state = f.back
	return onward
}

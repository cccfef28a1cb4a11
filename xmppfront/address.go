package xmppfront

import (
	"strings"
	"unicode/utf8"

	"pushhub/core"
	"pushhub/core/auth"
	"pushhub/xmppfront/framer"
)

// place is the kind of entity that an address names.
type place uint8

const (
	placeNone    place = iota // no address was given
	placeServer               // the domain itself
	placePubSub               // pubsub.<domain>
	placeAccount              // an account or one of its devices
	placeRemote               // another domain
	placeBad                  // not an address
)

// address is a parsed 'to'.
type address struct {
	place place
	core.Address
}

// RFC 7622 §3.1: each part of an address has at most 1023 bytes.
const maxPart = 1023

// parse reads an address. It does not keep s.
func (f *Front) parse(s []byte) address {
	if len(s) == 0 {
		return address{place: placeNone}
	}
	if len(s) > 3*maxPart+2 {
		return address{place: placeBad}
	}
	// RFC 7622 §3.2: the resource is what follows the first slash.
	bare, resource, full := strings.Cut(string(s), "/")
	local, domain, named := strings.Cut(bare, "@")
	if !named {
		local, domain = "", bare
	}
	if full && (resource == "" || len(resource) > maxPart) || named && local == "" || domain == "" {
		return address{place: placeBad}
	}
	if !named {
		return address{place: f.host(domain)}
	}
	if !f.isHost(domain) {
		return address{place: placeRemote}
	}
	account, err := auth.Normalize(local)
	if err != nil {
		return address{place: placeBad}
	}
	return address{placeAccount, core.Address{Account: account, Resource: resourceFrom(resource)}}
}

func (f *Front) host(domain string) place {
	switch {
	case f.isHost(domain):
		return placeServer
	case strings.EqualFold(domain, f.pubsub):
		return placePubSub
	}
	return placeRemote
}

// jid writes an address of the hub as an XMPP address, not yet escaped for XML.
func (f *Front) jid(a core.Address) string {
	s := a.Account
	if !strings.Contains(s, "@") { // an account of another hub brings its domain
		s += "@" + f.opt.Domain
	}
	if a.Resource == "" {
		return s
	}
	return s + "/" + resourceTo(a.Resource)
}

// resourceTo writes a device's name as a resourcepart. MQTT client identifiers
// may hold what XML and RFC 7622 §3.4 forbid; such bytes become %XX, and so does
// a percent sign that would be taken for one of them.
func resourceTo(s string) string {
	i := 0
	for i < len(s) && s[i] >= 0x20 && s[i] < 0x7F && s[i] != '%' {
		i++
	}
	if i == len(s) {
		return s
	}
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		part := s[i : i+n]
		i += n
		bad := r < 0x20 || r >= 0x7F && r < 0xA0 || !framer.ValidText([]byte(part))
		if bad || r == '%' && isEscape(s[i-1:]) {
			for _, c := range []byte(part) {
				out.Write([]byte{'%', digits[c>>4], digits[c&15]})
			}
			continue
		}
		out.WriteString(part)
	}
	return out.String()
}

// resourceFrom undoes resourceTo.
func resourceFrom(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if !isEscape(s[i:]) {
			out = append(out, s[i])
			continue
		}
		out = append(out, hexValue(s[i+1])<<4|hexValue(s[i+2]))
		i += 2
	}
	return string(out)
}

func isEscape(s string) bool {
	return len(s) >= 3 && s[0] == '%' && hexValue(s[1]) < 16 && hexValue(s[2]) < 16
}

// hexValue reads the upper-case digits that resourceTo writes; 16 for all else.
func hexValue(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

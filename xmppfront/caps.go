package xmppfront

import (
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strings"
)

const (
	nsCaps   = "http://jabber.org/protocol/caps" // XEP-0115
	capsNode = "urn:pushhub"
	nsData   = "jabber:x:data" // XEP-0004
)

// capabilities are what an entity is and does, as disco#info tells.
type capabilities struct {
	category, kind, name string
	features             []string
	form                 *form // nil: there is none
}

// form is extended information. XEP-0128 §2
type form struct {
	name   string // its FORM_TYPE
	fields []field
}

type field struct {
	name   string
	values []string
}

// serverInfo tells whom to ask about the server; nil when nobody is named. XEP-0157 §2
func serverInfo(admins []string) *form {
	if len(admins) == 0 {
		return nil
	}
	return &form{"http://jabber.org/network/serverinfo", []field{{"admin-addresses", admins}}}
}

// append writes the form.
func (f *form) append(p []byte) []byte {
	p = append(p, "<x xmlns='"+nsData+"' type='result'><field var='FORM_TYPE' type='hidden'>"...)
	p = append(textElement(p, "value", f.name), "</field>"...)
	for _, x := range f.fields {
		p = append(attr(append(p, "<field"...), "var", x.name), " type='list-multi'>"...)
		for _, v := range x.values {
			p = textElement(p, "value", v)
		}
		p = append(p, "</field>"...)
	}
	return append(p, "</x>"...)
}

// version is the verification string, by which clients know capabilities that
// they have asked for before.
func (c capabilities) version() string {
	return verification([]string{c.category + "/" + c.kind + "//" + c.name}, c.features, c.form)
}

// verification makes a verification string; an identity is category/type/lang/name.
// XEP-0115 §5.1
func verification(identities, features []string, f *form) string {
	var s strings.Builder
	add := func(parts ...string) {
		for _, part := range slices.Sorted(slices.Values(parts)) { // by octet: RFC 4790 §9.3
			s.WriteString(part + "<")
		}
	}
	add(identities...)
	add(features...)
	if f != nil {
		add(f.name)
		for _, x := range slices.SortedFunc(slices.Values(f.fields), func(a, b field) int { return strings.Compare(a.name, b.name) }) {
			add(x.name)
			add(x.values...)
		}
	}
	sum := sha1.Sum([]byte(s.String()))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// appendCaps writes the stream feature. XEP-0115 §6.3
func (f *Front) appendCaps(p []byte) []byte {
	p = append(p, "<c xmlns='"+nsCaps+"' hash='sha-1' node='"+capsNode+"'"...)
	return append(attr(p, "ver", f.capsVersion), "/>"...)
}

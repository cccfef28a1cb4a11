package xmppfront

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"

	"mellium.im/xmpp/stanza"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

const nsBind2 = "urn:xmpp:bind:0" // XEP-0386

// maxTag bounds what a client calls itself, in bytes; a longer one is left out.
const maxTag = 64

// inlineFeatures are what may be asked for within <bind/>. XEP-0386 §3.1
var inlineFeatures = []string{nsSM}

// binding is a request for a resource, and for what shall hold from the first
// stanza on. XEP-0386 §3.2
type binding struct {
	tag    string    // what the client calls itself; may be empty
	enable *enabling // XEP-0198 §3
}

// bindingOf reads <bind/>; features that are not known are passed over.
func bindingOf(s framer.Element) *binding {
	q := new(binding)
	for c := range s.Children {
		switch string(c.Space) + " " + string(c.Name) {
		case nsBind2 + " tag":
			if tag := framer.Unescape(nil, c.Inner); len(tag) <= maxTag {
				q.tag = string(tag)
			}
		case nsSM + " enable":
			q.enable = enablingOf(c)
		}
	}
	return q
}

// appendInline writes what may be asked for with a login. XEP-0388 §2.1, XEP-0386 §3.1
func appendInline(p []byte) []byte {
	p = append(p, "<inline><sm xmlns='"+nsSM+"'/><bind xmlns='"+nsBind2+"'><inline>"...)
	for _, name := range inlineFeatures {
		p = append(attr(append(p, "<feature"...), "var", name), "/>"...)
	}
	return append(p, "</inline></bind></inline>"...)
}

// bindInline gives a client that has just logged in what it asked for along with
// that, and answers all of it.
//
// deviates: what waits for the account is not cleared, since no archive has it, but
// sent with the first presence as to everybody (XEP-0386 §3.2, XEP-0160).
func (e *engine) bindInline(b *core.Batch) {
	asked := e.welcome.asked
	if asked.bind == nil {
		e.nonza(b, e.takeWelcome(nil, false))
		return
	}
	resource := e.resourceOf(asked.bind.tag, asked.agent)
	var m *managed
	var said []byte
	if asked.bind.enable != nil {
		var err error
		if m, err = e.newManaged(resource, asked.bind.enable); err != nil {
			said = failedElement(stanza.InternalServerError, "")
		}
	}
	e.attach(b, resource, m, func(b *core.Batch, err error) {
		if err != nil {
			e.sasl2Undo(b, saslTemporary)
			return
		}
		if m != nil {
			said = enabledElement(m)
		}
		bound := append([]byte("<bound xmlns='"+nsBind2+"'>"), said...)
		p := e.takeWelcome(append(bound, "</bound>"...), m != nil)
		e.mu.Lock() // what follows is counted
		defer e.mu.Unlock()
		e.append(b, 0, p)
		e.sm = m
	})
}

// resourceOf makes a resource: the same each time for the same client, so that it
// takes the place of its own earlier connection, where it told which one it is.
// Others cannot learn the id from it. XEP-0386 §3.2.1
func (e *engine) resourceOf(tag, agent string) string {
	id := randomID()
	if agent != "" {
		h := hmac.New(sha256.New, e.front.opt.ScramKey)
		for _, field := range []string{"resource", e.account, tag, agent} {
			_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(field))))
			_, _ = h.Write([]byte(field))
		}
		id = base32.StdEncoding.EncodeToString(h.Sum(nil)[:10])
	}
	if tag == "" {
		return id
	}
	named, err := newResource(tag + "/" + id)
	if err != nil { // XEP-0386 §3.2.1: the tag must be fit for a resource
		return id
	}
	return named
}

package xmppfront

import (
	"encoding/base64"

	"mellium.im/xmpp/stream"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

const nsSASL2 = "urn:xmpp:sasl:2" // XEP-0388

// maxAgent bounds the id of a user agent, which should be a UUID.
const maxAgent = 128

var errDuringLogin = errorWith{stream.PolicyViolation, "a login is under way"}

// authenticate is what a client asks for together: the login, and what shall
// happen at once when it has succeeded. XEP-0388 §2.3
type authenticate struct {
	mechanism string
	response  []byte      // nil: there is none yet
	agent     string      // the same for each connection of one client; empty: not told
	resume    *resumption // XEP-0198 §5
	bind      *binding    // XEP-0386
}

// parseAuthenticate reads <authenticate/>. What it does not know is passed over;
// cond is the failure of what cannot be read, else empty.
func parseAuthenticate(s framer.Element) (a *authenticate, cond string) {
	mechanism, _ := s.Attr("mechanism")
	a = &authenticate{mechanism: string(mechanism)}
	for c := range s.Children {
		switch string(c.Space) + " " + string(c.Name) {
		case nsSASL2 + " initial-response":
			data, ok := sasl2Data(c.Inner)
			if a.response != nil {
				return nil, saslMalformed
			}
			if !ok {
				return nil, saslEncoding
			}
			a.response = data
		case nsSASL2 + " user-agent":
			id, _ := c.Attr("id")
			if a.agent != "" || len(id) > maxAgent {
				return nil, saslMalformed
			}
			a.agent = string(id)
		case nsSM + " resume":
			if a.resume != nil {
				return nil, saslMalformed
			}
			a.resume = resumptionOf(c)
		case nsBind2 + " bind":
			if a.bind != nil {
				return nil, saslMalformed
			}
			a.bind = bindingOf(c)
		}
	}
	return a, ""
}

// sasl2Data decodes the content of an element, which is data even where it is
// empty. XEP-0388 §2.2
func sasl2Data(inner []byte) ([]byte, bool) {
	if len(inner) == 0 {
		return []byte{}, true
	}
	return decodeStrict(string(framer.Unescape(nil, inner)))
}

// sasl2Element takes an element of XEP-0388.
func (e *engine) sasl2Element(b *core.Batch, s *framer.Stanza) {
	running := e.sasl.two != nil
	switch name := string(s.Name); {
	case !e.mayLogin():
		e.sasl2Refuse(b, saslEncryption)
	case name == "authenticate" && !running:
		e.sasl2Begin(b, s)
	case name == "response" && running:
		data, ok := sasl2Data(s.Inner)
		if !ok {
			e.saslFail(b, saslEncoding)
			return
		}
		e.saslStep(b, data)
	case name == "abort": // XEP-0388 §3.5
		e.sasl2Refuse(b, saslAborted)
	case running: // XEP-0388 §2.5
		e.fail(b, errDuringLogin)
	default:
		e.sasl2Refuse(b, saslMalformed)
	}
}

// sasl2Begin starts an exchange. XEP-0388 §2.3
func (e *engine) sasl2Begin(b *core.Batch, s *framer.Stanza) {
	a, cond := parseAuthenticate(s.Element)
	if cond != "" {
		e.sasl2Refuse(b, cond)
		return
	}
	data := a.response
	a.response = nil
	e.saslStart(b, a.mechanism, data, a)
}

// sasl2Refuse fails what is no exchange of this profile, in its form.
func (e *engine) sasl2Refuse(b *core.Batch, condition string) {
	e.sasl = saslState{two: new(authenticate)}
	e.saslFail(b, condition)
}

// welcome is a login by XEP-0388 that has succeeded and is not answered yet.
type welcome struct {
	asked *authenticate
	data  []byte // of the mechanism; nil: there is none
	said  []byte // the answer to <resume/>
}

// sasl2Succeed does what was asked for with the login before it is answered. There
// is no new stream. XEP-0388 §2.6.1
func (e *engine) sasl2Succeed(b *core.Batch, account string, data []byte) {
	asked := e.sasl.two
	// XEP-0388 §2.1: the stream's from is who the client is going to log in as.
	if e.claims != "" && e.claims != account {
		e.saslFail(b, saslAuthzid)
		return
	}
	e.sasl = saslState{}
	e.account = account
	e.stage = stageBind
	e.welcome = &welcome{asked: asked, data: data}
	if asked.resume != nil { // XEP-0386 §3.2: before the bind, and in its place
		e.resumeFrom(b, *asked.resume)
		return
	}
	e.bindInline(b)
}

// takeWelcome returns the success that the client waits for, and the features behind it,
// which are due at once. bound is the answer to <bind/>; nil: there was none, or no
// need. managed says whether XEP-0198 is in use from here on.
func (e *engine) takeWelcome(bound []byte, managed bool) []byte {
	w := e.welcome
	e.welcome = nil
	e.front.counts.logins.Add(1)
	p := []byte("<success xmlns='" + nsSASL2 + "'>")
	if w.data != nil {
		p = append(p, "<additional-data>"...)
		p = base64.StdEncoding.AppendEncode(p, w.data)
		p = append(p, "</additional-data>"...)
	}
	who := e.jid
	if who == "" {
		who = e.front.jid(core.Address{Account: e.account})
	}
	p = textElement(p, "authorization-identifier", who)
	p = append(append(append(p, w.said...), bound...), "</success>"...)
	return e.appendFeatures(p, managed)
}

// sasl2Undo takes back a login that could not be given what was asked for with it:
// it has failed as a whole. XEP-0388 §2.6
func (e *engine) sasl2Undo(b *core.Batch, condition string) {
	e.welcome = nil
	e.account = ""
	e.stage = stageLogin
	e.sasl2Refuse(b, condition)
}

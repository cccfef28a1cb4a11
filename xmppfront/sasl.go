package xmppfront

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"pushhub/core"
	"pushhub/core/auth"
	"pushhub/xmppfront/framer"
)

const mechanismPlain = "PLAIN" // RFC 4616

// loginTime bounds one check of a password.
const loginTime = 20 * time.Second

// saslState is a SASL exchange; zero when there is none.
type saslState struct {
	plain bool          // PLAIN: the response is awaited
	scram *auth.SCRAM   // SCRAM: the next message is awaited
	two   *authenticate // it is in the form of XEP-0388; nil: in that of RFC 6120
}

// The failure conditions of RFC 6120 §6.5 that are used here.
const (
	saslAborted       = "aborted"
	saslEncryption    = "encryption-required"
	saslEncoding      = "incorrect-encoding"
	saslAuthzid       = "invalid-authzid"
	saslMechanism     = "invalid-mechanism"
	saslMalformed     = "malformed-request"
	saslNotAuthorized = "not-authorized"
	saslTemporary     = "temporary-auth-failure"
)

// saslElement takes <auth/>, <response/> or <abort/>.
func (e *engine) saslElement(b *core.Batch, s *framer.Stanza) {
	if !e.mayLogin() {
		e.saslFail(b, saslEncryption)
		return
	}
	active := e.sasl.plain || e.sasl.scram != nil
	switch string(s.Name) {
	case "auth":
		e.saslBegin(b, s)
	case "response":
		data, ok := saslData(s.Inner)
		switch {
		case !active:
			e.saslFail(b, saslMalformed)
		case !ok:
			e.saslFail(b, saslEncoding)
		default:
			e.saslStep(b, data)
		}
	case "abort": // RFC 6120 §6.4.4
		e.saslFail(b, saslAborted)
	default:
		e.saslFail(b, saslMalformed)
	}
}

// saslBegin starts an exchange. RFC 6120 §6.4.2
func (e *engine) saslBegin(b *core.Batch, s *framer.Stanza) {
	name, _ := s.Attr("mechanism")
	mechanism := string(name)
	e.sasl = saslState{}
	data, ok := saslData(s.Inner)
	if !ok {
		e.saslFail(b, saslEncoding)
		return
	}
	e.saslStart(b, mechanism, data, nil)
}

// saslStart starts an exchange, in the form of XEP-0388 where there is a two. data
// is the client's first message; nil: it is yet to come.
func (e *engine) saslStart(b *core.Batch, mechanism string, data []byte, two *authenticate) {
	e.sasl = saslState{two: two}
	switch {
	case slices.Contains(e.mechanisms(), mechanism):
	case mechanism == mechanismPlain: // RFC 6120 §6.5.3
		e.saslFail(b, saslEncryption)
		return
	default:
		e.saslFail(b, saslMechanism)
		return
	}
	if mechanism == mechanismPlain {
		e.sasl.plain = true
	} else {
		kind := strings.TrimSuffix(mechanism, "-PLUS")
		e.sasl.scram = auth.NewSCRAM(mechanism, e.verifier(kind), e.front.rand, e.front.opt.ScramKey, e.front.hosts(e.called)...)
		e.sasl.scram.Bind(e.bindings())
	}
	if data == nil { // all mechanisms are client-first
		e.write(b, []byte("<challenge xmlns='"+e.sasl.space()+"'/>"))
		return
	}
	e.saslStep(b, data)
}

// saslData decodes the content of a SASL element: nil when there is none, empty
// when it is "=". RFC 6120 §6.4.2
func saslData(inner []byte) ([]byte, bool) {
	if len(inner) == 0 {
		return nil, true
	}
	text := string(framer.Unescape(nil, inner))
	if text == "=" {
		return []byte{}, true
	}
	return decodeStrict(text)
}

// decodeStrict reads base64 as RFC 4648 §4 wants it.
func decodeStrict(text string) ([]byte, bool) {
	if strings.ContainsAny(text, "\r\n") { // which the decoder would pass over
		return nil, false
	}
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	return data, err == nil
}

func (e *engine) verifier(mechanism string) func(string) (auth.Verifier, bool) {
	return func(user string) (auth.Verifier, bool) { return e.front.router.Verifier(user, mechanism) }
}

// saslStep takes the client's next message.
func (e *engine) saslStep(b *core.Batch, data []byte) {
	if e.sasl.plain {
		e.saslPlain(b, data)
		return
	}
	account := e.sasl.scram.Claimed() // empty: the proof is yet to come
	if account == "" {
		e.saslSCRAM(b, data, account)
		return
	}
	wait, err := e.front.router.Try(e.conn.From(), account)
	switch {
	case err != nil:
		e.saslFail(b, saslCondition(err))
	case wait > 0:
		done := e.await()
		time.AfterFunc(wait, func() { done(func(b *core.Batch) { e.saslSCRAM(b, data, account) }) })
	default:
		e.saslSCRAM(b, data, account)
	}
}

// saslSCRAM takes a message of SCRAM, the proof for an account or the one before.
func (e *engine) saslSCRAM(b *core.Batch, data []byte, account string) {
	out, done, err := e.sasl.scram.Step(data)
	if account != "" {
		e.front.router.Tried(e.conn.From(), account, done)
	}
	switch {
	case err != nil:
		e.saslFail(b, saslCondition(err))
	case done:
		e.saslSucceed(b, e.sasl.scram.User(), out)
	default:
		e.saslSend(b, "challenge", out)
	}
}

func saslCondition(err error) string {
	switch {
	case errors.Is(err, auth.ErrMalformed):
		return saslMalformed
	case errors.Is(err, auth.ErrAuthzID):
		return saslAuthzid
	case errors.Is(err, auth.ErrMechanism):
		return saslMechanism
	case errors.Is(err, auth.ErrNotAuthorized), errors.Is(err, core.ErrNotAuthorized),
		errors.Is(err, core.ErrNotFound), errors.Is(err, auth.ErrBadName), errors.Is(err, auth.ErrBadPassword):
		return saslNotAuthorized // RFC 6120 §6.5.10: unknown users are not told apart
	}
	return saslTemporary
}

func (e *engine) saslPlain(b *core.Batch, data []byte) {
	authzid, user, password, err := auth.ParsePlain(data)
	if err != nil {
		e.saslFail(b, saslMalformed)
		return
	}
	user = e.localUser(user)
	name, err := auth.Normalize(user)
	if err != nil {
		e.saslFail(b, saslNotAuthorized)
		return
	}
	if !auth.AuthzIs(authzid, name, e.front.hosts(e.called)...) {
		e.saslFail(b, saslAuthzid)
		return
	}
	e.login(name, password, func(b *core.Batch, account string, err error) {
		if err != nil {
			e.saslFail(b, saslCondition(err))
			return
		}
		e.saslSucceed(b, account, nil)
	})
}

// localUser strips our own domain, which some clients put into the user name.
func (e *engine) localUser(user string) string {
	local, domain, ok := strings.Cut(user, "@")
	if ok && e.front.isHost(domain) {
		return local
	}
	return user
}

// login checks a password; the input waits until then has run.
func (e *engine) login(name, password string, then func(b *core.Batch, account string, err error)) {
	done := e.await()
	ctx, cancel := context.WithTimeout(context.Background(), loginTime)
	e.front.router.Login(ctx, e.conn.From(), name, password, func(account string, err error) {
		cancel()
		done(func(b *core.Batch) { then(b, account, err) })
	})
}

func (e *engine) saslSend(b *core.Batch, name string, data []byte) {
	p := append(e.reply[:0], '<')
	p = append(p, name...)
	p = append(append(append(p, " xmlns='"...), e.sasl.space()...), "'>"...)
	p = base64.StdEncoding.AppendEncode(p, data)
	p = append(append(append(p, "</"...), name...), '>')
	e.write(b, p)
	e.reply = p
}

// space is the namespace of the exchange.
func (s *saslState) space() string {
	if s.two != nil {
		return nsSASL2
	}
	return nsSASL
}

// saslSucceed ends the exchange; a new stream follows. RFC 6120 §6.4.6
func (e *engine) saslSucceed(b *core.Batch, account string, data []byte) {
	if e.sasl.two != nil {
		e.sasl2Succeed(b, account, data)
		return
	}
	e.sasl = saslState{}
	e.account = account
	e.front.counts.logins.Add(1)
	if data == nil {
		e.write(b, []byte("<success xmlns='"+nsSASL+"'/>"))
	} else {
		e.saslSend(b, "success", data)
	}
	e.restart(stageAgain)
}

// saslFail ends the exchange; the client may try again, a few times. RFC 6120 §6.4.5
func (e *engine) saslFail(b *core.Batch, condition string) {
	p := append(append(append(e.reply[:0], "<failure xmlns='"...), e.sasl.space()...), "'><"...)
	p = append(p, condition...)
	if e.sasl.two != nil { // XEP-0388 §2.6.2
		p = append(p, " xmlns='"+nsSASL+"'"...)
	}
	p = append(p, "/></failure>"...)
	e.sasl = saslState{}
	e.write(b, p)
	e.reply = p
	if condition == saslAborted {
		return
	}
	e.failedLogin(b)
}

// failedLogin counts a failed login; too many end the stream.
func (e *engine) failedLogin(b *core.Batch) {
	e.front.counts.badLogins.Add(1)
	if e.attempts++; e.attempts >= maxAttempts {
		e.fail(b, errAttempts)
	}
}

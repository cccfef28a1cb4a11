package xmppfront

import (
	"crypto/rand"
	"errors"
	"strconv"
	"strings"

	"mellium.im/xmpp/stream"

	"pushhub/core"
	"pushhub/core/wire"
	"pushhub/xmppfront/framer"
)

// Why we end streams ourselves, RFC 6120 §4.9.3.
var (
	errHostUnknown  = errorWith{stream.HostUnknown, "no such host is served here"}
	errNamespace    = errorWith{stream.InvalidNamespace, "the content namespace must be jabber:client"}
	errNotLoggedIn  = errorWith{stream.NotAuthorized, "log in first"}
	errStanzaType   = errorWith{stream.UnsupportedStanzaType, "unknown element"}
	errAttempts     = errorWith{stream.PolicyViolation, "too many attempts"}
	errLoginSlow    = errorWith{stream.ConnectionTimeout, "the login took too long"}
	errIdle         = errorWith{stream.ConnectionTimeout, "the ping was not answered"}
	errInvalidFrom  = errorWith{stream.InvalidFrom, "the from address is not yours"}
	errVersion      = errorWith{stream.UnsupportedVersion, "malformed version"}
	errHeaderTwice  = errorWith{stream.BadFormat, "a stream within a stream"}
	errClientClosed = errorWith{wire.ErrClosed, "the client closed the stream"}
)

// openStream takes a stream header and answers it with ours and the features.
func (e *engine) openStream(b *core.Batch, h *framer.Header) {
	if e.stage != stageHeader && e.stage != stageAgain {
		e.fail(b, errHeaderTwice)
		return
	}
	major, _, _ := strings.Cut(h.Version, ".")
	n, err := strconv.ParseUint(major, 10, 16)
	e.version1 = err == nil && n >= 1 // RFC 6120 §4.7.5: without a version, it is 0.9
	served := h.To == "" || e.front.isHost(h.To)
	e.mu.Lock()
	if served {
		e.called = h.To
	}
	e.claims = ""
	if from := e.front.parse([]byte(h.From)); from.place == placeAccount {
		e.claims = from.Account
	}
	e.legacy = h.Version == "" || err == nil && n == 0
	e.append(b, 0, e.headerLocked(h.From))
	e.mu.Unlock()
	switch {
	case h.DefaultNS != framer.NSClient: // RFC 6120 §4.8.2
		e.fail(b, errNamespace)
	case !served: // RFC 6120 §4.9.3.6
		e.fail(b, errHostUnknown)
	case h.Version != "" && err != nil:
		e.fail(b, errVersion)
	case e.stage == stageHeader:
		e.stage = stageLogin
		e.features(b)
	default:
		e.stage = stageBind
		e.features(b)
	}
}

// headerLocked returns our stream header and notes that it is out. The caller
// holds mu. from is the address that the client claims, if any.
func (e *engine) headerLocked(from string) []byte {
	e.header = true
	e.streamID = randomID() // RFC 6120 §4.7.3: unguessable
	host := e.called
	if host == "" {
		host = e.front.opt.Domain
	}
	p := []byte("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'")
	p = attr(p, "id", e.streamID)
	p = attr(p, "from", host)
	// RFC 6120 §4.7.2: "to" is the address that the client claims.
	if from != "" && len(from) <= 3*maxPart && e.front.parse([]byte(from)).place == placeAccount {
		p = attr(p, "to", from)
	}
	p = attr(p, "xml:lang", "en")
	if !e.legacy {
		p = attr(p, "version", "1.0")
	}
	return append(p, '>')
}

// randomID makes an identifier of 128 bits.
func randomID() string { return rand.Text() }

// closeStream answers the client's </stream:stream>. RFC 6120 §4.4
func (e *engine) closeStream(b *core.Batch) {
	e.mu.Lock()
	e.graceful = true
	if e.sm != nil {
		e.append(b, 0, ackOf(e.sm.answer())) // XEP-0198 §4
	}
	e.append(b, 0, []byte("</stream:stream>"))
	e.ended = true
	e.mu.Unlock()
	e.fatal = errClientClosed
}

// fail ends the stream with the stream error that tells of err. It belongs to Input.
func (e *engine) fail(b *core.Batch, err error) {
	if e.fatal != nil {
		return
	}
	e.fatal = err
	e.end(b, err)
}

// end writes a stream error and closes our side of the stream, once.
func (e *engine) end(b *core.Batch, reason error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return
	}
	// RFC 6120 §4.9.1.2: our header comes first, even so.
	if !e.header {
		e.append(b, 0, e.headerLocked(""))
	}
	p := []byte("<stream:error><")
	p = append(p, streamErrorOf(reason).Err...)
	p = append(p, " xmlns='"+stream.NSError+"'/>"...)
	if text := streamText(reason); text != "" {
		p = append(p, "<text xmlns='"+stream.NSError+"' xml:lang='en'>"...)
		p = framer.AppendEscapedText(p, text)
		p = append(p, "</text>"...)
	}
	var high tooHigh
	if errors.As(reason, &high) {
		p = append(p, high.condition()...)
	}
	p = append(p, "</stream:error></stream:stream>"...)
	e.append(b, 0, p)
	e.ended = true
	e.front.counts.streamErrors.Add(1)
}

// Close implements core.Device. It hangs up only in Flush: the caller may hold
// locks of the router, which a write may need.
func (e *engine) Close(b *core.Batch, reason error) {
	e.end(b, reason)
	e.mu.Lock()
	first := e.closing == nil
	if first {
		e.closing = errors.Join(wire.ErrClosed, reason)
	}
	m := e.sm
	e.mu.Unlock()
	if m != nil {
		m.freeze()
		e.stash()
	}
	if first {
		b.Touch(e)
	}
}

// restart awaits a new stream header on the same connection. RFC 6120 §4.3.3
func (e *engine) restart(next stage) {
	e.stage = next
	e.framer.Reset()
	e.mu.Lock()
	e.header = false
	e.mu.Unlock()
}

// attr appends an attribute.
func attr[T string | []byte](b []byte, name string, value T) []byte {
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, "='"...)
	b = framer.AppendEscapedAttr(b, value)
	return append(b, '\'')
}

// textElement appends <name>text</name>.
func textElement[T string | []byte](b []byte, name string, text T) []byte {
	b = append(append(append(b, '<'), name...), '>')
	b = framer.AppendEscapedText(b, text)
	return append(append(append(b, "</"...), name...), '>')
}

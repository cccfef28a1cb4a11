package xmppfront

import (
	"errors"
	"strconv"
	"time"

	"mellium.im/xmpp/stream"

	"pushhub/core"
	"pushhub/core/wire"
	"pushhub/xmppfront/framer"
)

var (
	errAckTimeout = errorWith{stream.ConnectionTimeout, "the request for an acknowledgement was not answered"}
	errUnacked    = errorWith{stream.PolicyViolation, "too many stanzas are not acknowledged"}
	errCount      = errorWith{stream.BadFormat, "h is not a number"}
	errReplaced   = errorWith{wire.ErrClosed, "another stream goes on with this one"}
)

// tooHigh is the end of a stream whose client acknowledges what was never sent. XEP-0198 §4
type tooHigh struct{ h, sent uint32 }

func (t tooHigh) Error() string {
	return "acknowledged " + count(t.h) + " of " + count(t.sent) + " stanzas"
}
func (t tooHigh) Unwrap() error { return stream.UndefinedCondition }

// condition is the application-specific condition of the stream error.
func (t tooHigh) condition() string {
	return "<handled-count-too-high xmlns='" + nsSM + "' h='" + count(t.h) + "' send-count='" + count(t.sent) + "'/>"
}

func count(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// countOf reads the h of an element.
func countOf(s framer.Element) (uint32, bool) {
	v, _ := s.Attr("h")
	h, err := strconv.ParseUint(string(v), 10, 32)
	return uint32(h), err == nil
}

// manage takes an element of XEP-0198; false when there is no such one here.
func (e *engine) manage(b *core.Batch, s *framer.Stanza) bool {
	switch name := string(s.Name); {
	case name == "enable":
		e.enable(b, s)
	case name == "resume":
		e.resumeStream(b, s)
	case e.sm == nil:
		return false
	case name == "r":
		e.mu.Lock() // with the count: a later one may not be written before it
		e.append(b, 0, ackOf(e.sm.answer()))
		e.mu.Unlock()
		e.countUp(e.sm)
	case name == "a":
		e.clientAck(b, s)
	default:
		return false
	}
	return true
}

func ackOf(h uint32) []byte { return []byte("<a xmlns='" + nsSM + "' h='" + count(h) + "'/>") }

// clientAck takes the client's acknowledgement, which is one of each delivery
// that it covers. XEP-0198 §4
func (e *engine) clientAck(b *core.Batch, s *framer.Stanza) {
	h, ok := countOf(s.Element)
	if !ok {
		e.fail(b, errCount)
		return
	}
	covered, total, ok := e.sm.acknowledged(h)
	if !ok {
		e.fail(b, tooHigh{h, total})
		return
	}
	e.settleSent(b, covered)
}

// settleSent acknowledges deliveries to the core.
func (e *engine) settleSent(b *core.Batch, covered []sent) {
	for _, s := range covered {
		// ErrNotFound: another of the account's devices was first.
		switch {
		case s.window == windowOwn:
			_ = e.own.Ack(b, s.packet)
		case s.window == windowShared && e.shared != nil:
			_ = e.shared.Ack(b, s.packet)
		}
	}
}

// count counts a stanza of the client; false when it may not be taken.
func (e *engine) count(b *core.Batch) bool {
	if e.sm == nil {
		return true
	}
	number, ok := e.sm.begin()
	if !ok {
		e.fail(b, errReplaced)
		return false
	}
	e.current, e.counted = number, true
	return true
}

// settle notes that the stanza at hand is done, unless a publish waits for the journal.
func (e *engine) settle(b *core.Batch) {
	if e.counted {
		e.counted = false
		e.resolve(b, e.sm, e.current)
	}
}

// resolve notes that a stanza is done.
func (e *engine) resolve(b *core.Batch, m *managed, number uint32) {
	if m != nil && m.resolve(number) {
		b.Touch(e) // Flush writes the acknowledgement
	}
}

// countToken marks the tokens of counts; the rest of one is the count.
const countToken = 1 << 63

// countUp has the journal know of what a client waits to hear that is no
// message. No message may come between the decision and the record.
func (e *engine) countUp(m *managed) {
	if m == nil {
		return
	}
	e.order.Lock()
	defer e.order.Unlock()
	handled, ok := m.uncounted()
	if !ok {
		return
	}
	e.mu.Lock()
	own := e.own
	e.mu.Unlock()
	if _, err := own.Count(handled, countToken|uint64(handled)); err != nil {
		m.counted(handled, false) // the client asks again
	}
}

// countStored takes what became of a count.
func (e *engine) countStored(b *core.Batch, handled uint32, err error) {
	e.mu.Lock()
	m, then := e.sm, e.afterCount
	e.afterCount = nil
	e.mu.Unlock()
	if then != nil {
		then(err)
		return
	}
	if m == nil {
		return
	}
	if m.counted(handled, err == nil) {
		b.Touch(e)
	}
	if err == nil {
		e.countUp(m)
	}
}

// nonza writes an element that is not counted.
func (e *engine) nonza(b *core.Batch, p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.append(b, 0, p)
}

// send appends a stanza as append does, and counts it where the stream is
// managed. What must be kept and comes too late is for the stream that goes on
// with this one. What was held back goes first. The caller holds mu.
func (e *engine) send(b *core.Batch, n int, s sent, parts ...[]byte) bool {
	if len(e.held) > 0 && !e.ended {
		e.sendHeldBack(b)
	}
	if e.resuming || e.binding && n > 0 {
		return e.hold(s, parts)
	}
	if e.sm != nil && n > 0 && s.window == windowNone && e.sm.crowded() {
		return false
	}
	ok := e.append(b, n, parts...)
	if e.sm != nil && (ok || n == 0) {
		e.sm.push(s, parts)
	}
	return ok
}

// maxEarly bounds the stanzas that come while a stream is being resumed, or bound.
const maxEarly = 256

// hold keeps a stanza until the client knows that its stream goes on, or what its
// address is. The caller holds mu.
func (e *engine) hold(s sent, parts [][]byte) bool {
	if s.keep != keepMust || len(e.early) >= maxEarly {
		return false
	}
	var p []byte
	for _, part := range parts {
		p = append(p, part...)
	}
	e.early = append(e.early, p)
	return true
}

// sendEarly sends what was held. The caller holds mu.
func (e *engine) sendEarly(b *core.Batch) {
	early := e.early
	e.early = nil
	for _, p := range early {
		e.send(b, 0, sent{keep: keepMust}, p)
	}
}

// trailer appends what belongs behind the stanzas of one flush: what the client
// waits to hear, and the question what it has handled. The caller holds mu.
func (e *engine) trailer() {
	m := e.sm
	if m == nil || e.ended {
		return
	}
	if h, ok := m.acknowledge(); ok {
		e.put(0, ackOf(h))
	}
	if m.ask(askEvery) {
		e.put(0, []byte(askElement))
	}
}

const askElement = "<r xmlns='" + nsSM + "'/>"

// tickManaged asks for an acknowledgement of what is out for a second, and finds
// out whether the link is dead.
func (e *engine) tickManaged(b *core.Batch, now time.Time) error {
	e.mu.Lock()
	m := e.sm
	e.mu.Unlock()
	switch {
	case m == nil:
		return nil
	case m.silent(now, e.front.opt.AckTimeout):
		e.end(b, errAckTimeout)
		e.leave(b) // the last bytes may never be written
		return errAckTimeout
	case m.ask(1):
		e.nonza(b, []byte(askElement))
	}
	return nil
}

// leave gives up the sessions: once our </stream:stream> is written, so that all
// before it is acknowledged, and not only when the client has closed the
// connection: what comes from then on is for its other devices. A stream that
// can be resumed leaves its device present. XEP-0198 §5
func (e *engine) leave(b *core.Batch) {
	e.mu.Lock()
	own, shared, graceful, waits := e.own, e.shared, e.graceful, e.sharedFull
	kept := !graceful && (e.resuming || e.sm != nil && e.sm.tag != "")
	// Whoever took the session over has it now.
	ends := e.durable && !errors.Is(e.closing, core.ErrTakenOver) && !errors.Is(e.closing, core.ErrEnded)
	e.sharedFull = false
	e.mu.Unlock()
	if shared != nil && waits {
		shared.Drained(b) // or the account's other devices would wait for this one
	}
	if kept {
		e.stash()
		for _, att := range []*core.Attachment{shared, own} {
			if att != nil {
				att.Suspend(b)
			}
		}
		return
	}
	if shared != nil {
		shared.Detach(b, graceful)
	}
	if own == nil {
		return
	}
	if ends {
		own.SetExpiry(0)
	}
	own.Detach(b, graceful)
}

// stash leaves the stream's state to the stream that goes on with it, once.
func (e *engine) stash() {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.sm
	if m == nil || m.tag == "" || e.stashed {
		return
	}
	e.stashed = true
	e.leaveHeldBack()
	e.front.streams.put(e.self, m, m.end(e.shared, e.inbox, e.interested, e.blocklist, e.copies), e.front.now().Add(m.expiry))
}

package xmppfront

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"pushhub/core"
	"pushhub/core/auth"
	"pushhub/core/wire"
	"pushhub/xmppfront/framer"
)

// stage is how far the negotiation has come.
type stage uint8

const (
	stageHeader stage = iota // a stream header is awaited, nobody is logged in
	stageLogin               // features are out, nobody is logged in
	stageAgain               // SASL is done, a new stream header is awaited
	stageBind                // logged in, no resource yet
	stageBound               // stanzas flow
)

const (
	loginStanza = 16 << 10 // bytes of one element before login
	loginQuota  = 64 << 10 // bytes of all input before login
	maxDepth    = 32
	maxAttempts = 5       // logins, and registrations, tried on one connection; RFC 6120 §6.4.5
	maxPending  = 256     // publishes that wait for the journal; more stop the input
	replyRoom   = 8 << 10 // room in the out-queue below which no stanza is taken
)

// An engine is one connection. It is a wire.Handler and a core.Device.
type engine struct {
	front *Front
	conn  *wire.Conn

	// What follows belongs to Input, and to the continuations that it runs.
	framer   *framer.Framer
	stanza   framer.Stanza
	stage    stage
	quota    int  // bytes that may still come before login
	version1 bool // the client speaks XMPP 1.0: features, SASL
	attempts int
	sasl     saslState
	channel  []auth.Binding // what a login can be bound to, once that is known
	welcome  *welcome       // a login that is about to be answered
	claims   string         // the account that the stream header is from
	account  string         // who logged in
	token    uint64
	msg      core.Message // reused for each publish
	topic    []byte       // scratch
	text     []byte       // scratch
	native   []byte       // scratch
	reply    []byte       // scratch
	lastTo   []byte       // cache of one parsed address
	lastAddr address
	fatal    error  // ends the connection at the next chance
	size     int    // bytes of the element at hand
	pace     *pace  // nil: it may publish as fast as it can
	current  uint32 // the number of the stanza at hand, of a managed stream
	counted  bool   // it is not durable yet

	born time.Time
	self core.Address // set once, before own, as are the next
	jid  string       // the full JID
	full []byte       // the same, escaped for attributes
	bare []byte       // the same without the resource
	push bool         // an androidpn device

	order sync.Mutex // of numbered records in the journal; comes before the router

	mu         sync.Mutex
	next       func(b *core.Batch) // what a callback left for Input
	waiting    bool                // a callback is awaited: no input
	stalled    bool                // input waits for room, or for the journal
	called     string              // the name by which the client called the server; written by Input alone
	legacy     bool                // the client's stream is older than XMPP 1.0
	header     bool                // our stream header is out
	ended      bool                // our </stream:stream> is out: nothing may follow
	graceful   bool                // the client closed the stream
	closing    error               // hang up at the next Flush
	closed     bool                // Closed has run
	own        *core.Attachment
	ready      bool             // own takes deliveries
	shared     *core.Attachment // of the account's own session
	open       bool             // shared takes deliveries
	inbox      bool             // it shall, once it is attached
	interested bool             // asked for the roster: RFC 6121 §2.2
	blocklist  bool             // asked for the block list: XEP-0191 §3.2
	copies     bool             // asked for carbons: XEP-0280
	inactive   bool             // nobody looks at the client: XEP-0352
	held       []heldBack       // what it is not sent meanwhile, in order
	heldBytes  int
	ownFull    bool // a delivery was turned away: call Drained
	sharedFull bool
	streamID   string
	pending    map[uint64]publish // publishes that wait for Stored
	acks       []ack              // deliveries that are not written yet, in order
	appended   uint64             // bytes given to the out-queue in total
	written    uint64             // and those of them that were written
	pingSent   time.Time
	pings      uint64
	pushes     uint64
	sm         *managed    // XEP-0198; set once, by Input
	durable    bool        // own outlives the connection
	resuming   bool        // the client does not know yet that its stream goes on
	binding    bool        // it does not know its address yet
	early      [][]byte    // stanzas that came meanwhile
	afterCount func(error) // takes the next count that is stored
	stashed    bool        // sm has been left to the stream that goes on
}

func newEngine(f *Front, c *wire.Conn) *engine {
	return &engine{
		front: f, conn: c, born: f.now(), quota: loginQuota, pace: newPace(f.opt),
		framer: framer.New(framer.Limits{StanzaBytes: loginStanza, Depth: maxDepth}),
	}
}

// Input implements wire.Handler.
func (e *engine) Input(b *core.Batch, data []byte) (n int, err error) {
	defer e.tidy()
	if !e.resume(b) {
		return 0, wire.ErrPause
	}
	e.settle(b)
	for e.fatal == nil && n < len(data) {
		if !e.room() {
			return n, wire.ErrPause
		}
		ev, used, err := e.framer.Next(data[n:])
		n += used
		if err != nil {
			e.fail(b, err)
			break
		}
		e.charge(b, used)
		if ev.Kind == framer.NeedMore || e.fatal != nil {
			break // what is left comes again, with more behind
		}
		if err := e.event(b, ev); err != nil {
			// go-sendxmpp sends a line end behind <starttls/>.
			return len(data) - len(bytes.TrimLeft(data[n:], " \t\r\n")), err
		}
		if !e.resume(b) {
			return n, wire.ErrPause
		}
		e.settle(b)
	}
	return n, e.fatal
}

// keepScratch bounds what an idle connection keeps for reuse.
const keepScratch = 4 << 10

// tidy lets go of the input, and of memory that only a large stanza needed.
func (e *engine) tidy() {
	e.stanza = framer.Stanza{}
	e.msg.Reset()
	for _, scratch := range []*[]byte{&e.text, &e.native, &e.reply} {
		if cap(*scratch) > keepScratch {
			*scratch = nil
		}
	}
}

// charge counts what came before login against its quota.
func (e *engine) charge(b *core.Batch, n int) {
	if e.stage >= stageBind {
		return
	}
	if e.quota -= n; e.quota < 0 {
		e.fail(b, errLoginQuota)
	}
}

var errLoginQuota = errorWith{framer.ErrPolicy, "too many bytes before login"}

// event takes one part of the stream. Its error is wire.ErrStartTLS or nil.
func (e *engine) event(b *core.Batch, ev framer.Event) error {
	switch ev.Kind {
	case framer.StreamOpen:
		e.openStream(b, ev.Header)
	case framer.StreamClose:
		e.closeStream(b)
	case framer.WholeStanza:
		return e.element(b, ev.Raw)
	case framer.NeedMore:
	}
	return nil
}

// element takes one first-level element.
func (e *engine) element(b *core.Batch, raw []byte) error {
	s := &e.stanza
	e.size = len(raw)
	if err := framer.Parse(raw, framer.NSClient, s); err != nil {
		e.fail(b, framer.ErrNotWellFormed)
		return nil
	}
	if e.stage == stageBound && string(s.Space) == framer.NSClient {
		e.stanzaIn(b, s)
		return nil
	}
	return e.negotiate(b, s)
}

// stanzaIn takes a stanza of a bound stream.
func (e *engine) stanzaIn(b *core.Batch, s *framer.Stanza) {
	if !e.count(b) {
		return
	}
	switch string(s.Name) {
	case "message":
		e.message(b, s)
	case "presence":
		e.presence(b, s)
	case "iq":
		e.iq(b, s)
	default:
		e.fail(b, errStanzaType) // RFC 6120 §4.9.3.24
	}
}

// resume runs what callbacks have left, and tells whether input may go on.
func (e *engine) resume(b *core.Batch) bool {
	for {
		e.mu.Lock()
		next, waiting := e.next, e.waiting
		e.next = nil
		if next != nil {
			e.waiting = false
		}
		e.mu.Unlock()
		if next == nil {
			return !waiting
		}
		next(b)
	}
}

// await stops the input until the function that it returns is called, from
// whatever goroutine, with what Input shall run before it goes on.
func (e *engine) await() (done func(next func(b *core.Batch))) {
	e.mu.Lock()
	e.waiting = true
	e.mu.Unlock()
	return func(next func(b *core.Batch)) {
		e.mu.Lock()
		e.next = next
		e.mu.Unlock()
		e.conn.Resume()
	}
}

// room tells whether another stanza may be taken: the client reads its answers,
// the journal keeps up, and it does not publish faster than it may. When not,
// Written, Stored or a timer resumes the input.
func (e *engine) room() bool {
	if e.pace != nil && e.tooFast() {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stalled = !e.roomLocked()
	return !e.stalled
}

func (e *engine) roomLocked() bool {
	queued := int(e.appended - e.written)
	if e.sm != nil && !e.sm.room() {
		return false
	}
	return len(e.pending) < maxPending && (queued == 0 || queued+replyRoom <= e.front.opt.QueueBytes)
}

// write appends a stanza to the out-queue, whatever its bound.
func (e *engine) write(b *core.Batch, p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.send(b, 0, sent{keep: keepMust}, p)
}

// append appends parts to the out-queue; it reports false when n is not 0 and
// so many bytes do not fit, or nothing may follow any more. The caller holds mu.
func (e *engine) append(b *core.Batch, n int, parts ...[]byte) bool {
	first, ok := e.put(n, parts...)
	if first {
		b.Touch(e)
	}
	return ok
}

// put is append for who flushes then. first: nobody is going to.
func (e *engine) put(n int, parts ...[]byte) (first, ok bool) {
	if e.ended {
		return false, false
	}
	buf, ok := e.conn.Begin(n)
	if !ok {
		return false, false
	}
	for _, p := range parts {
		buf = append(buf, p...)
	}
	e.appended = e.conn.Total(buf)
	return e.conn.End(buf), true
}

// Written implements wire.Handler. Without XEP-0198 a delivery is acknowledged
// by its completed write.
func (e *engine) Written(b *core.Batch, total uint64) {
	e.mu.Lock()
	e.written = max(e.written, total)
	n := 0
	for n < len(e.acks) && e.acks[n].at <= total {
		n++
	}
	var due []ack
	if n > 0 {
		due = append(due, e.acks[:n]...)
		e.acks = append(e.acks[:0], e.acks[n:]...)
	}
	own, shared := e.drained()
	stalled := e.stalled && e.roomLocked()
	over := e.ended && e.written >= e.appended
	e.mu.Unlock()
	for _, a := range due {
		// ErrNotFound: the session was given to somebody else meanwhile.
		_ = a.to.Ack(b, a.packet)
	}
	if over {
		e.leave(b)
	}
	if own != nil {
		own.Drained(b)
	}
	if shared != nil {
		shared.Drained(b)
	}
	if stalled {
		e.conn.Resume()
	}
}

// drained returns the attachments that were turned away and are wanted again.
// The caller holds mu.
func (e *engine) drained() (own, shared *core.Attachment) {
	if !e.ownFull && !e.sharedFull || e.ended || !e.ready {
		return nil, nil
	}
	if int(e.appended-e.written) > e.front.opt.QueueBytes/2 {
		return nil, nil
	}
	if e.ownFull {
		own = e.own
	}
	if e.sharedFull && e.open {
		shared = e.shared
	}
	e.ownFull, e.sharedFull = false, false
	return own, shared
}

// Closed implements wire.Handler.
func (e *engine) Closed(b *core.Batch, err error) {
	e.pace.stop()
	e.mu.Lock()
	e.closed, e.ended = true, true
	e.acks = nil
	if e.sm == nil {
		e.pending = nil // nobody hears of them
	}
	e.mu.Unlock()
	e.leave(b)
	if err != nil && !errors.Is(err, wire.ErrClosed) {
		e.front.opt.Log.Debug("connection ended", "client", e.conn.RemoteAddr().String(), "session", e.self.String(), "err", err)
	}
}

// Flush implements core.Device.
func (e *engine) Flush() {
	e.mu.Lock()
	e.trailer()
	lost := e.sm != nil && e.sm.lost()
	reason := e.closing
	e.mu.Unlock()
	if lost && reason == nil {
		e.end(new(core.Batch), errUnacked) // what it touches is flushed below
		reason = errUnacked
	}
	if reason != nil {
		e.conn.Close(reason)
	}
	e.conn.Flush()
}

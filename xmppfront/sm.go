package xmppfront

import (
	"slices"
	"sync"
	"time"

	"pushhub/core"
)

const nsSM = "urn:xmpp:sm:3" // XEP-0198

const (
	askEvery   = 10       // stanzas after which the client is asked what it has handled
	maxUnacked = 16 << 10 // stanzas that the client has not acknowledged; more end the stream
	maxOwed    = 1 << 10  // stanzas of the client behind one that is not durable; more stop the input
	maxKept    = 256 << 10
)

// A window is where a delivery is acknowledged.
type window uint8

const (
	windowNone   window = iota // nowhere: at QoS 0, or no message at all
	windowOwn                  // of the device's session
	windowShared               // of its account's own session
)

// sent is a stanza that the client has not acknowledged.
type sent struct {
	window window
	packet uint16
	keep   keep
	raw    []byte // to be sent again; nil: it is not, unless the core does
}

// keep says how much it matters that the bytes of a stanza are kept.
type keep uint8

const (
	keepNot  keep = iota // the core delivers it again
	keepSome             // in half of the room
	keepMust             // while there is room: an IQ, a presence
)

// managed is the state of a managed stream, XEP-0198 §4: what outlives its
// connection. Counters wrap at 2^32.
type managed struct {
	resource string
	tag      string        // what resumes the stream; empty: nothing does
	expiry   time.Duration // how long it can be resumed

	mu sync.Mutex // guards what follows; a leaf

	received uint32 // stanzas of the client that were taken
	handled  uint32 // the first of them, up to one whose effect is not durable
	done     []bool // for each behind those: it is durable
	asked    uint32 // what handled must be to answer the client's last <r/> in full
	said     uint32 // the last h that the client was told
	owed     bool   // handled is behind asked
	due      bool   // an <a/> is to be written at the next Flush
	frozen   bool   // no stanza is taken any more

	// Of a stream that can be resumed: what is told must hold after a crash.
	stable    uint32 // what the journal says of handled
	published uint32 // the last stanza that was given to the journal as a message
	counting  bool   // a count is on its way to the journal

	acked   uint32 // stanzas that the client has acknowledged
	sent    []sent // those behind
	kept    int    // bytes of them
	since   int    // stanzas since the last <r/>
	asking  bool   // an <r/> of ours is not answered
	askedAt time.Time
	taken   bool // another stream goes on with this one

	waiting []sent // of an earlier connection, not sent again yet

	// Noted when the connection ends.
	shared     *core.Attachment // of the account's own session; may be nil
	available  bool             // takes what comes for the account
	interested bool             // asked for the roster
	blocklist  bool             // and for the block list
	copies     bool             // asked for carbons
}

// begin counts a stanza of the client; false when none may be taken any more.
func (m *managed) begin() (number uint32, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frozen {
		return 0, false
	}
	m.received++
	m.done = append(m.done, false)
	return m.received, true
}

// resolve says that the effect of a stanza is durable. It reports whether the
// client waits to hear of that, once until the next acknowledge.
func (m *managed) resolve(number uint32) (due bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := number - m.handled - 1
	if i >= uint32(len(m.done)) {
		return false
	}
	m.done[i] = true
	n := 0
	for n < len(m.done) && m.done[n] {
		n++
	}
	m.done = slices.Delete(m.done, 0, n)
	m.handled += uint32(n)
	return m.progress()
}

// progress reports whether there is news for a client that waits, once. The
// caller holds mu.
func (m *managed) progress() bool {
	if !m.owed || m.due || !before(m.said, m.promise()) {
		return false
	}
	m.due = true
	return true
}

// promise is the h that may be told. The caller holds mu.
func (m *managed) promise() uint32 {
	if m.tag != "" && before(m.stable, m.handled) {
		return m.stable
	}
	return m.handled
}

// publish notes that a stanza is about to be given to the journal.
func (m *managed) publish(number uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.published = number
}

// stored notes that the journal has a stanza as a message.
func (m *managed) stored(number uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if before(m.stable, number) {
		m.stable = number
	}
}

// uncounted returns the count that the journal is to be told, where the client
// waits for more than the journal knows from messages.
func (m *managed) uncounted() (handled uint32, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tag == "" || m.taken || m.counting || !m.owed || !before(m.stable, m.handled) || before(m.handled, m.published) {
		return 0, false
	}
	m.counting = true
	return m.handled, true
}

// counted notes that the journal has been told, or could not be. It reports as resolve does.
func (m *managed) counted(handled uint32, ok bool) (due bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counting = false
	if ok && before(m.stable, handled) {
		m.stable = handled
	}
	return m.progress()
}

// room reports whether another stanza of the client may be taken.
func (m *managed) room() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.done) < maxOwed
}

// answer takes the client's <r/>: h is what is durable now.
func (m *managed) answer() (h uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = m.received
	return m.say()
}

// acknowledge returns the h that the client waits for.
func (m *managed) acknowledge() (h uint32, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.due {
		return 0, false
	}
	return m.say(), true
}

// say notes that the client is told. The caller holds mu.
func (m *managed) say() uint32 {
	m.due, m.said = false, m.promise()
	m.owed = before(m.said, m.asked)
	return m.said
}

// before compares counters that wrap.
func before(a, b uint32) bool { return int32(a-b) < 0 }

// freeze takes no more stanzas of the client: what was not taken is for the
// stream that goes on with this one.
func (m *managed) freeze() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen = true
}

// push notes a stanza that was sent, or could not be any more.
func (m *managed) push(s sent, parts [][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.taken {
		return
	}
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if m.tag != "" && (s.keep == keepMust && m.kept+n <= maxKept || s.keep == keepSome && m.kept+n <= maxKept/2) {
		s.raw = slices.Concat(parts...)
		m.kept += n
	}
	m.sent = append(m.sent, s)
	m.since++
}

// crowded reports whether the client is too far behind for what may be dropped.
func (m *managed) crowded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sent) >= maxUnacked/2
}

// acknowledged takes an h of the client, and returns what it covers newly. When h
// is more than was sent it reports false, with the number that was.
func (m *managed) acknowledged(h uint32) (covered []sent, total uint32, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, total := h-m.acked, m.acked+uint32(len(m.sent))
	if n > uint32(len(m.sent)) {
		return nil, total, false
	}
	m.asking = false
	covered = slices.Clone(m.sent[:n])
	for _, s := range covered {
		m.kept -= len(s.raw)
	}
	m.acked = h
	m.sent = slices.Delete(m.sent, 0, int(n))
	if len(m.sent) == 0 && cap(m.sent) > 64 {
		m.sent = nil
	}
	return covered, total, true
}

// forget makes what was sent of the account's own session nobody's: that
// delivers it to others.
func (m *managed) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.sent {
		if s := &m.sent[i]; s.window == windowShared {
			m.kept -= len(s.raw)
			*s = sent{}
		}
	}
}

// ask reports whether the client is to be asked what it has handled, and notes
// that it is. XEP-0198 §4
func (m *managed) ask(least int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asking || len(m.sent) == 0 || m.since < least {
		return false
	}
	m.asking, m.askedAt, m.since = true, time.Time{}, 0
	return true
}

// silent reports whether the client owes an answer for too long.
func (m *managed) silent(now time.Time, most time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asking && m.askedAt.IsZero() {
		m.askedAt = now
	}
	return m.asking && now.Sub(m.askedAt) > most
}

// lost reports whether the client will never catch up.
func (m *managed) lost() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sent) > maxUnacked
}

// end notes how the stream ended, and returns the bytes that it keeps.
func (m *managed) end(shared *core.Attachment, available, interested, blocklist, copies bool) (size int) {
	const entry = 48
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shared, m.available, m.interested, m.blocklist, m.copies = shared, available, interested, blocklist, copies
	size = m.kept + entry*(len(m.sent)+len(m.waiting))
	for _, s := range m.waiting {
		size += len(s.raw)
	}
	return size
}

// heirOf begins the stream that goes on with an old one, which is over then. It
// returns the old one's attachment to the account's own session, where it had one.
func (m *managed) heirOf(old *managed) (shared *core.Attachment) {
	old.mu.Lock()
	defer old.mu.Unlock()
	old.taken, old.frozen = true, true
	m.handled, m.acked, m.sent, m.kept, m.waiting = old.handled, old.acked, old.sent, old.kept, old.waiting
	m.expiry, m.received, m.available = old.expiry, old.handled, old.available
	m.interested, m.blocklist, m.copies = old.interested, old.blocklist, old.copies
	shared, old.shared = old.shared, nil
	old.sent, old.waiting, old.done, old.kept = nil, nil, nil, 0
	return shared
}

// rewind empties the window of what was sent: it waits to be sent again.
func (m *managed) rewind() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, m.sent...)
	m.sent, m.kept, m.since, m.asking = nil, 0, 0, false
}

// again returns what waits to be sent again.
func (m *managed) again() []sent {
	m.mu.Lock()
	defer m.mu.Unlock()
	waiting := m.waiting
	m.waiting = nil
	return waiting
}

// out reports whether a delivery of the account's own session is among what was sent.
func (m *managed) out(packet uint16) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.sent, func(s sent) bool { return s.window == windowShared && s.packet == packet })
}

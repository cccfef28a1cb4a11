package faults

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A Kind is a way to send.
type Kind int

// The kinds, as the report lists them.
const (
	MQTT1       Kind = iota // MQTT QoS 1 to a topic
	MQTT2                   // MQTT QoS 2 to a topic
	MQTT1Inbox              // MQTT QoS 1 to an account
	MQTT2Inbox              // MQTT QoS 2 to an account
	XMPPItem                // a pubsub item, acknowledged by its result
	XMPPMessage             // a message to an account, acknowledged by XEP-0198
	kinds
)

// String implements fmt.Stringer.
func (k Kind) String() string {
	return [...]string{"mqtt qos 1", "mqtt qos 2", "mqtt qos 1 inbox", "mqtt qos 2 inbox", "xmpp item", "xmpp message"}[k]
}

// qos is the level at which the hub has the message.
func (k Kind) qos() byte {
	if k == MQTT2 || k == MQTT2Inbox {
		return 2
	}
	return 1
}

// A ledger is the books of one run.
type ledger struct {
	start time.Time

	mu         sync.Mutex // guards what follows
	streams    []*stream  // grows before the run only; read without mu after that
	violations []violation
	dropped    [violationKinds]int // violations beyond those that are kept
	faults     []event
	scarce     [][2]int32 // when the hub may have refused messages, in stamps
}

// An event is something that happened, for people who look for a cause.
type event struct {
	at   time.Duration
	what string
}

type violationKind int

const (
	lost violationKind = iota
	doubled
	reordered
	broken // whatever else a hub must not do: a session lost, no recovery, a wrong answer
	violationKinds
)

func (k violationKind) String() string {
	return [...]string{"lost", "QoS 2 duplicate", "reordered", "broken"}[k]
}

type violation struct {
	kind violationKind
	what string
	who  *history // of the receiver
	also *history // of the sender; may be nil
}

// maxViolations is how many violations of a kind are described; more are counted.
const maxViolations = 12

func newLedger() *ledger { return &ledger{start: time.Now()} }

func (l *ledger) now() time.Duration { return time.Since(l.start) }

// stamp is a time in the books: milliseconds since the start, never 0.
func (l *ledger) stamp() int32 { return int32(l.now().Milliseconds()) + 1 }

func (l *ledger) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, event{l.now(), fmt.Sprintf(format, args...)})
}

func (l *ledger) violate(v violation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for i := range l.violations {
		if l.violations[i].kind == v.kind {
			n++
		}
	}
	if n >= maxViolations {
		l.dropped[v.kind]++
		return
	}
	l.violations = append(l.violations, v)
}

// count is how many violations of a kind there were.
func (l *ledger) count(k violationKind) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.dropped[k]
	for i := range l.violations {
		if l.violations[i].kind == k {
			n++
		}
	}
	return n
}

// scarcity notes when the hub began to have to refuse messages, and when it ended.
func (l *ledger) scarcity(begins bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if begins {
		l.scarce = append(l.scarce, [2]int32{l.stamp(), math.MaxInt32})
	} else {
		l.scarce[len(l.scarce)-1][1] = l.stamp()
	}
}

// mayBeRefused reports whether a message may have been refused without its sender
// having read that: what it sends again is then rightly behind what was accepted
// in between.
func (l *ledger) mayBeRefused(m sending) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return m.again && slices.ContainsFunc(l.scarce, func(s [2]int32) bool { return m.sent >= s[0] && m.sent <= s[1] })
}

// around are the faults that happened near a time.
func (l *ledger) around(at time.Duration) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b bytes.Buffer
	for _, f := range l.faults {
		if f.at > at-3*time.Second && f.at < at+3*time.Second {
			fmt.Fprintf(&b, " [%+.3fs %s]", (f.at - at).Seconds(), f.what)
		}
	}
	return b.String()
}

// A stream is what one sender sends to one address, numbered from 1.
type stream struct {
	index   int
	kind    Kind
	sender  *history
	address string // a topic, or an account's bare name for XMPPMessage

	mu   sync.Mutex // guards sent
	sent []sending  // sent[seq-1]
}

// A sending is one message in its sender's books; the times are stamps.
type sending struct {
	sent, acked, refused int32
	again                bool // on a later connection, since no answer was read
}

func (l *ledger) stream(kind Kind, address string, sender *history) *stream {
	s := &stream{index: len(l.streams), kind: kind, address: address, sender: sender}
	l.streams = append(l.streams, s)
	return s
}

// next numbers a new message.
func (s *stream) next(at int32) (seq int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, sending{sent: at})
	return len(s.sent)
}

func (s *stream) acked(seq int, at int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := &s.sent[seq-1]; e.acked == 0 {
		e.acked = at
	}
}

// again notes that a message is sent on another connection.
func (s *stream) again(seq int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[seq-1].again = true
}

func (s *stream) refused(seq int, at int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[seq-1].refused = at
}

func (s *stream) at(seq int) sending {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[seq-1]
}

// totals counts what was sent, acknowledged and refused.
func (s *stream) totals() (sent, acked, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.sent {
		switch e := &s.sent[i]; {
		case e.refused != 0: // XEP-0198 acknowledges what came back, too
			refused++
		case e.acked != 0:
			acked++
		}
	}
	return len(s.sent), acked, refused
}

// The payload of message 12 of stream 3 is "~3 12 ", and padding.
func appendPayload(b []byte, stream, seq int) []byte {
	b = strconv.AppendInt(append(b, '~'), int64(stream), 10)
	b = append(strconv.AppendInt(append(b, ' '), int64(seq), 10), ' ')
	const pad = "the quick brown fox jumps over the lazy dog, again and again, until the hub is tired of it"
	return append(b, pad[:24+seq%60]...)
}

func parsePayload(b []byte) (stream, seq int, ok bool) {
	b, ok = bytes.CutPrefix(b, []byte("~"))
	if !ok {
		return 0, 0, false
	}
	first, rest, _ := bytes.Cut(b, []byte(" "))
	second, _, _ := bytes.Cut(rest, []byte(" "))
	stream, err1 := strconv.Atoi(string(first))
	seq, err2 := strconv.Atoi(string(second))
	return stream, seq, err1 == nil && err2 == nil
}

// A tally is what one receiver has of one stream.
type tally struct {
	stream *stream
	exact  bool    // QoS 2 on both sides: nothing may come twice
	first  []int32 // stamps of first deliveries, by seq-1; 0: not yet
	high   int     // the highest seq that came
	full   int     // all that is acknowledged up to this seq has come
	got    int
	twice  int
}

// An inbox is the books of one receiver.
type inbox struct {
	l       *ledger
	who     *history
	mu      sync.Mutex // guards what follows
	tallies map[int]*tally
	last    int32 // stamp of the newest delivery
}

func newInbox(l *ledger, who *history) *inbox {
	return &inbox{l: l, who: who, tallies: map[int]*tally{}}
}

// entitle adds a stream that the receiver must get all of.
func (in *inbox) entitle(s *stream, qos byte) {
	in.tallies[s.index] = &tally{stream: s, exact: qos == 2 && s.kind.qos() == 2}
}

// got notes a delivery that the application was given; how tells of it.
func (in *inbox) got(payload []byte, how string) {
	index, seq, ok := parsePayload(payload)
	if !ok {
		in.l.violate(violation{kind: broken, who: in.who, what: fmt.Sprintf("%s was sent a payload that nobody wrote: %q", in.who.name, payload)})
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	t := in.tallies[index]
	if t == nil || seq < 1 {
		in.l.violate(violation{kind: broken, who: in.who, what: fmt.Sprintf("%s was sent message %d of stream %d, to which it is not subscribed", in.who.name, seq, index)})
		return
	}
	now := in.l.stamp()
	in.last = now
	if grow := seq - len(t.first); grow > 0 {
		t.first = append(t.first, make([]int32, grow)...)
	}
	if t.first[seq-1] != 0 {
		t.twice++
		if t.exact {
			in.violateAt(doubled, t, seq, now, fmt.Sprintf("came %.3f s after the first time, %s", float64(now-t.first[seq-1])/1000, how))
		}
		return
	}
	t.first[seq-1] = now
	t.got++
	if seq < t.high && !in.l.mayBeRefused(t.stream.at(seq)) {
		in.violateAt(reordered, t, seq, now, fmt.Sprintf("came after message %d, %s", t.high, how))
	}
	t.high = max(t.high, seq)
}

// violateAt describes a violation. mu is held.
func (in *inbox) violateAt(kind violationKind, t *tally, seq int, at int32, what string) {
	s := t.stream.at(seq)
	when := time.Duration(at-1) * time.Millisecond
	in.l.violate(violation{
		kind: kind, who: in.who, also: t.stream.sender,
		what: fmt.Sprintf("%s: message %d of stream %d (%s of %s to %s; sent at %s, acknowledged at %s): at %s %s; the cursor is at %d; faults then:%s",
			in.who.name, seq, t.stream.index, t.stream.kind, t.stream.sender.name, t.stream.address,
			clock(s.sent), clock(s.acked), clock(at), what, t.high, in.l.around(when)),
	})
}

// clock writes a stamp.
func clock(stamp int32) string {
	if stamp == 0 {
		return "never"
	}
	return fmt.Sprintf("%.3fs", float64(stamp-1)/1000)
}

// missing is how many acknowledged messages have not come.
func (in *inbox) missing() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := 0
	for _, t := range in.tallies {
		n += len(t.missing())
	}
	return n
}

// missing lists the acknowledged messages that have not come. The inbox is locked.
func (t *tally) missing() (seqs []int) {
	t.stream.mu.Lock()
	defer t.stream.mu.Unlock()
	whole := true
	for i := t.full; i < len(t.stream.sent); i++ {
		came := i < len(t.first) && t.first[i] != 0
		s := &t.stream.sent[i]
		if s.acked != 0 && s.refused == 0 && !came {
			seqs = append(seqs, i+1)
		}
		whole = whole && (came || s.refused != 0)
		if whole {
			t.full = i + 1
		}
	}
	return seqs
}

// settle files what is lost.
func (in *inbox) settle() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, t := range in.tallies {
		for _, seq := range t.missing() {
			acked := t.stream.at(seq).acked
			in.violateAt(lost, t, seq, acked, fmt.Sprintf("was acknowledged and never came; the newest delivery of any kind was at %s", clock(in.last)))
		}
	}
}

// A history is what happened to one device lately.
type history struct {
	name string
	l    *ledger

	mu     sync.Mutex // guards what follows
	events []event
}

func (l *ledger) history(name string) *history { return &history{name: name, l: l} }

// maxHistory bounds the events that are kept of a device.
const maxHistory = 400

func (h *history) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.events) >= maxHistory {
		h.events = slices.Delete(h.events, 0, maxHistory/2)
	}
	h.events = append(h.events, event{h.l.now(), fmt.Sprintf(format, args...)})
}

func (h *history) dump(b *bytes.Buffer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(b, "== %s\n", h.name)
	for _, e := range h.events {
		fmt.Fprintf(b, "%9.3f %s\n", e.at.Seconds(), e.what)
	}
}

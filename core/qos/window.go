// Package qos owns the state machines of MQTT's quality of service, which serve
// XMPP as well: the window of unacknowledged deliveries to a device, and the
// ring of acknowledgements owed to a publisher. It is pure: callers lock, and act
// on what it returns.
package qos

// MaxSpan is how far the newest entry of a window may be ahead of the oldest
// unacknowledged one. It keeps packet identifiers apart (65,535 of them) when a
// client never acknowledges one of its messages.
const MaxSpan = 16384

// keepEntries is the most memory, in entries, that an empty window keeps.
const keepEntries = 64

// PacketID is the packet identifier of the seq'th delivery of a session, from 1:
// the same message is sent again under the same identifier after a restart.
func PacketID(seq uint64) uint16 { return uint16((seq-1)%65535) + 1 }

// A Phase is how far a delivery has come.
type Phase uint8

const (
	Waiting  Phase = iota // it has its packet id, and is yet to be sent on this connection
	Sent                  // PUBLISH is out
	Received              // QoS 2: PUBREC has come, PUBREL is due
	Released              // QoS 2: PUBREL is out
	acked
	Aside // it waits for the one device that it is for, and holds up no other
)

// An Entry is one unacknowledged delivery.
type Entry[T any] struct {
	Packet uint16
	QoS    uint8
	Phase  Phase
	Dup    bool // it may have been sent on an earlier connection
	Value  T
}

// A Window holds the unacknowledged deliveries of one session in order. The zero
// value, after SetMax, is ready.
type Window[T any] struct {
	base    []Entry[T] // the memory of entries, from its start
	head    int        // where in base entries begins
	entries []Entry[T] // entries[0] is delivery number low
	low     uint64     // deliveries are numbered from 1; 0: none was added yet
	open    int        // entries that are not acknowledged, nor Aside
	aside   int        // entries that are Aside
	unsent  int        // index of the first entry that may be Waiting or due a PUBREL
	max     int
}

// SetMax bounds the unacknowledged deliveries: the receiver's Receive Maximum.
func (w *Window[T]) SetMax(n int) { w.max = n }

// Max is that bound.
func (w *Window[T]) Max() int { return w.max }

// maxAside is how many entries may wait for one device each without counting.
const maxAside = 4096

// Room reports whether another delivery may be added.
func (w *Window[T]) Room() bool {
	return w.open < w.max && w.aside < maxAside && len(w.entries) < MaxSpan
}

// Open is how many deliveries are unacknowledged.
func (w *Window[T]) Open() int { return w.open }

// Sequence is the number of the oldest delivery in the window, or of the next one when it is empty.
func (w *Window[T]) Sequence() uint64 { return max(w.low, 1) }

// End is the number that the next delivery will get.
func (w *Window[T]) End() uint64 { return w.Sequence() + uint64(len(w.entries)) }

// Restore sets an empty window to begin with delivery number seq.
func (w *Window[T]) Restore(seq uint64) {
	if len(w.entries) == 0 {
		w.low = max(seq, 1)
	}
}

// Add numbers a delivery and appends it, Waiting.
func (w *Window[T]) Add(qos uint8, v T) *Entry[T] {
	if w.low == 0 {
		w.low = 1
	}
	seq := w.low + uint64(len(w.entries))
	full := len(w.entries) == cap(w.entries)
	w.entries = append(w.entries, Entry[T]{Packet: PacketID(seq), QoS: qos, Value: v})
	if full {
		w.base, w.head = w.entries, 0
	}
	w.open++
	return &w.entries[len(w.entries)-1]
}

// AddAcked appends a delivery that is acknowledged already: a gap to be kept when a window is restored.
func (w *Window[T]) AddAcked() {
	var none T
	w.Add(0, none).Phase = acked
	w.open--
	w.pop()
}

// Get finds an unacknowledged delivery; nil where there is none.
func (w *Window[T]) Get(packet uint16) *Entry[T] {
	if packet == 0 || len(w.entries) == 0 {
		return nil
	}
	i := (int(packet) - int(PacketID(w.low)) + 65535) % 65535
	if i >= len(w.entries) || w.entries[i].Phase == acked {
		return nil
	}
	return &w.entries[i]
}

// Ack takes a delivery out of the window; false where there was none.
func (w *Window[T]) Ack(packet uint16) bool {
	e := w.Get(packet)
	if e == nil {
		return false
	}
	var none T
	if e.Phase == Aside {
		w.aside--
	} else {
		w.open--
	}
	e.Phase, e.Value = acked, none
	w.pop()
	return true
}

// pop drops the acknowledged entries at the front.
func (w *Window[T]) pop() {
	n := 0
	for n < len(w.entries) && w.entries[n].Phase == acked {
		n++
	}
	if n == 0 {
		return
	}
	w.low += uint64(n)
	w.unsent = max(0, w.unsent-n)
	w.entries = w.entries[n:]
	w.head += n
	if len(w.entries) == 0 && w.head+cap(w.entries) > keepEntries {
		w.base, w.entries, w.head = nil, nil, 0
	} else if w.head > len(w.entries) {
		w.entries = w.base[:copy(w.base[:cap(w.base)], w.entries)]
		w.head = 0
	}
}

// NextDue returns the first entry that is due to be sent: Waiting (PUBLISH) or
// Received (PUBREL); nil when all is sent. Set its Phase and call NextDue again.
func (w *Window[T]) NextDue() *Entry[T] {
	for ; w.unsent < len(w.entries); w.unsent++ {
		if e := &w.entries[w.unsent]; e.Phase == Waiting || e.Phase == Received {
			return e
		}
	}
	return nil
}

// Rewind makes all that is unacknowledged due again, for a new connection
// [MQTT-4.4.0-1]: PUBREL where PUBREC had come, else PUBLISH with DUP.
func (w *Window[T]) Rewind() {
	w.unsent = 0
	for i := range w.entries {
		switch e := &w.entries[i]; e.Phase {
		case Sent:
			e.Phase, e.Dup = Waiting, true
		case Released:
			e.Phase = Received
		case Aside:
			e.Phase = Waiting
		}
	}
	w.open, w.aside = w.open+w.aside, 0
}

// SetAside passes over an entry that is Waiting, until Recall or Rewind.
func (w *Window[T]) SetAside(e *Entry[T]) {
	e.Phase = Aside
	w.open, w.aside = w.open-1, w.aside+1
}

// Recall makes what was put aside due.
func (w *Window[T]) Recall() {
	for i := range w.entries {
		if e := &w.entries[i]; e.Phase == Aside {
			e.Phase = Waiting
			w.unsent = min(w.unsent, i)
		}
	}
	w.open, w.aside = w.open+w.aside, 0
}

// Each calls yield for every entry from the oldest; e is nil for an acknowledged one amid others.
func (w *Window[T]) Each(yield func(e *Entry[T]) bool) {
	for i := range w.entries {
		e := &w.entries[i]
		if e.Phase == acked {
			e = nil
		}
		if !yield(e) {
			return
		}
	}
}

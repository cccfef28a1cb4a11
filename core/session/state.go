// Package session owns what a session is: a cursor over the log, the filters
// that say which of its records are the session's, and the window of deliveries
// that its device has not acknowledged. Offline queue, redelivery and resumption
// are all replay from the cursor. It is pure: callers lock, read the log and send.
package session

import (
	"slices"
	"strings"

	"pushhub/core/journal"
	"pushhub/core/qos"
)

// Options are what a subscription asks for, MQTT 5 §3.8.3.1.
type Options struct {
	QoS               uint8
	NoLocal           bool
	RetainAsPublished bool
	ID                uint32 // subscription identifier; 0: none
}

// A Filter is one subscription of the session that the log serves.
type Filter struct {
	Name string
	Options
	Since    journal.Position // the SUB record: only what follows it matches
	postings *journal.Postings
	place    int // in postings: all before is behind the cursor
}

// Postings are what the log has for the filter.
func (f *Filter) Postings() *journal.Postings { return f.postings }

// An Item is one delivery in the window.
type Item struct {
	Pos   journal.Position // 0: the message is not in the log
	Held  any              // the message, where it is not in the log and may have to be sent again
	Saved bool             // QoS 2: the journal knows this entry's packet id
	Came  bool             // QoS 2: its PUBREC has come, and is on its way to the journal
	Going bool             // QoS 2: the record that makes it Saved is on its way to the journal
	Share string           // the shared subscription that the delivery was taken from; empty: it is the session's own
	Match
}

// Offered reports whether the device may have been sent the delivery of an entry,
// as far as the journal is to know.
func Offered(e *qos.Entry[Item]) bool {
	return e.Phase == qos.Sent || e.Phase == qos.Received || e.Phase == qos.Released || e.Dup || e.Value.Saved || e.Value.Going
}

// A Match is how the session's filters match a record: the best of them.
type Match struct {
	QoS               uint8
	NoLocal           bool // every matching filter asks for it
	RetainAsPublished bool
	IDs               []uint32
}

// State is the state of one session. The zero value, with the window's bound set, is a new one.
type State struct {
	Epoch    uint64 // the position of the CLAIM record of its last connection
	Expiry   int64  // how long it outlives its connection, milliseconds
	Detached int64  // when its connection ended, Unix milliseconds; 0: it is connected
	Applied  journal.Position
	Inbound  map[uint16]struct{} // QoS 2 packet ids received and not released
	Handled  uint32              // the number of the last counted message that is stored (XEP-0198)
	Tag      string              // what a device must know to resume it; empty: its address is enough
	Out      qos.Window[Item]

	next    journal.Position // the cursor: what is before is in the window or done
	filters []*Filter        // by name
}

// Subscribe sets a filter, from the position of its SUB record on. A filter that
// is there already keeps its place in the log [MQTT-3.8.4-3].
func (s *State) Subscribe(filter string, opt Options, since journal.Position, p *journal.Postings) {
	i, found := s.find(filter)
	if found && s.filters[i].postings == p {
		s.filters[i].Options = opt
		return
	}
	f := &Filter{Name: filter, Options: opt, Since: since, postings: p}
	f.place = p.Seek(max(since, s.next))
	if found {
		s.filters[i] = f
		return
	}
	s.filters = slices.Insert(s.filters, i, f)
}

func (s *State) find(filter string) (int, bool) {
	return slices.BinarySearchFunc(s.filters, filter, func(f *Filter, name string) int { return strings.Compare(f.Name, name) })
}

// Unsubscribe removes a filter; false where there was none.
func (s *State) Unsubscribe(filter string) bool {
	i, found := s.find(filter)
	if found {
		s.filters = slices.Delete(s.filters, i, i+1)
	}
	return found
}

// Filters are the session's filters, by name; read-only.
func (s *State) Filters() []*Filter { return s.filters }

// Filter finds a filter; nil where there is none.
func (s *State) Filter(filter string) *Filter {
	if i, found := s.find(filter); found {
		return s.filters[i]
	}
	return nil
}

// Len is how many filters there are.
func (s *State) Len() int { return len(s.filters) }

// Next returns the first record at or beyond the cursor that a filter matches,
// and how; ok is false when the session has caught up. It does not move the cursor.
func (s *State) Next() (pos journal.Position, m Match, ok bool) {
	for _, f := range s.filters {
		p, more := f.next(s.next)
		if !more {
			continue
		}
		switch {
		case !ok || p < pos:
			pos, ok = p, true
			m = Match{QoS: f.QoS, NoLocal: f.NoLocal, RetainAsPublished: f.RetainAsPublished, IDs: appendID(nil, f.ID)}
		case p == pos:
			m.QoS = max(m.QoS, f.QoS)
			m.NoLocal = m.NoLocal && f.NoLocal
			m.RetainAsPublished = m.RetainAsPublished || f.RetainAsPublished
			m.IDs = appendID(m.IDs, f.ID)
		}
	}
	return pos, m, ok
}

// next returns the first position of the filter at or beyond the cursor.
func (f *Filter) next(cursor journal.Position) (journal.Position, bool) {
	p, at, ok := f.postings.Get(f.place)
	if from := max(f.Since, cursor); ok && p < from {
		p, at, ok = f.postings.Get(f.postings.Seek(from))
	}
	f.place = at
	return p, ok
}

func appendID(ids []uint32, id uint32) []uint32 {
	if id == 0 {
		return ids
	}
	return append(ids, id)
}

// Advance moves the cursor beyond pos.
func (s *State) Advance(pos journal.Position) {
	if pos < s.next {
		return
	}
	s.next = pos + 1
	for _, f := range s.filters {
		if p, at, ok := f.postings.Get(f.place); ok && p <= pos {
			f.place = at + 1
		}
	}
}

// Needs is the oldest position that the session may still read; last is the end of the log.
func (s *State) Needs(last journal.Position) journal.Position {
	need := last + 1
	if p, _, ok := s.Next(); ok {
		need = p
	}
	s.Out.Each(func(e *qos.Entry[Item]) bool {
		if e != nil && e.Value.Pos != 0 && e.Value.Share == "" {
			need = min(need, e.Value.Pos)
			return false
		}
		return true
	})
	return need
}

// Behind is how many records wait beyond the cursor, and their bytes; a record
// that several filters match counts more than once.
func (s *State) Behind() (records int, bytes int64) {
	for _, f := range s.filters {
		f.next(s.next)
		n, b := f.postings.From(f.place)
		records, bytes = records+n, bytes+b
	}
	return records, bytes
}

// Shed moves the cursor forward until at most that much waits beyond it, and
// says how many records it passed over: the oldest go first.
func (s *State) Shed(records int, bytes int64) (dropped int) {
	for {
		n, b := s.Behind()
		pos, _, ok := s.Next()
		if !ok || (n <= records && b <= bytes) {
			return dropped
		}
		s.Advance(pos)
		dropped++
	}
}

// ShedUpTo moves the cursor beyond pos and says how many records it passed over.
func (s *State) ShedUpTo(pos journal.Position) (dropped int) {
	for {
		next, _, ok := s.Next()
		if !ok || next > pos {
			return dropped
		}
		s.Advance(next)
		dropped++
	}
}

// Receive notes an inbound QoS 2 packet id [MQTT-4.3.3-10]; false: it is a duplicate.
func (s *State) Receive(packet uint16) bool {
	if _, dup := s.Inbound[packet]; dup {
		return false
	}
	if s.Inbound == nil {
		s.Inbound = map[uint16]struct{}{}
	}
	s.Inbound[packet] = struct{}{}
	return true
}

// Release forgets an inbound packet id; false where there was none.
func (s *State) Release(packet uint16) bool {
	if _, ok := s.Inbound[packet]; !ok {
		return false
	}
	delete(s.Inbound, packet)
	return true
}

package topic

import "slices"

// values is a set that is never empty. Most filters have one subscriber, so
// one is all that it has room for; more live apart.
type values[T comparable] struct {
	one  T // meaningless when more is set
	more *many[T]
}

// many is a set of at least two. It is a plain list so that a match copies it
// in one go; a big one also knows where each value stands, lest a million
// subscribers of one filter take quadratic time to come and go.
type many[T comparable] struct {
	list []T
	at   map[T]int32 // nil while a scan is as quick
}

// A set gets its positions with more values than scanMax, and loses them again
// at scanMin.
const (
	scanMax = 32
	scanMin = 16
)

func (s *values[T]) add(v T) bool {
	if s.more != nil {
		return s.more.add(v)
	}
	if s.one == v {
		return false
	}
	s.more = &many[T]{list: []T{s.one, v}}
	var zero T
	s.one = zero
	return true
}

// remove tells whether v was there, and whether it was the last, in which case
// the caller must drop the set.
func (s *values[T]) remove(v T) (removed, last bool) {
	if s.more == nil {
		return s.one == v, s.one == v
	}
	if !s.more.remove(v) {
		return false, false
	}
	if len(s.more.list) == 1 {
		s.one, s.more = s.more.list[0], nil
	}
	return true, false
}

func (s *values[T]) appendTo(dst []T) []T {
	if s.more == nil {
		return append(dst, s.one)
	}
	return append(dst, s.more.list...)
}

func (m *many[T]) find(v T) int {
	if m.at == nil {
		return slices.Index(m.list, v)
	}
	if i, ok := m.at[v]; ok {
		return int(i)
	}
	return -1
}

func (m *many[T]) add(v T) bool {
	if m.find(v) >= 0 {
		return false
	}
	m.list = append(m.list, v)
	if m.at != nil {
		m.at[v] = int32(len(m.list) - 1)
	} else if len(m.list) > scanMax {
		m.note()
	}
	return true
}

func (m *many[T]) remove(v T) bool {
	i := m.find(v)
	if i < 0 {
		return false
	}
	last := len(m.list) - 1
	moved := m.list[last]
	m.list[i] = moved
	clear(m.list[last:]) // lest the array keep what v points to
	m.list = m.list[:last]
	if m.at != nil {
		m.at[moved] = int32(i)
		delete(m.at, v)
	}
	m.shrink()
	return true
}

// shrink gives memory back when most of it is unused.
func (m *many[T]) shrink() {
	if m.at != nil && len(m.list) <= scanMin {
		m.at = nil
	}
	if cap(m.list) <= 2*scanMax || len(m.list) > cap(m.list)/4 {
		return
	}
	m.list = append(make([]T, 0, 2*len(m.list)), m.list...)
	if m.at != nil {
		m.note()
	}
}

func (m *many[T]) note() {
	m.at = make(map[T]int32, len(m.list))
	for i, v := range m.list {
		m.at[v] = int32(i)
	}
}

// table maps keys to sets.
type table[T comparable] map[string]values[T]

// add tells whether the pair is new, and whether the key is.
func (t table[T]) add(key string, v T) (added, newKey bool) {
	s, ok := t[key]
	if !ok {
		t[key] = values[T]{one: v}
		return true, true
	}
	added = s.add(v)
	if added {
		t[key] = s
	}
	return added, false
}

// remove tells whether the pair was there, and whether the key went with it.
func (t table[T]) remove(key string, v T) (removed, gone bool) {
	s, ok := t[key]
	if !ok {
		return false, false
	}
	removed, gone = s.remove(v)
	switch {
	case gone:
		delete(t, key)
	case removed:
		t[key] = s
	}
	return removed, gone
}

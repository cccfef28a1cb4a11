package journal

import "sort"

// Postings are the positions of the records that one filter matches, in order.
// They are a cache: the log rebuilds them. The zero value is empty.
//
// Places in the list are counted from the first position ever added, so that
// they stay valid when the front is trimmed.
type Postings struct {
	list    []Position
	trimmed int
}

// Add appends a position; one that is not beyond the last is ignored.
func (p *Postings) Add(pos Position) {
	if n := len(p.list); n > 0 && p.list[n-1] >= pos {
		return
	}
	p.list = append(p.list, pos)
}

// Len is how many positions are held.
func (p *Postings) Len() int { return len(p.list) }

// Seek returns the place of the first held position at or beyond pos.
func (p *Postings) Seek(pos Position) int {
	return p.trimmed + sort.Search(len(p.list), func(i int) bool { return p.list[i] >= pos })
}

// Get returns the position at a place, or at the first place still held beyond
// it, and that place; ok is false at the end.
func (p *Postings) Get(place int) (pos Position, at int, ok bool) {
	at = max(place, p.trimmed)
	if at-p.trimmed >= len(p.list) {
		return 0, at, false
	}
	return p.list[at-p.trimmed], at, true
}

// Trim drops the positions before pos.
func (p *Postings) Trim(pos Position) {
	n := p.Seek(pos) - p.trimmed
	if n == 0 {
		return
	}
	p.trimmed += n
	if n > len(p.list)/2 {
		p.list = append([]Position(nil), p.list[n:]...)
		return
	}
	p.list = p.list[n:]
}

// From is how many positions are held at a place and beyond it.
func (p *Postings) From(place int) int {
	return len(p.list) - max(0, place-p.trimmed)
}

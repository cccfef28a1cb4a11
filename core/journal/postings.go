package journal

import "sort"

// Postings are the positions of the records that one filter matches, in order.
// They are a cache: the log rebuilds them. The zero value is empty.
//
// Places in the list are counted from the first position ever added, so that
// they stay valid when the front is trimmed.
type Postings struct {
	list    []Position
	sums    []uint32 // the bytes of all records up to each, modulo 2^32
	trimmed int
}

// Add appends the position of a record of that many bytes; one that is not
// beyond the last is ignored.
func (p *Postings) Add(pos Position, size int) {
	sum := uint32(size)
	if n := len(p.list); n > 0 {
		if p.list[n-1] >= pos {
			return
		}
		sum += p.sums[n-1]
	}
	p.list = append(p.list, pos)
	p.sums = append(p.sums, sum)
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
		p.sums = append([]uint32(nil), p.sums[n:]...)
		return
	}
	p.list, p.sums = p.list[n:], p.sums[n:]
}

// From is how many positions are held at a place and beyond it, and the bytes of
// their records, which count right below 4 GiB.
func (p *Postings) From(place int) (records int, bytes int64) {
	at := max(0, place-p.trimmed)
	n := len(p.list) - at
	switch {
	case n <= 0:
		return 0, 0
	case at == 0:
		return n, int64(p.sums[len(p.sums)-1] - p.base())
	}
	return n, int64(p.sums[len(p.sums)-1] - p.sums[at-1])
}

// base is the sum before the first held record, which is not known once the front
// was trimmed: the first record then counts nothing.
func (p *Postings) base() uint32 {
	if p.trimmed > 0 && len(p.sums) > 0 {
		return p.sums[0]
	}
	return 0
}

// Each calls yield for every position held and the bytes of its record.
func (p *Postings) Each(yield func(pos Position, size int) bool) {
	before := p.base()
	for i, pos := range p.list {
		if !yield(pos, int(p.sums[i]-before)) {
			return
		}
		before = p.sums[i]
	}
}

package core

import (
	"encoding/binary"
	"fmt"
	"slices"

	"pushhub/core/journal"
)

// take gives a member the next position that nobody has: of what came back, of
// what others may not receive, of what is new.
func (sh *share) take(r *Router, sub *subscriber) (journal.Position, taken) {
	s := sub.session
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.postings == nil {
		return 0, tookNone
	}
	for len(sh.free) > 0 {
		pos := sh.free[0]
		sh.free = sh.free[1:]
		if holder, open := sh.open[pos]; open && holder == nil {
			sh.open[pos] = s
			return pos, tookOne
		}
	}
	sh.free = nil
	if pos, res := sh.takeParked(r, sub); res != tookNone {
		return pos, res
	}
	r.posted.RLock()
	pos, at, ok := sh.postings.Get(sh.place)
	if ok && pos < sh.cursor {
		pos, at, ok = sh.postings.Get(sh.postings.Seek(sh.cursor))
	}
	r.posted.RUnlock()
	sh.place = at
	if !ok {
		return 0, tookNone
	}
	sh.place, sh.cursor = at+1, pos+1
	sh.open[pos] = s
	sh.markDirty(r)
	return pos, tookOne
}

// done notes that a position is acknowledged, or never will be.
func (sh *share) done(r *Router, pos journal.Position) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, open := sh.open[pos]; open {
		delete(sh.open, pos)
		sh.markDirty(r)
	}
}

// give takes a position back from the session that has it: somebody else may take it.
func (sh *share) give(pos journal.Position, s *Session) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if holder, open := sh.open[pos]; open && holder == s {
		sh.letGo(pos)
	}
}

// letGo makes a position that is open free. The caller holds mu.
func (sh *share) letGo(pos journal.Position) {
	sh.open[pos] = nil
	if i, found := slices.BinarySearch(sh.free, pos); !found && sh.known {
		sh.free = slices.Insert(sh.free, i, pos)
	}
}

// empty reports whether a member that finds nothing speaks for all.
func (sh *share) empty() bool {
	if sh.count.Load() > 0 {
		return false
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.parked.live == 0
}

// pending reports whether something waits to be taken.
func (sh *share) pending(r *Router) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n := len(sh.free) + int(sh.count.Load()); sh.postings == nil || n > 0 {
		return n > 0
	}
	r.posted.RLock()
	defer r.posted.RUnlock()
	records, _ := sh.postings.From(max(sh.place, sh.postings.Seek(sh.cursor)))
	return records > 0
}

// held notes, while the log is followed at the start, that a session's window was
// journaled with a position in it. It returns the session that had it before; done:
// nobody is to have it any more.
// What lies between the cursor and the position was taken as well; as long as no
// window shows who took it, it is free.
func (sh *share) held(r *Router, pos journal.Position, s *Session) (before *Session, done bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.postings == nil {
		return nil, false
	}
	if pos >= sh.cursor {
		sh.reach(r, pos)
		sh.cursor = pos + 1
	} else if _, open := sh.open[pos]; !open {
		return nil, true
	}
	before = sh.open[pos]
	sh.open[pos] = s
	return before, false
}

// reach makes the positions from the cursor up to end, which is left out, free.
// The caller holds mu.
func (sh *share) reach(r *Router, end journal.Position) {
	r.posted.RLock()
	defer r.posted.RUnlock()
	for place := sh.postings.Seek(sh.cursor); ; place++ {
		pos, at, ok := sh.postings.Get(place)
		if !ok || pos >= end {
			return
		}
		place = at
		sh.open[pos] = nil
	}
}

// sorted lists what is open, in order. The caller holds mu.
func (sh *share) sorted() []journal.Position {
	open := make([]journal.Position, 0, len(sh.open))
	for pos := range sh.open {
		open = append(open, pos)
	}
	slices.Sort(open)
	return open
}

// append encodes the cursor and what is open: cursor positions. The caller holds mu.
func (sh *share) append(dst []byte) []byte {
	return appendPositions(binary.AppendUvarint(dst, uint64(sh.cursor)), sh.sorted())
}

// entries are what a checkpoint keeps of the share: as append encodes it, and what
// is more than one entry is to hold as appendPositions does. The caller holds mu.
func (sh *share) entries() (values [][]byte) {
	if sh.postings == nil {
		return nil
	}
	head := binary.AppendUvarint(nil, uint64(sh.cursor))
	open := sh.sorted()
	for {
		part := open[:min(len(open), maxPostings)]
		open = open[len(part):]
		value := appendPositions(head, part)
		if head != nil {
			value = binary.AppendUvarint(value, uint64(sh.seen))
		}
		values = append(values, value)
		if head = nil; len(open) == 0 {
			return values
		}
	}
}

// appendPositions encodes positions, which are in order:
//
//	count { position, less the one before }*
func appendPositions(dst []byte, positions []journal.Position) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(positions)))
	last := journal.Position(0)
	for _, pos := range positions {
		dst = binary.AppendUvarint(dst, uint64(pos-last))
		last = pos
	}
	return dst
}

// decodePositions reads what appendPositions wrote.
func decodePositions(d *journal.Decoder) []journal.Position {
	n := d.Uvarint()
	if d.Err == nil && n > uint64(len(d.Rest)) {
		d.Err = fmt.Errorf("%w: a share with %d positions", journal.ErrCorrupt, n)
	}
	if d.Err != nil {
		return nil
	}
	positions := make([]journal.Position, 0, n)
	last := journal.Position(0)
	for range n {
		last += journal.Position(d.Uvarint())
		positions = append(positions, last)
	}
	return positions
}

// apply brings the share up to what append encoded: what is before that cursor
// and was not open is done. Who has some of it is a stray, if it was
// not sent it.
func (sh *share) apply(d *journal.Decoder) (strays []stray, err error) {
	cursor, positions := journal.Position(d.Uvarint()), decodePositions(d)
	if d.Err != nil {
		return nil, d.Err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.postings == nil {
		return nil, nil
	}
	open := make(map[journal.Position]bool, len(positions))
	for _, pos := range positions {
		open[pos] = true
	}
	for pos, holder := range sh.open {
		if pos >= cursor || open[pos] {
			continue
		}
		delete(sh.open, pos)
		if holder != nil {
			strays = append(strays, stray{holder, taking{pos, sh.text}, true})
		}
	}
	if cursor > sh.cursor {
		for pos := range open {
			if pos >= sh.cursor {
				sh.open[pos] = nil
			}
		}
		sh.cursor, sh.place = cursor, 0
	}
	return strays, nil
}

// applyOpen notes that positions are done, or that nobody has them after all; what
// lies between the cursor and them was taken, as held says.
func (sh *share) applyOpen(r *Router, at journal.Position, positions []journal.Position, open bool) (strays []stray) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.postings == nil {
		return nil
	}
	if at <= sh.seen {
		return nil // the checkpoint held it already, and perhaps what came of it
	}
	sh.seen = at
	for _, pos := range positions {
		if pos >= sh.cursor {
			sh.reach(r, pos)
			sh.cursor = pos + 1
		}
		holder, was := sh.open[pos]
		switch {
		case open && (!was || holder == returning):
			sh.letGo(pos)
		case !open && holder != returning:
			delete(sh.open, pos)
			if holder != nil {
				strays = append(strays, stray{holder, taking{pos, sh.text}, true})
			}
		}
	}
	sh.markDirty(r)
	return strays
}

// shed forgets the oldest of what waits beyond those limits; it says how many.
func (sh *share) shed(r *Router, records int, bytes int64) (dropped int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.postings == nil || !sh.known {
		return 0
	}
	sh.tidy()
	r.posted.RLock()
	defer r.posted.RUnlock()
	sh.place = max(sh.place, sh.postings.Seek(sh.cursor))
	for {
		n, b := sh.postings.From(sh.place)
		over := n+len(sh.free)+sh.parked.live > records
		if !over && b <= bytes {
			break
		}
		dropped++
		if old := sh.oldest(over); old != 0 {
			delete(sh.open, old)
			continue
		}
		pos, at, _ := sh.postings.Get(sh.place)
		sh.place, sh.cursor = at+1, pos+1
	}
	if dropped > 0 {
		sh.markDirty(r)
	}
	return dropped
}

// shedUpTo forgets what waits from before that position or on it; it says how many.
func (sh *share) shedUpTo(r *Router, upTo journal.Position) (dropped int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.postings == nil || !sh.known {
		return 0
	}
	for pos, holder := range sh.open {
		if holder == nil && pos <= upTo {
			delete(sh.open, pos)
			dropped++
		}
	}
	sh.tidy()
	r.posted.RLock()
	defer r.posted.RUnlock()
	sh.place = max(sh.place, sh.postings.Seek(sh.cursor))
	for {
		pos, at, ok := sh.postings.Get(sh.place)
		if !ok || pos > upTo {
			break
		}
		sh.place, sh.cursor = at+1, pos+1
		dropped++
	}
	if dropped > 0 {
		sh.markDirty(r)
	}
	return dropped
}

// tidy forgets what free and parked have that is not free any more. The caller holds mu.
func (sh *share) tidy() {
	taken := func(pos journal.Position) bool {
		holder, open := sh.open[pos]
		return !open || holder != nil
	}
	sh.free = slices.DeleteFunc(sh.free, taken)
	for i, e := range sh.parked.list {
		if e.pos != 0 && taken(e.pos) {
			sh.parked.clear(i)
		}
	}
}

// know is called when all that was stored before the start has been applied: what
// no window has is free.
func (sh *share) know() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.known, sh.free = true, nil
	for pos, holder := range sh.open {
		if holder == nil {
			sh.free = append(sh.free, pos)
		}
	}
	slices.Sort(sh.free)
}

// oldest takes a position out of what nobody has; 0 when there is none, or the
// records beyond the cursor are too large, not too many. The caller holds mu, and has tidied.
func (sh *share) oldest(over bool) (pos journal.Position) {
	if !over {
		return 0
	}
	p := &sh.parked
	p.trim(sh.open)
	if len(p.list) > 0 && (len(sh.free) == 0 || p.list[0].pos < sh.free[0]) {
		pos = p.list[0].pos
		p.clear(0)
		p.trim(sh.open)
		return pos
	}
	if len(sh.free) > 0 {
		pos, sh.free = sh.free[0], sh.free[1:]
	}
	return pos
}

// needs is the first position of its postings that the share may still read.
func (sh *share) needs() (p *journal.Postings, need journal.Position) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.postings, sh.cursor
}

package core

import (
	"encoding/binary"
	"time"

	"pushhub/core/journal"
)

// ages tells which positions of the log are older than records may wait, from
// marks that it sets now and then. It belongs to whoever writes checkpoints, which
// hold it: a restart makes nothing young again.
type ages struct{ marks []mark }

// A mark says where the log ended at a time.
type mark struct {
	at  int64 // Unix milliseconds
	pos journal.Position
}

// marksAnAge is how many marks an age is cut into: records live so much longer at most.
const marksAnAge = 64

// note marks that the log ends at pos now, unless the last mark is recent enough
// and must is false.
func (a *ages) note(now int64, pos journal.Position, age time.Duration, must bool) {
	if age <= 0 {
		a.marks = nil
		return
	}
	if n := len(a.marks); n > 0 {
		last := a.marks[n-1]
		if pos <= last.pos || !must && now-last.at < age.Milliseconds()/marksAnAge {
			return
		}
	}
	a.marks = append(a.marks, mark{now, pos})
}

// before is the last position that is certainly older than age, 0: there is none.
func (a *ages) before(now int64, age time.Duration) (pos journal.Position) {
	if age <= 0 {
		return 0
	}
	for len(a.marks) > 1 && a.marks[1].at <= now-age.Milliseconds() {
		a.marks = a.marks[1:]
	}
	if len(a.marks) > 0 && a.marks[0].at <= now-age.Milliseconds() {
		return a.marks[0].pos
	}
	return 0
}

func (a *ages) append(dst []byte) []byte {
	for _, m := range a.marks {
		dst = binary.AppendUvarint(dst, uint64(m.at))
		dst = binary.AppendUvarint(dst, uint64(m.pos))
	}
	return dst
}

func (a *ages) load(value []byte) error {
	d := journal.Decoder{Rest: value}
	for len(d.Rest) > 0 {
		m := mark{int64(d.Uvarint()), journal.Position(d.Uvarint())}
		if d.Err != nil {
			return d.Err
		}
		a.marks = append(a.marks, m)
	}
	return nil
}

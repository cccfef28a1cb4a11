package core

import (
	"testing"
	"time"

	"pushhub/core/journal"
)

func TestAgesOfTheLog(t *testing.T) {
	const age = 64 * time.Second // a mark each second
	ms := func(d time.Duration) int64 { return 1_000_000 + d.Milliseconds() }
	var a ages
	if old := a.before(ms(0), age); old != 0 {
		t.Errorf("of an empty log %d is old", old)
	}
	for i := range 1000 { // ten records a second
		now := ms(time.Duration(i) * 100 * time.Millisecond)
		a.note(now, journal.Position(i+1), age, false)
		if old := a.before(now, age); int(old) > max(0, i+1-640) || int(old) < i+1-640-11 {
			t.Fatalf("record %d is new, and all up to %d are taken for old", i, old)
		}
		if len(a.marks) > marksAnAge+2 {
			t.Fatalf("%d marks are kept", len(a.marks))
		}
		if i%100 == 50 { // a restart
			var b ages
			if err := b.load(a.append(nil)); err != nil {
				t.Fatal(err)
			}
			a = b
		}
	}
	a.note(ms(100*time.Second), 1000, age, true)
	later := ms(time.Hour)
	a.note(later, 1000, age, true) // nothing came since: it does not make the last ones young
	for range 1000 {               // checkpoints
		a.note(later, 1000, age, true)
	}
	if len(a.marks) > marksAnAge+2 {
		t.Errorf("%d marks are kept", len(a.marks))
	}
	if old := a.before(later, age); old != 1000 {
		t.Errorf("an hour later all up to %d are old", old)
	}
	if err := new(ages).load([]byte{1, 0x80}); err == nil {
		t.Error("damaged marks were loaded")
	}
}

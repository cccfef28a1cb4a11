package session

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pushhub/core/journal"
	"pushhub/core/qos"
)

// world is a log in miniature: postings by filter, and a session on it.
type world struct {
	postings map[string]*journal.Postings
	last     journal.Position
	state    *State
	owed     []journal.Position // what the session must still deliver or have acknowledged, in order
	out      []journal.Position // of those, what is in the window
	filters  map[string]bool
}

func (w *world) postingsOf(f string) *journal.Postings {
	if w.postings[f] == nil {
		w.postings[f] = &journal.Postings{}
	}
	return w.postings[f]
}

// TestSessionDeliversWhatItsFiltersMatch drives a session through random
// publishes, acknowledgements, crashes and restores, and holds it to a list.
func TestSessionDeliversWhatItsFiltersMatch(t *testing.T) {
	names := []string{"a", "b", "c"}
	rapid.Check(t, func(t *rapid.T) {
		w := &world{postings: map[string]*journal.Postings{}, state: &State{}, filters: map[string]bool{}}
		w.state.Out.SetMax(rapid.IntRange(1, 5).Draw(t, "window"))
		pick := func(t *rapid.T) string { return rapid.SampledFrom(names).Draw(t, "filter") }
		t.Repeat(map[string]func(*rapid.T){
			"subscribe": func(t *rapid.T) {
				f := pick(t)
				w.last++
				w.state.Subscribe(f, Options{QoS: 1}, w.last, w.postingsOf(f))
				w.filters[f] = true
			},
			"publish": func(t *rapid.T) {
				w.last += journal.Position(rapid.IntRange(1, 3).Draw(t, "step"))
				hit := false
				for _, f := range names {
					if rapid.Bool().Draw(t, "matches "+f) {
						w.postingsOf(f).Add(w.last, 10)
						hit = hit || w.filters[f]
					}
				}
				if hit {
					w.owed = append(w.owed, w.last)
				}
			},
			"deliver": func(t *rapid.T) {
				for w.state.Out.Room() {
					pos, m, ok := w.state.Next()
					if !ok {
						break
					}
					w.state.Advance(pos)
					e := w.state.Out.Add(m.QoS, Item{Pos: pos, Match: m})
					e.Phase = qos.Sent
					w.out = append(w.out, pos)
				}
				if !slices.Equal(w.out, w.owed[:len(w.out)]) {
					t.Fatalf("delivered %v, owed %v", w.out, w.owed)
				}
				if w.state.Out.Room() && len(w.out) < len(w.owed) {
					t.Fatalf("caught up with %v, owed %v", w.out, w.owed)
				}
			},
			"ack": func(t *rapid.T) {
				if len(w.out) == 0 {
					t.Skip("nothing is out")
				}
				i := rapid.IntRange(0, len(w.out)-1).Draw(t, "which")
				for e := range w.state.Out.Each {
					if e != nil && e.Value.Pos == w.out[i] {
						w.state.Out.Ack(e.Packet)
						break
					}
				}
				w.owed = slices.Delete(w.owed, i, i+1)
				w.out = slices.Delete(w.out, i, i+1)
			},
			"trim": func(*rapid.T) {
				need := w.state.Needs(w.last)
				for f := range w.filters {
					w.postings[f].Trim(need)
				}
			},
			"restart": func(t *rapid.T) {
				row := w.state.AppendRow(nil, w.last)
				fresh := &State{}
				fresh.Out.SetMax(w.state.Out.Max())
				if err := fresh.DecodeRow(row, func(f string, _ Options) (string, *journal.Postings) { return f, w.postingsOf(f) }); err != nil {
					t.Fatalf("the row does not decode: %v", err)
				}
				if fresh.Out.Sequence() != w.state.Out.Sequence() || fresh.Applied != w.last {
					t.Fatalf("sequence %d, applied %d; want %d, %d", fresh.Out.Sequence(), fresh.Applied, w.state.Out.Sequence(), w.last)
				}
				w.state = fresh
			},
			"": func(t *rapid.T) {
				var out []journal.Position
				for e := range w.state.Out.Each {
					if e != nil {
						out = append(out, e.Value.Pos)
					}
				}
				if !slices.Equal(out, w.out) {
					t.Fatalf("the window holds %v, want %v", out, w.out)
				}
			},
		})
	})
}

func TestResubscribingKeepsThePlaceInTheLog(t *testing.T) {
	var s State
	var p journal.Postings
	s.Subscribe("f", Options{QoS: 1}, 5, &p)
	p.Add(7, 10)
	s.Subscribe("f", Options{QoS: 2, ID: 3}, 9, &p)
	pos, m, ok := s.Next()
	if !ok || pos != 7 || m.QoS != 2 || fmt.Sprint(m.IDs) != "[3]" {
		t.Errorf("Next: %v %+v %t", pos, m, ok)
	}
}

func TestInboundPacketIdentifiers(t *testing.T) {
	var s State
	if !s.Receive(1) || s.Receive(1) || !s.Release(1) || s.Release(1) || !s.Receive(1) {
		t.Error("a packet id is a duplicate from Receive until Release, no longer")
	}
}

func TestWindowRemembersWhatCameFromAShare(t *testing.T) {
	var s State
	s.Out.SetMax(9)
	s.Out.Add(1, Item{Pos: 10})
	s.Out.Add(1, Item{Pos: 11, Share: "$share/g/a"}).Phase = qos.Sent
	s.Out.Add(2, Item{Pos: 12, Share: "$share/h/a"})
	s.Out.Add(2, Item{Pos: 13, Share: "$share/g/a", Saved: true})
	s.Out.Ack(s.Out.Add(1, Item{Pos: 14}).Packet)
	var again State
	again.Out.SetMax(9)
	if err := again.ApplyCursor(s.AppendCursor(nil)); err != nil {
		t.Fatal(err)
	}
	got := ""
	for e := range again.Out.Each {
		if e != nil {
			got += fmt.Sprintf("%d %s %t;", e.Value.Pos, e.Value.Share, Offered(e))
		}
	}
	if want := "10  true;11 $share/g/a true;12 $share/h/a false;13 $share/g/a true;"; got != want {
		t.Errorf("the window holds %s, want %s", got, want)
	}
}

func FuzzDecodeRow(f *testing.F) {
	var s State
	s.Subscribe("plant/+/temp", Options{QoS: 2, ID: 7, NoLocal: true}, 12, &journal.Postings{})
	s.Out.SetMax(9)
	s.Out.Add(1, Item{Pos: 14})
	s.Out.Add(2, Item{Pos: 15, Share: "$share/g/a"})
	s.Receive(77)
	f.Add(s.AppendRow(nil, 13))
	f.Fuzz(func(t *testing.T, row []byte) {
		var s State
		if err := s.DecodeRow(row, func(f string, _ Options) (string, *journal.Postings) { return f, &journal.Postings{} }); err != nil {
			return
		}
		again := s.AppendRow(nil, s.Applied)
		var s2 State
		if err := s2.DecodeRow(again, func(f string, _ Options) (string, *journal.Postings) { return f, &journal.Postings{} }); err != nil {
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
	})
}

package qos

import (
	"testing"

	"pgregory.net/rapid"
)

// entry is what the model of a window knows of a delivery.
type entry struct {
	packet uint16
	value  int
	phase  Phase
	qos    uint8
}

// TestWindowFollowsItsModel drives a window and a plain list through the same
// random steps of a session: deliveries, acknowledgements in any order, new connections.
func TestWindowFollowsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w Window[int]
		limit := rapid.IntRange(1, 8).Draw(t, "max")
		start := rapid.Uint64Range(1, 200_000).Draw(t, "first")
		w.SetMax(limit)
		w.Restore(start)
		var model []entry
		next := start
		find := func(packet uint16) int {
			for i, e := range model {
				if e.packet == packet {
					return i
				}
			}
			return -1
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				if w.Room() != (len(model) < limit) {
					t.Fatalf("Room is %t with %d of %d out", w.Room(), len(model), limit)
				}
				if !w.Room() {
					t.Skip("full")
				}
				qos := uint8(rapid.IntRange(1, 2).Draw(t, "qos"))
				e := w.Add(qos, int(next))
				if e.Packet != PacketID(next) || e.Packet == 0 {
					t.Fatalf("delivery %d has packet id %d", next, e.Packet)
				}
				model = append(model, entry{e.Packet, int(next), Waiting, qos})
				next++
			},
			"send": func(t *rapid.T) {
				e := w.NextDue()
				for _, m := range model {
					if m.phase == Waiting || m.phase == Received {
						if e == nil || e.Packet != m.packet {
							t.Fatalf("due is %+v, want %+v", e, m)
						}
						break
					}
				}
				if e == nil {
					return
				}
				if e.Phase == Waiting {
					e.Phase = Sent
				} else {
					e.Phase = Released
				}
				model[find(e.Packet)].phase = e.Phase
			},
			"ack": func(t *rapid.T) {
				packet := uint16(rapid.IntRange(0, 65535).Draw(t, "packet"))
				if len(model) > 0 && rapid.Bool().Draw(t, "known") {
					packet = model[rapid.IntRange(0, len(model)-1).Draw(t, "which")].packet
				}
				i := find(packet)
				if w.Ack(packet) != (i >= 0) {
					t.Fatalf("Ack(%d) with %v out", packet, model)
				}
				if i >= 0 {
					model = append(model[:i], model[i+1:]...)
				}
			},
			"reconnect": func(t *rapid.T) {
				for i := range model {
					if model[i].phase == Sent && model[i].qos == 2 && rapid.Bool().Draw(t, "received") {
						w.Get(model[i].packet).Phase, model[i].phase = Received, Received
					}
				}
				w.Rewind()
				for i, e := range model {
					switch e.phase {
					case Sent:
						model[i].phase = Waiting
						if !w.Get(e.packet).Dup {
							t.Fatalf("delivery %d will be sent again without DUP", e.value)
						}
					case Released:
						model[i].phase = Received
					}
				}
			},
			"": func(t *rapid.T) {
				if w.Open() != len(model) || w.End() != next {
					t.Fatalf("open %d, end %d; want %d, %d", w.Open(), w.End(), len(model), next)
				}
				i := 0
				for e := range w.Each {
					if e == nil {
						continue
					}
					if e.Packet != model[i].packet || e.Value != model[i].value || e.Phase != model[i].phase {
						t.Fatalf("entry %d is %+v, want %+v", i, *e, model[i])
					}
					i++
				}
				if i != len(model) {
					t.Fatalf("%d entries, want %d", i, len(model))
				}
			},
		})
	})
}

func TestPacketIDsGoRoundWithoutZero(t *testing.T) {
	for seq, want := range map[uint64]uint16{1: 1, 65535: 65535, 65536: 1, 131070: 65535, 131071: 1} {
		if got := PacketID(seq); got != want {
			t.Errorf("PacketID(%d) = %d, want %d", seq, got, want)
		}
	}
}

func TestWindowSpanIsBounded(t *testing.T) {
	var w Window[int]
	w.SetMax(65535)
	w.Add(1, 0) // never acknowledged
	n := 1
	for w.Room() {
		w.Ack(w.Add(1, n).Packet)
		n++
	}
	if n != MaxSpan {
		t.Errorf("the window reached %d entries beyond one that is stuck, want %d", n, MaxSpan)
	}
}

func BenchmarkWindow(b *testing.B) {
	var w Window[int]
	w.SetMax(20)
	b.ReportAllocs()
	for b.Loop() {
		for w.Room() {
			w.Add(1, 1).Phase = Sent
		}
		w.Ack(PacketID(w.Sequence()))
	}
}

package qos

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRingAnswersInTheOrderOfAsking(t *testing.T) {
	var r Ring
	r.SetMax(3, false)
	a, _ := r.Push(7, ReplyAck)
	b, _ := r.Push(8, ReplyReceived)
	c, _ := r.Push(9, ReplyComplete)
	if _, ok := r.Push(10, ReplyAck); ok {
		t.Fatal("a fourth answer fitted a ring of three")
	}
	if kind, ok := r.Kind(b); !ok || kind != ReplyReceived {
		t.Fatalf("Kind() = %v, %v", kind, ok)
	}
	if _, ok := r.Kind(c + 1); ok {
		t.Fatal("a token that was never given has a kind")
	}
	r.Complete(c, 0)
	r.Complete(b, 0x97)
	if r.Ready() {
		t.Fatal("a later answer overtook the first")
	}
	r.Complete(a, 0)
	for _, want := range []Answer{{7, ReplyAck, 0}, {8, ReplyReceived, 0x97}, {9, ReplyComplete, 0}} {
		if got, ok := r.Take(); !ok || got != want {
			t.Fatalf("Take() = %v, %v, want %v", got, ok, want)
		}
	}
	if r.Complete(a, 0) || r.Complete(0, 0) || r.Complete(c+1, 0) {
		t.Fatal("a token that is not owed was completed")
	}
}

// refRing is the ring as a plain list.
type refRing struct {
	owed []refSlot
	next uint64
	held map[uint16]bool
}

type refSlot struct {
	token uint64
	a     Answer
	done  bool
}

func (m *refRing) open() int {
	n := len(m.held)
	for _, s := range m.owed {
		if s.a.Kind != ReplyComplete {
			n++
		}
	}
	return n
}

func TestRingAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		track := rapid.Bool().Draw(t, "track")
		var r Ring
		r.SetMax(limit, track)
		m := refRing{next: 1, held: map[uint16]bool{}}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) { ringPush(t, &r, &m, limit) },
			"complete": func(t *rapid.T) {
				token := rapid.Uint64Range(0, m.next+1).Draw(t, "token")
				code := rapid.SampledFrom([]uint8{0, 0x10, 0x80, 0x97}).Draw(t, "code")
				want := false
				for i := range m.owed {
					if s := &m.owed[i]; s.token == token && !s.done {
						s.done, s.a.Code, want = true, code, true
					}
				}
				if got := r.Complete(token, code); got != want {
					t.Fatalf("Complete(%d) = %v, want %v", token, got, want)
				}
			},
			"take": func(t *rapid.T) { ringTake(t, &r, &m, track) },
			"drop": func(t *rapid.T) {
				token := rapid.Uint64Range(0, m.next).Draw(t, "token")
				r.Drop(token)
				if n := len(m.owed); n > 0 && m.owed[n-1].token == token && !m.owed[n-1].done {
					m.owed = m.owed[:n-1]
					m.next--
				}
			},
			"trim": func(*rapid.T) { r.Trim() },
			"": func(t *rapid.T) {
				if r.Len() != len(m.owed) || r.Open() != m.open() {
					t.Fatalf("Len, Open = %d, %d, want %d, %d", r.Len(), r.Open(), len(m.owed), m.open())
				}
				if len(r.slots) > max(smallRing, 2*limit) {
					t.Fatalf("%d slots for a limit of %d", len(r.slots), limit)
				}
			},
		})
	})
}

func ringPush(t *rapid.T, r *Ring, m *refRing, limit int) {
	packet := rapid.Uint16Range(1, 5).Draw(t, "packet")
	kind := Reply(rapid.IntRange(0, 2).Draw(t, "kind"))
	token, ok := r.Push(packet, kind)
	if ok != (len(m.owed) < limit) {
		t.Fatalf("Push fitted: %v, with %d of %d owed", ok, len(m.owed), limit)
	}
	if !ok {
		return
	}
	if token != m.next {
		t.Fatalf("token %d, want %d", token, m.next)
	}
	m.owed = append(m.owed, refSlot{token: token, a: Answer{Packet: packet, Kind: kind}})
	m.next++
}

func ringTake(t *rapid.T, r *Ring, m *refRing, track bool) {
	got, ok := r.Take()
	if want := len(m.owed) > 0 && m.owed[0].done; ok != want {
		t.Fatalf("Take gave something: %v, want %v", ok, want)
	}
	if !ok {
		return
	}
	if got != m.owed[0].a {
		t.Fatalf("Take() = %v, want %v", got, m.owed[0].a)
	}
	m.owed = m.owed[1:]
	switch {
	case !track:
	case got.Kind == ReplyComplete:
		delete(m.held, got.Packet)
	case got.Kind == ReplyReceived && got.Code < 0x80:
		m.held[got.Packet] = true
	}
}

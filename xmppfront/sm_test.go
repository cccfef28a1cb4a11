package xmppfront

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pushhub/core"
)

func TestCountersWrap(t *testing.T) {
	const last = math.MaxUint32
	m := &managed{tag: "t", stable: last - 1, published: last - 1, received: last - 1, handled: last - 1, asked: last - 1, acked: last - 1}
	for range 4 {
		m.push(sent{keep: keepMust}, [][]byte{[]byte("x")})
	}
	if _, total, ok := m.acknowledged(3); ok || total != 2 {
		t.Fatalf("5 of 4 stanzas were acknowledged; %d were sent", total)
	}
	if covered, _, ok := m.acknowledged(1); !ok || len(covered) != 3 {
		t.Fatalf("h=1 covers %v, %v", covered, ok)
	}
	if covered, _, ok := m.acknowledged(2); !ok || len(covered) != 1 || m.kept != 0 {
		t.Fatalf("h=2 covers %v, %v; %d bytes are kept", covered, ok, m.kept)
	}
	var numbers []uint32
	for range 4 {
		n, _ := m.begin()
		numbers = append(numbers, n)
	}
	if !slices.Equal(numbers, []uint32{last, 0, 1, 2}) {
		t.Fatalf("numbers are %v", numbers)
	}
	if h := m.answer(); h != last-1 || !m.owed {
		t.Fatalf("h is %d", h)
	}
	for _, n := range []uint32{0, 2, last} {
		m.resolve(n)
		m.counted(m.handled, true)
	}
	if h, due := m.acknowledge(); !due || h != 0 || !m.owed {
		t.Fatalf("h is %d, %v", h, due)
	}
	m.resolve(1)
	if _, due := m.acknowledge(); due {
		t.Fatal("the client is told what the journal does not know")
	}
	if n, ok := m.uncounted(); !ok || n != 2 {
		t.Fatalf("the journal is told %d, %v", n, ok)
	}
	if _, ok := m.uncounted(); ok {
		t.Fatal("the journal is told twice at once")
	}
	m.counted(2, true)
	if h, due := m.acknowledge(); !due || h != 2 || m.owed {
		t.Fatalf("h is %d, %v", h, due)
	}
	if m.resolve(2) || m.resolve(7) || m.handled != 2 {
		t.Fatal("a stanza was resolved twice, or before it came")
	}
}

// refManaged is the state of a stream as plain lists.
type refManaged struct {
	base   uint32
	durab  []bool // of the client's stanzas
	acked  int
	out    []sent
	frozen bool
}

func (r *refManaged) handled() uint32 {
	n := slices.Index(r.durab, false)
	if n < 0 {
		n = len(r.durab)
	}
	return r.base + uint32(n)
}

func TestManagedAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SampledFrom([]uint32{0, math.MaxUint32 - 3, math.MaxInt32 - 2}).Draw(t, "base")
		m := &managed{tag: "t", stable: base, published: base, received: base, handled: base, asked: base, said: base, acked: base}
		r := refManaged{base: base}
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				n, ok := m.begin()
				if ok == r.frozen || ok && n != base+uint32(len(r.durab))+1 {
					t.Fatalf("begin() = %d, %v", n, ok)
				}
				if ok {
					r.durab = append(r.durab, false)
				}
			},
			"resolve": func(t *rapid.T) {
				i := rapid.IntRange(0, len(r.durab)).Draw(t, "i")
				m.resolve(base + uint32(i) + 1)
				m.counted(m.handled, true)
				if i < len(r.durab) {
					r.durab[i] = true
				}
			},
			"answer": func(t *rapid.T) {
				if h := m.answer(); h != r.handled() {
					t.Fatalf("h = %d, want %d", h, r.handled())
				}
			},
			"flush": func(t *rapid.T) {
				if h, due := m.acknowledge(); due && h != r.handled() {
					t.Fatalf("h = %d, want %d", h, r.handled())
				}
			},
			"push": func(t *rapid.T) {
				s := sent{window: windowOwn, packet: uint16(len(r.out) + 1)}
				m.push(s, nil)
				r.out = append(r.out, s)
			},
			"ack": func(t *rapid.T) {
				n := rapid.IntRange(0, len(r.out)+1).Draw(t, "n")
				covered, _, ok := m.acknowledged(base + uint32(n))
				if ok != (n >= r.acked && n <= len(r.out)) {
					t.Fatalf("acknowledged(%d) = %v", n, ok)
				}
				if !ok {
					return
				}
				if len(covered) != n-r.acked || len(covered) > 0 && covered[0].packet != uint16(r.acked+1) {
					t.Fatalf("covered %v", covered)
				}
				r.acked = n
			},
			"inherit": func(*rapid.T) {
				heir := &managed{tag: "t"}
				heir.heirOf(m)
				heir.received, heir.asked, heir.said, heir.stable = heir.handled, heir.handled, heir.handled, heir.handled
				m.push(sent{}, nil) // too late
				r.durab = r.durab[:r.handled()-base]
				heir.rewind()
				if n := len(heir.again()); n != len(r.out)-r.acked {
					t.Fatalf("%d stanzas are to be sent again", n)
				}
				r.out = r.out[:r.acked]
				m = heir
			},
			"": func(t *rapid.T) {
				if m.handled != r.handled() || len(m.sent) != len(r.out)-r.acked || m.owed && !m.due && m.handled == m.received {
					t.Fatalf("%+v", m)
				}
			},
		})
	})
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	m := &managed{tag: "t"}
	stanza := [][]byte{[]byte(strings.Repeat("x", 1<<10))}
	for range 1 << 10 {
		m.push(sent{keep: keepSome}, stanza)
	}
	if m.kept != maxKept/2 {
		t.Errorf("%d bytes are kept", m.kept)
	}
	for range 1 << 10 {
		m.push(sent{keep: keepMust}, stanza)
	}
	if m.kept != maxKept {
		t.Errorf("%d bytes are kept", m.kept)
	}
	for !m.lost() {
		if len(m.sent) > maxUnacked {
			t.Fatal("a client may owe any number of acknowledgements")
		}
		m.push(sent{}, stanza)
	}
	m.forget()
	m.acknowledged(1 << 11)
	if m.kept != 0 {
		t.Errorf("%d bytes are kept of nothing", m.kept)
	}
}

func TestLostStreamsAreBounded(t *testing.T) {
	var l streams
	now := time.Unix(1e9, 0)
	a := func(i int) core.Address { return core.Address{Account: "a", Resource: string(rune('a' + i))} }
	m := func(tag string) *managed { return &managed{tag: tag} }
	l.put(a(0), m("0"), maxStreamBytes/2, now.Add(time.Minute))
	l.put(a(1), m("1"), maxStreamBytes/2, now.Add(2*time.Minute))
	if l.get(a(0), "0") == nil || l.get(a(0), "other") != nil || l.get(a(2), "0") != nil {
		t.Error("a stream is found by another's tag, or not by its own")
	}
	l.put(a(2), m("2"), 1, now.Add(3*time.Minute))
	if l.get(a(0), "0") != nil || l.get(a(1), "1") == nil || l.len() != 2 {
		t.Error("not the oldest stream had to go")
	}
	l.put(a(1), m("new"), 2, now.Add(time.Minute))
	if l.get(a(1), "new") == nil || l.bytes != 3 || l.len() != 2 {
		t.Errorf("%d streams, %d bytes", l.len(), l.bytes)
	}
	l.sweep(now.Add(90 * time.Second))
	if l.get(a(1), "new") != nil || l.len() != 1 {
		t.Error("an expired stream is there still")
	}
	l.drop(a(2))
	l.drop(a(2))
	if l.len() != 0 || l.bytes != 0 || len(l.m) != 0 {
		t.Errorf("%d streams, %d bytes", l.len(), l.bytes)
	}
}

func TestResumptionIDs(t *testing.T) {
	tag := strings.Repeat("\xff", tagBytes)
	for _, resource := range []string{"r", "a\x01b/é", strings.Repeat("x", maxPart)} {
		got, gotTag, ok := parseResumptionID([]byte(resumptionID(resource, tag)))
		if !ok || got != resource || gotTag != tag {
			t.Errorf("%q became %q, %q, %v", resource, got, gotTag, ok)
		}
	}
	for _, id := range []string{
		"", "!", "AA", resumptionID("", tag), resumptionID("r", tag[1:]), resumptionID("r", tag+"x"),
		resumptionID("r", tag) + "A", resumptionID("r", tag) + "\n", resumptionID(strings.Repeat("x", maxPart+1), tag),
	} {
		if _, _, ok := parseResumptionID([]byte(id)); ok {
			t.Errorf("%q is an id", id)
		}
	}
}

// FuzzResumptionID: what is read is what was written, and nothing panics.
func FuzzResumptionID(f *testing.F) {
	f.Add([]byte(resumptionID("balcony", strings.Repeat("t", tagBytes))))
	f.Add([]byte("_____w8"))
	f.Fuzz(func(t *testing.T, id []byte) {
		resource, tag, ok := parseResumptionID(id)
		if ok && resumptionID(resource, tag) != string(id) && len(resource) < 0x80 {
			t.Errorf("%q is %q, %q", id, resource, tag)
		}
	})
}

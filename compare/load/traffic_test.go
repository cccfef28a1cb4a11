package load

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// paperBroker answers the frames of a traffic in memory, message by message,
// and may lose or repeat QoS 0 deliveries.
type paperBroker struct {
	traffic *traffic
	queues  map[*link][]byte // bytes on their way to each link
	owed    map[*link]int    // deliveries whose last acknowledgement is missing
	lost    uint64
	again   uint64
	held    map[*link][]byte
	fate    func() byte // 'd'eliver, 'l'ose, 'r'epeat or 'h'old until after the next
}

// absorb takes what the links wrote.
func (b *paperBroker) absorb(t *rapid.T) {
	for _, l := range b.traffic.dirty {
		l.queued = false
		data := l.out
		l.out = nil
		for len(data) > 0 {
			f, n, err := nextFrame(data, 1<<16)
			if err != nil || n == 0 {
				t.Fatalf("the generator wrote %q: %v", data, err)
			}
			b.take(t, l, f)
			data = data[n:]
		}
	}
	b.traffic.dirty = b.traffic.dirty[:0]
}

func (b *paperBroker) take(t *rapid.T, l *link, f frame) {
	if f.kind() != typePublish {
		b.answer(t, l, f)
		return
	}
	p := l.role.(*publisher)
	d, err := f.delivery()
	if err != nil {
		t.Fatal(err)
	}
	if d.qos > 0 {
		kind := byte(typePuback)
		if d.qos == 2 {
			kind = typePubrec
		}
		b.queues[l] = appendAck(b.queues[l], kind, d.id)
	}
	raw := append(appendLength([]byte{f.head}, len(f.body)), f.body...)
	for _, s := range p.group.subs {
		if d.qos > 0 {
			b.owed[s.link]++
		}
		switch b.fate() {
		case 'l':
			b.lost++
		case 'r':
			b.again++
			b.queues[s.link] = append(append(b.queues[s.link], raw...), raw...)
		case 'h':
			if b.held[s.link] == nil {
				b.held[s.link] = raw
				continue
			}
			fallthrough
		default:
			b.queues[s.link] = append(append(b.queues[s.link], raw...), b.held[s.link]...)
			delete(b.held, s.link)
		}
	}
}

// unhold queues what is held still.
func (b *paperBroker) unhold() {
	for l, raw := range b.held {
		b.queues[l] = append(b.queues[l], raw...)
	}
	clear(b.held)
}

func (b *paperBroker) answer(t *rapid.T, l *link, f frame) {
	id, err := f.ackID()
	if err != nil {
		t.Fatal(err)
	}
	switch f.kind() {
	case typePuback, typePubcomp:
		b.owed[l]--
	case typePubrec:
		b.queues[l] = appendAck(b.queues[l], typePubrel, id)
	case typePubrel:
		b.queues[l] = appendAck(b.queues[l], typePubcomp, id)
	}
}

// deliver hands l its first n frames.
func (b *paperBroker) deliver(t *rapid.T, l *link, n int, now int64) {
	for ; n > 0 && len(b.queues[l]) > 0; n-- {
		f, size, err := nextFrame(b.queues[l], 1<<16)
		if err != nil || size == 0 {
			t.Fatalf("frame for %s: %v", l.client, err)
		}
		if err := l.role.receive(f, now); err != nil {
			t.Fatalf("%s: %v", l.client, err)
		}
		b.queues[l] = b.queues[l][size:]
	}
}

func (b *paperBroker) empty() bool {
	for _, q := range b.queues {
		if len(q) > 0 {
			return false
		}
	}
	return true
}

// TestTrafficAccountsForEveryDelivery drives a scenario with deliveries in any
// interleaving: windows are kept, and at the end each delivery is counted once
// as delivered or lost.
func TestTrafficAccountsForEveryDelivery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"q0-1-1", "q0-3-3", "q0-3-1", "q0-1-3", "q1-1-1", "q1-2-2", "q1-3-1", "q2-2-2", "q2-1-3"}).Draw(t, "scenario")
		sc, err := ParseScenario(name)
		if err != nil {
			t.Fatal(err)
		}
		o := Options{
			Payload: rapid.SampledFrom([]int{0, 5, 16, 40}).Draw(t, "payload"),
			Window:  rapid.IntRange(0, 60).Draw(t, "window"),
			Rate:    rapid.SampledFrom([]float64{0, 0, 1e9, 3e7}).Draw(t, "rate"),
		}
		tr := newTraffic(sc, o, "x")
		tr.tally.from, tr.tally.to = 0, math.MaxInt64
		fates := rapid.SliceOfN(rapid.SampledFrom([]byte("dddddddhlr")), 50, 50).Draw(t, "fates")
		turn := 0
		b := &paperBroker{traffic: tr, queues: map[*link][]byte{}, owed: map[*link]int{}, held: map[*link][]byte{}, fate: func() byte {
			if turn++; sc.QoS > 0 || o.Payload < stampSize || o.Rate == 0 {
				return 'd'
			}
			return fates[turn%len(fates)]
		}}
		tr.start(o.Rate, 0)
		for now := int64(1); now < 100; now++ {
			tr.produce(now)
			checkWindows(t, tr)
			b.absorb(t)
			l := rapid.SampledFrom(tr.links).Draw(t, "link")
			b.deliver(t, l, rapid.IntRange(0, 30).Draw(t, "frames"), now)
		}
		tr.stop()
		for !b.empty() || len(tr.dirty) > 0 || len(b.held) > 0 {
			b.absorb(t)
			b.unhold()
			for _, l := range tr.links {
				b.deliver(t, l, math.MaxInt, 100)
			}
		}
		checkTally(t, tr, b)
	})
}

func checkWindows(t *rapid.T, tr *traffic) {
	for _, g := range tr.groups {
		if tr.pace == nil && g.sent-g.settled > g.window {
			t.Fatalf("%d under way in a window of %d", g.sent-g.settled, g.window)
		}
		for _, p := range g.pubs {
			if p.unacked > ackWindow {
				t.Fatalf("%d unacknowledged", p.unacked)
			}
		}
	}
}

func checkTally(t *rapid.T, tr *traffic, b *paperBroker) {
	c := &tr.tally
	if c.sent == 0 {
		t.Fatal("nothing was sent")
	}
	if c.expected-c.delivered != b.lost || c.duplicates != b.again || c.unacked != 0 {
		t.Fatalf("lost %d of %d, duplicates %d of %d, unacked %d",
			c.expected-c.delivered, b.lost, c.duplicates, b.again, c.unacked)
	}
	for l, n := range b.owed {
		if n != 0 {
			t.Fatalf("%s owes %d acknowledgements", l.client, n)
		}
	}
	if b.lost == 0 && !c.complete() || c.complete() && !c.settled() {
		t.Fatal("everything arrived, yet not complete")
	}
}

func TestClosedLoopGoesOnAfterAWriteOff(t *testing.T) {
	for _, name := range []string{"q0-1-1", "q0-1-3"} {
		sc, err := ParseScenario(name)
		if err != nil {
			t.Fatal(err)
		}
		tr := newTraffic(sc, Options{Payload: 16, Window: 10}, "x")
		tr.produce(1)
		tr.produce(2)
		if tr.tally.sent != 10 {
			t.Fatalf("%s: sent %d into a window of 10", name, tr.tally.sent)
		}
		tr.writeOff()
		tr.produce(3)
		if tr.tally.sent != 20 {
			t.Errorf("%s: sent %d after the write-off, want 20", name, tr.tally.sent)
		}
	}
}

func TestPacketIDsNeverBecomeZero(t *testing.T) {
	p := newTraffic(Scenario{QoS: 1, Publishers: 1, Subscribers: 1}, Options{}, "x").pubs[0]
	p.id = 0xfffe
	p.send(2, 0)
	if p.id != 1 {
		t.Errorf("the id after 65535 is %d", p.id)
	}
}

func TestOpenLoopStampsTheTimeAtWhichAMessageWasDue(t *testing.T) {
	tr := newTraffic(Scenario{QoS: 0, Publishers: 2, Subscribers: 2}, Options{Payload: 16, Rate: 1000}, "x")
	tr.start(1000, 0)
	tr.pubs[1].link.blocked = true // its messages are due meanwhile
	tr.produce(3_500_000)
	if tr.tally.sent != 2 || tr.tally.backlog != 2 {
		t.Fatalf("sent %d, backlog %d", tr.tally.sent, tr.tally.backlog)
	}
	tr.pubs[1].link.blocked = false
	tr.produce(3_600_000)
	var stamps []int64
	for data := tr.pubs[1].link.out; len(data) > 0; {
		f, n, err := nextFrame(data, 1000)
		if err != nil || n == 0 {
			t.Fatal(err)
		}
		d, err := f.delivery()
		if err != nil {
			t.Fatal(err)
		}
		_, stamp, _ := stampOf(d.payload)
		stamps = append(stamps, stamp)
		data = data[n:]
	}
	if len(stamps) != 2 || stamps[0] != 1_000_000 || stamps[1] != 3_000_000 {
		t.Errorf("second publisher's stamps: %v", stamps)
	}
}

func TestRolesRefuseWhatTheProtocolForbids(t *testing.T) {
	tests := []struct {
		name, frame string
		qos         byte
		publisher   bool
		want        string
	}{
		{"ack of nothing", "\x40\x02\x00\x01", 1, true, "nothing"},
		{"ack at QoS 0", "\x40\x02\x00\x01", 0, true, "packet type 4"},
		{"long ack", "\x40\x03\x00\x01\x00", 1, true, "3 bytes"},
		{"delivery to a publisher", "\x30\x03\x00\x01t", 0, true, "packet type 3"},
		{"delivery at another QoS", "\x30\x03\x00\x01t", 1, false, "QoS 0"},
		{"delivery that nobody sent", "\x30\x13\x00\x01t0123456701234567", 0, false, "nobody sent"},
		{"PINGRESP", "\xd0\x00", 0, false, "packet type 13"},
		{"long PUBREL", "\x62\x03\x00\x01\x00", 2, false, "3 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTraffic(Scenario{QoS: tt.qos, Publishers: 1, Subscribers: 1}, Options{Payload: 16}, "x")
			r := role(tr.groups[0].subs[0])
			if tt.publisher {
				r = tr.pubs[0]
			}
			f, n, err := nextFrame([]byte(tt.frame), 1000)
			if err != nil || n == 0 {
				t.Fatalf("test frame: %v", err)
			}
			if err := r.receive(f, 0); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, wanted one about %q", err, tt.want)
			}
		})
	}
}

func TestADeliveryThatComesLateIsNeitherLostNorRepeated(t *testing.T) {
	tr := newTraffic(Scenario{Publishers: 1, Subscribers: 1}, Options{Payload: 16, Window: 4}, "x")
	tr.produce(1)
	sub := tr.groups[0].subs[0]
	for _, seq := range []uint64{0, 3, 1, 1, 2} {
		f := frame{head: typePublish << 4, body: tr.groups[0].frame.appendTo(nil, 0, seq, 1)[2:]}
		if err := sub.receive(f, 2); err != nil {
			t.Fatal(err)
		}
	}
	c := tr.tally
	if c.delivered != 4 || c.reordered != 2 || c.duplicates != 1 || c.skipped != 0 || !c.complete() {
		t.Errorf("%+v", []uint64{c.delivered, c.reordered, c.duplicates, c.skipped})
	}
}

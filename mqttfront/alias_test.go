package mqttfront

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"pgregory.net/rapid"

	"pushhub/core"
)

// A reader is a client that takes topic aliases: it notes them as they come.
type reader struct{ topics map[uint32]string }

// take reads the PUBLISH at the start of b, and returns its topic and payload.
func (rd *reader) take(t testing.TB, b []byte) (topic, payload string, rest []byte) {
	t.Helper()
	f, err := nextFrame(b, 1<<20)
	if err != nil || f.size == 0 || f.kind != packets.Publish {
		t.Fatalf("%x is no PUBLISH: %v", b, err)
	}
	var p publication
	if err := decodePublish(&p, f, 5); err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	var m core.Message
	var alias topicAlias
	if _, err := readMessageProps(&m, &p.props, &alias, time.Time{}); err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	topic = string(p.topic)
	switch {
	case alias.given && topic != "":
		if rd.topics == nil {
			rd.topics = map[uint32]string{}
		}
		rd.topics[alias.number] = topic
	case alias.given:
		if topic = rd.topics[alias.number]; topic == "" {
			t.Fatalf("alias %d was never set", alias.number)
		}
	}
	return topic, string(p.payload), b[f.size:]
}

func aliasRig(t testing.TB, most int, props string) *rig {
	t.Helper()
	r := newRig(t, testOptions())
	if out := r.inHex(connect5(fmt.Sprintf("22 %04x %s", most, props))); !strings.HasPrefix(out, "20") {
		t.Fatalf("CONNACK %s", out)
	}
	return r
}

func TestTopicAliasesOut(t *testing.T) {
	type step struct{ topic, out string }
	const (
		plain    = `300d 0008 "sensor/1" 00 6869`
		set1     = `3010 0008 "sensor/1" 03 230001 6869`
		by1      = `3008 0000 03 230001 6869`
		plain2   = `300d 0008 "sensor/2" 00 6869`
		by2      = `3008 0000 03 230002 6869`
		set2     = `3010 0008 "sensor/2" 03 230002 6869`
		set2as1  = `3010 0008 "sensor/2" 03 230001 6869`
		short    = `300a 0005 "senso" 00 6869`
		one, two = "sensor/1", "sensor/2"
	)
	for _, c := range []struct {
		name  string
		most  int
		limit int // of a packet
		steps []step
	}{
		{"of a client that takes none", 0, 0, []step{{one, plain}, {one, plain}, {one, plain}}},
		{"are set the first time and used from the second", 5, 0, []step{{one, set1}, {two, set2}, {one, by1}, {two, by2}, {one, by1}}},
		{"are not for short topics", 5, 0, []step{{"senso", short}, {"senso", short}, {"senso", short}}},
		{"are at most as many as the client takes", 1, 0, []step{{one, set1}, {one, by1}, {two, plain2}, {two, plain2}, {one, by1}}},
		{"leave a topic that does not come again for one that does", 1, 0, []step{{one, set1}, {two, plain2}, {two, set2as1}, {two, by1}, {one, plain}}},
		{"are not set where the packet would be too large", 5, 19, []step{{one, plain}, {one, plain}, {one, plain}}},
		{"are set where it just fits", 5, 20, []step{{one, set1}, {one, by1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := aliasRig(t, c.most, "")
			r.e.packetMax = c.limit // smaller than a CONNACK
			for i, s := range c.steps {
				_, out := r.deliver(core.Delivery{Message: &core.Message{Topic: s.topic, Payload: []byte("hi")}})
				if c.most == 0 && r.e.aliasOut != nil {
					t.Error("a client without aliases has a table")
				}
				r.expect(fmt.Sprint("delivery ", i+1), out, toHex(fromHex(t, s.out)))
			}
		})
	}
}

func TestAliasOfADeliveryThatFoundNoRoomIsNotSet(t *testing.T) {
	r := aliasRig(t, 5, "")
	r.link.clogged = true
	for i, want := range []core.Outcome{core.Queued, core.Full, core.Full} {
		m := &core.Message{Topic: []string{"else", "sensor/1", "sensor/1"}[i], Payload: make([]byte, 3000)}
		if o, _ := r.deliver(core.Delivery{Message: m}); o != want {
			t.Fatalf("delivery %d: outcome %d, want %d", i+1, o, want)
		}
	}
	r.link.clogged = false
	r.link.take(len(r.link.queue))
	r.link.out = nil
	_, out := r.deliver(core.Delivery{Message: &core.Message{Topic: "sensor/1"}})
	r.expect("the first that fits sets it", out, toHex(fromHex(t, `300e 0008 "sensor/1" 03 230001`)))
}

// Whatever comes in whatever order, through a queue that is now and then full: the
// client reads each delivery under its topic, and no alias is above its maximum.
func TestAliasesMeanWhatTheyMeant(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 50).Draw(t, "most")
		opt := testOptions()
		opt.QueueBytes = 200
		r := newRig(outer, opt)
		r.inHex(connect5(fmt.Sprintf("22 %04x", most)))
		var rd reader
		for i := range rapid.IntRange(1, 300).Draw(t, "deliveries") {
			r.link.clogged = rapid.IntRange(0, 3).Draw(t, "clogged") > 0
			name := fmt.Sprintf("sensor/%d", rapid.IntRange(1, 60).Draw(t, "topic")%rapid.SampledFrom([]int{3, 60}).Draw(t, "of"))
			var b core.Batch
			r.e.Deliver(&b, core.Delivery{Message: &core.Message{Topic: name, Payload: []byte(name)}, QoS: 1, Packet: uint16(i + 1)})
			b.Flush()
			for rest := r.link.out; len(rest) > 0; r.link.out = rest {
				var topic, payload string
				if topic, payload, rest = rd.take(outer, rest); topic != payload {
					t.Fatalf("a delivery of %s is read as one of %s", payload, topic)
				}
			}
		}
		for alias := range rd.topics {
			if int(alias) > min(most, aliasesOut) {
				t.Fatalf("alias %d of at most %d", alias, most)
			}
		}
	})
}

// A lockedLink is a fakeLink with the queue lock of a real one.
type lockedLink struct {
	*fakeLink
	mu sync.Mutex // held from Begin to End
}

func (l *lockedLink) Begin(n int) ([]byte, bool) {
	l.mu.Lock()
	b, ok := l.fakeLink.Begin(n)
	if !ok {
		l.mu.Unlock()
	}
	return b, ok
}

func (l *lockedLink) End(b []byte) bool {
	defer l.mu.Unlock()
	return l.fakeLink.End(b)
}

// Two goroutines may deliver at once: the aliases must be in the queue in the order
// in which they were set.
func TestAliasesOfTwoGoroutines(t *testing.T) {
	r := aliasRig(t, 4, "")
	r.link.bound, r.link.clogged = 1<<20, true
	r.e.conn = &lockedLink{fakeLink: r.link}
	var deliveries sync.WaitGroup
	for g := range 2 {
		deliveries.Go(func() {
			var b core.Batch
			for i := range 2000 {
				name := fmt.Sprintf("sensor/%d", i*(g+3)%7)
				r.e.Deliver(&b, core.Delivery{Message: &core.Message{Topic: name, Payload: []byte(name)}})
			}
		})
	}
	deliveries.Wait()
	var rd reader
	n := 0
	for rest := r.link.queue; len(rest) > 0; n++ {
		var topic, payload string
		if topic, payload, rest = rd.take(t, rest); topic != payload {
			t.Fatalf("a delivery of %s is read as one of %s", payload, topic)
		}
	}
	if n != 4000 {
		t.Fatalf("%d deliveries", n)
	}
}

func TestAliasesPayOff(t *testing.T) {
	for _, c := range []struct {
		name    string
		topics  int
		atMost  float64 // times the bytes without aliases
		deliver int
	}{
		{"of a few topics", 10, 0.5, 1000},
		{"of more topics than aliases", 100, 1, 5000},
		{"of topics that never come again", 5000, 1.001, 5000},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := aliasRig(t, 100, "")
			with, without := 0, 0
			for i := range c.deliver {
				m := &core.Message{Topic: fmt.Sprintf("house/floor/room/sensor/%05d", i%c.topics)}
				_, out := r.deliver(core.Delivery{Message: m})
				with += len(out)
				without += 2 + 2 + len(m.Topic) + 1
			}
			if float64(with) > c.atMost*float64(without) {
				t.Errorf("%d bytes with aliases, %d without", with, without)
			}
		})
	}
}

func TestAliasedDeliveriesAllocateNothing(t *testing.T) {
	r := aliasRig(t, 10, "")
	m := &core.Message{Topic: "sensor/1", Payload: make([]byte, 100)}
	var b core.Batch
	deliver := func() {
		r.e.Deliver(&b, core.Delivery{Message: m})
		b.Flush()
		r.link.out = r.link.out[:0]
	}
	for range 3 {
		deliver()
	}
	if n := testing.AllocsPerRun(100, deliver); n > 0 {
		t.Errorf("%v allocations a delivery", n)
	}
}

func TestTopicAliasMaximumIsAnOption(t *testing.T) {
	for _, c := range []struct {
		most    int
		connack string
		alias   byte
		ends    bool
	}{
		{0, "220010", 16, false},
		{0, "220010", 17, true},
		{2, "220002", 2, false},
		{2, "220002", 3, true},
		{70000, "22ffff", 255, false},
	} {
		opt := testOptions()
		opt.TopicAliasMax = c.most
		r := newRig(t, opt)
		if out := r.inHex(connects[5]); !strings.Contains(out, c.connack) {
			t.Errorf("maximum %d: CONNACK %s lacks %s", c.most, out, c.connack)
		}
		out := r.inHex(fmt.Sprintf("30 07 0001 61 03 2300%02x", c.alias))
		if r.link.closed != c.ends || c.ends && !strings.HasPrefix(out, "e01894") {
			t.Errorf("maximum %d, alias %d: ended %v with %s", c.most, c.alias, r.link.closed, out)
		}
	}
	t.Run("none at all", func(t *testing.T) {
		opt := testOptions()
		opt.TopicAliasMax = -1
		r := newRig(t, opt)
		r.expect("CONNACK", r.in(fromHex(t, connects[5])), "200b 0000 08 210004 2700001000")
		if out := r.inHex("30 07 0001 61 03 230001"); !strings.HasPrefix(out, "e01894") {
			t.Errorf("alias 1: %s", out)
		}
	})
}

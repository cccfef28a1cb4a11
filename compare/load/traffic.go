package load

import (
	"fmt"
	"math"
)

// tally is what one run counts. It belongs to the event loop.
type tally struct {
	sent       uint64 // messages published
	expected   uint64 // deliveries that they must bring
	delivered  uint64 // deliveries that came, each counted once
	skipped    uint64 // deliveries that a later sequence number overtook, and that have not come since
	reordered  uint64 // of those delivered: came after all, out of order
	duplicates uint64 // deliveries that came again
	unacked    uint64 // publishes without their final acknowledgement
	backlog    uint64 // open loop: messages due and not yet sent
	latency    Histogram
	from, to   int64 // stamps within [from, to) enter latency
}

// complete tells that every delivery has come.
func (t *tally) complete() bool { return t.unacked == 0 && t.delivered >= t.expected }

// deliver counts a delivery and, when its stamp is of the window, its latency.
func (t *tally) deliver(stamp, now int64) {
	t.delivered++
	if stamp >= t.from && stamp < t.to {
		t.latency.Record(now - stamp)
	}
}

// settled tells that nothing more is to come from a broker that keeps the order.
func (t *tally) settled() bool {
	return t.unacked == 0 && t.delivered+t.skipped >= t.expected
}

// events grows with everything that happens; while it stands still, the run does.
func (t *tally) events() uint64 {
	return t.sent + t.delivered + t.skipped + t.reordered + t.duplicates - t.unacked
}

// role is the protocol side of a connection: it takes frames and appends what
// it has to say to its link's out buffer.
type role interface {
	receive(f frame, now int64) error
}

// link is one connection as the loop sees it; the roles never touch a socket.
type link struct {
	client     string // client id
	persistent bool   // its session outlives the connection, until traffic.forget
	away       bool   // not connected with the others: it comes back
	returning  bool   // its CONNACK has not come yet
	index      int    // in traffic.links
	fd         int
	role       role
	out        []byte // to be written; empty when all is written
	in         []byte // the beginning of a frame whose end has not arrived
	blocked    bool   // the socket took no more: wait until it is writable
	queued     bool   // stands in traffic.dirty
	batch      int    // bytes that are worth a read; 1 when every byte matters
}

// traffic is all the state of a run: groups of publishers and subscribers that
// share a topic, and when each may send. It knows no socket and no clock.
type traffic struct {
	tally   tally
	groups  []*group
	pubs    []*publisher // of all groups, in the order in which the open loop serves them
	links   []*link
	dirty   []*link // links with bytes to write, each once
	pace    *pace   // nil when the loop is closed
	stopped bool
}

// newTraffic lays out a scenario. id makes topics and client ids unique.
func newTraffic(s Scenario, o Options, id string) *traffic {
	t := &traffic{}
	t.tally.from = math.MaxInt64
	for i := range s.groups() {
		topic := fmt.Sprintf("bench/%s/%d", id, i)
		g := &group{traffic: t, topic: topic, frame: newTemplate(topic, s.QoS, o.Payload)}
		g.window = s.window(o.Window, len(g.frame.bytes))
		// A quarter of the window at a time: else the loop degenerates to a
		// system call for each message, and the generator hides the broker.
		g.step = max(1, g.window/4)
		if s.QoS > 0 {
			g.step = 1
		}
		g.populate(s, fmt.Sprintf("bench-%s-%d", id, i))
		if o.Rate == 0 && s.Kind != Offline { // whose publishers end with a window that nothing fills
			g.coalesce(s.QoS)
		}
		t.groups = append(t.groups, g)
		t.pubs = append(t.pubs, g.pubs...)
	}
	return t
}

// start opens the tap at time now, in nanoseconds of the loop's clock.
func (t *traffic) start(rate float64, now int64) {
	if rate > 0 {
		t.pace = &pace{start: now, rate: rate}
	}
}

// produce lets the publishers send what they may by now.
func (t *traffic) produce(now int64) {
	if t.stopped {
		return
	}
	if t.pace != nil {
		t.release(now)
		return
	}
	for _, g := range t.groups {
		g.refill(now)
	}
}

// stop closes the tap; what is under way may still arrive.
func (t *traffic) stop() { t.stopped = true }

// writeOff gives up all that is under way, so that a broker that loses
// messages is measured on with its losses counted rather than stalling the loop.
func (t *traffic) writeOff() {
	for _, g := range t.groups {
		g.writeOff()
	}
}

func (t *traffic) newLink(client string) *link {
	l := &link{client: client, index: len(t.links), batch: 1}
	t.links = append(t.links, l)
	return l
}

func (t *traffic) touch(l *link) {
	if !l.queued {
		l.queued = true
		t.dirty = append(t.dirty, l)
	}
}

// pace is the open loop's timetable: message k is due at start + k/rate,
// whatever became of those before it, so that a stall shows in the latency of
// every message it delayed.
type pace struct {
	start int64
	rate  float64 // messages a second
	next  uint64  // first message not yet handed to its publisher
}

func (p *pace) due(k uint64) int64 {
	return p.start + int64(float64(k)*1e9/p.rate)
}

// release hands each message that is due to its publisher, in rotation.
func (t *traffic) release(now int64) {
	count := uint64(len(t.pubs))
	for ; t.pace.due(t.pace.next) <= now; t.pace.next++ {
		t.pubs[t.pace.next%count].owed++
		t.tally.backlog++
	}
	if t.tally.backlog == 0 {
		return
	}
	for i, p := range t.pubs {
		for p.sent < p.owed && p.room() > 0 {
			p.send(1, t.pace.due(p.sent*count+uint64(i)))
			t.tally.backlog--
		}
	}
}

// group is one topic with its publishers and subscribers.
type group struct {
	traffic *traffic
	topic   string
	frame   template
	pubs    []*publisher
	subs    []*subscriber
	window  uint64
	step    uint64   // the least room that is worth a write
	sent    uint64   // messages published
	settled uint64   // messages that every subscriber has got, or that were written off
	got     []uint32 // ring over the window: how many subscribers have message n; for several subscribers only
	turn    int      // the publisher that is served next
}

func (g *group) populate(s Scenario, prefix string) {
	pubs, subs := s.Publishers/s.groups(), s.Subscribers/s.groups()
	for i := range pubs {
		l := g.traffic.newLink(fmt.Sprintf("%s-p%d", prefix, i))
		p := &publisher{link: l, group: g, index: uint64(i), qos: s.QoS}
		l.role = p
		g.pubs = append(g.pubs, p)
	}
	for i := range subs {
		l := g.traffic.newLink(fmt.Sprintf("%s-s%d", prefix, i))
		l.persistent = s.Persistent
		sub := &subscriber{link: l, group: g, qos: s.QoS, next: make([]uint64, pubs)}
		l.role = sub
		g.subs = append(g.subs, sub)
	}
	if subs > 1 {
		g.got = make([]uint32, g.window)
	}
}

// maxBatch bounds the frames that wait unread. A broker that writes each
// message by itself fills its initial congestion window with ten of them; while
// nothing is read TCP acknowledges only after 40 ms, and the loop would idle.
const maxBatch = 8

// maxBatchBytes keeps a batch of large frames well below any receive buffer.
const maxBatchBytes = 16 << 10

// coalesce sets how much of a closed loop's traffic is worth waking up for, so
// that a broker which writes each message by itself does not cost the
// generator a read each. Always less than what must arrive without any answer
// from here: the window less a step at QoS 0, the acknowledgement window at
// QoS 1. At QoS 2 every step of the exchange waits for an answer.
func (g *group) coalesce(qos byte) {
	switch qos {
	case 0:
		for _, s := range g.subs {
			s.link.batch = g.worth(min(maxBatch, g.step))
		}
	case 1:
		few := min(g.window, ackWindow) / 4
		if few/uint64(len(g.pubs)) == 0 {
			return
		}
		for _, p := range g.pubs {
			p.link.batch = int(few) * ackSize
		}
		for _, s := range g.subs {
			s.link.batch = g.worth(few)
		}
	}
}

// worth is the size of n deliveries, bounded.
func (g *group) worth(n uint64) int {
	return min(int(n)*len(g.frame.bytes), maxBatchBytes)
}

// refill spends the window's room on the publishers, evenly, once it is worth it.
func (g *group) refill(now int64) {
	room := g.window - (g.sent - g.settled)
	if room < g.step {
		return
	}
	count := uint64(len(g.pubs))
	share := (room + count - 1) / count
	for range g.pubs {
		p := g.pubs[g.turn]
		g.turn = (g.turn + 1) % len(g.pubs)
		n := min(share, room, p.room())
		p.send(n, now)
		if room -= n; room == 0 {
			return
		}
	}
}

// advance notes that s got its next n messages, and frees the window's room
// for those that now every subscriber has.
func (g *group) advance(s *subscriber, n uint64) {
	if g.traffic.pace != nil {
		return // an open loop has no window
	}
	n = min(n, g.sent-s.got) // latecomers of a window written off free nothing
	if len(g.subs) == 1 {
		s.got += n
		g.settled += n
		return
	}
	for range n {
		slot := &g.got[s.got%g.window]
		s.got++
		if *slot++; *slot == uint32(len(g.subs)) {
			*slot = 0
			g.settled++
		}
	}
}

func (g *group) writeOff() {
	g.settled = g.sent
	for _, s := range g.subs {
		s.got = g.sent
	}
	clear(g.got)
}

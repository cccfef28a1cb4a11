package core_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pushhub/bus"
	"pushhub/core"
)

// A ledger is what a group was given, all its members together.
type ledger struct {
	mu     sync.Mutex // guards the rest
	given  map[string]int
	twice  map[string]bool // given at QoS 2
	wrong  []string
	story  string // for people to read
	repeat bool   // something happened after which QoS 1 may come again to another

	// A hub that dies when it is about to send something at QoS 2 cannot know
	// afterwards whether it did: when that member's session ends, nobody gets it.
	unsure, excused map[string]bool
}

func (l *ledger) give(member, payload string, qos core.QoS, dup bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.story += fmt.Sprintf(" %s<-%s@%d,%t", member, payload, qos, dup)
	if l.twice[payload] {
		l.wrong = append(l.wrong, fmt.Sprintf("%s was given %s at QoS %d after it was given at QoS 2", member, payload, qos))
	}
	if l.given[payload] > 0 && !dup && !l.repeat {
		l.wrong = append(l.wrong, fmt.Sprintf("%s was given %s, which another has", member, payload))
	}
	l.given[payload]++
	if qos == 2 {
		l.twice[payload] = true
	}
}

// A member is a device of a group that keeps MQTT's rules on its side.
type member struct {
	id      string
	qos     core.QoS
	durable bool
	ledger  *ledger

	mu       sync.Mutex // guards the rest
	conn     *core.Attachment
	before   *core.Attachment // the connection that conn replaces
	fresh    bool             // conn began a session
	full     bool
	received map[uint16]bool // QoS 2: packet ids between PUBLISH and PUBREL
	unacked  []core.Delivery
}

func (m *member) Deliver(_ *core.Batch, d core.Delivery) core.Outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	late := d.To == m.before // just before that was replaced
	switch {
	case m.full && !d.Release:
		return core.Full
	case d.Release:
		delete(m.received, d.Packet)
	case d.QoS == 2 && m.received[d.Packet]: // it knows it already
	default:
		if d.QoS == 2 && !(late && m.fresh) {
			m.received[d.Packet] = true
		}
		m.ledger.give(m.id, string(d.Message.Payload), d.QoS, d.Dup)
	}
	if !late {
		d.Message = nil
		m.unacked = append(m.unacked, d)
	}
	return core.Queued
}

func (m *member) Stored(*core.Batch, uint64, error) {}
func (m *member) Notice(*core.Batch, core.Notice)   {}
func (m *member) Flush()                            {}
func (m *member) Close(*core.Batch, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conn, m.unacked = nil, nil
}

func (m *member) connection() *core.Attachment {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.conn
}

// tell adds to the story.
func (l *ledger) tell(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.story += "\n" + fmt.Sprintf(format, args...) + ":"
}

// acknowledge answers the oldest n deliveries.
func (m *member) acknowledge(n int) {
	var b core.Batch
	defer b.Flush()
	for range n {
		m.mu.Lock()
		if len(m.unacked) == 0 || m.conn == nil {
			m.mu.Unlock()
			return
		}
		d, conn := m.unacked[0], m.conn
		m.unacked = m.unacked[1:]
		m.mu.Unlock()
		m.ledger.tell("ack %s %d %t", m.id, d.Packet, d.Release)
		if d.QoS == 2 && !d.Release {
			_ = conn.Received(&b, d.Packet)
		} else {
			_ = conn.Ack(&b, d.Packet)
		}
	}
}

// A groupRig is a hub that crashes, and a group on it.
type groupRig struct {
	t       *testing.T
	store   *bus.Memory
	hub     *hub
	pub     *client
	members []*member
	ledger  *ledger
	acked   []string
	qos     []core.QoS // of each
}

func (r *groupRig) start() {
	r.hub = newHubWith(r.t, r.store, core.Options{Flush: 100 * time.Microsecond, Checkpoint: 1})
	r.pub = r.hub.attach(durable("u", "pub"))
}

// crash ends the hub as kill -9 does.
func (r *groupRig) crash() {
	r.mayRepeat()
	r.ledger.tell("crash")
	r.doubt()
	for _, m := range r.members {
		if m.qos == 2 && !m.durable && m.connection() != nil {
			r.ledger.excuse() // its session ends with the hub
		}
	}
	r.store.FailRows(errors.New("the process is gone"))
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.store.Close(gone)
	r.hub.kill()
	r.closed()
	r.store.FailRows(nil)
	r.store = r.store.Reopen()
	r.start()
}

// restart is a clean stop and a start.
func (r *groupRig) restart() {
	r.mayRepeat()
	r.ledger.tell("restart")
	for _, m := range r.members {
		r.leave(m, false)
	}
	r.hub.stop()
	r.closed()
	r.start()
}

// closed ends all connections, and with them the sessions that are not durable.
func (r *groupRig) closed() {
	for _, m := range r.members {
		m.Close(nil, nil)
	}
}

// doubt notes at a crash what may be sent at QoS 2, for all that the hub knows.
func (r *groupRig) doubt() {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	for i, payload := range r.acked {
		if r.qos[i] == 2 && r.ledger.given[payload] == 0 {
			r.ledger.unsure[payload] = true
		}
	}
}

// excuse notes at the end of a member's session that nobody may get what is in doubt.
func (l *ledger) excuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for payload := range l.unsure {
		l.excused[payload] = true
	}
}

func (r *groupRig) mayRepeat() {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	r.ledger.repeat = true
}

// connect brings a member back, or takes its session over.
func (r *groupRig) connect(m *member, cleanStart bool) {
	r.ledger.tell("connect %s clean %t", m.id, cleanStart)
	req := durable("u", m.id)
	if !m.durable {
		req = clean("u", m.id)
	}
	req.Clean = req.Clean || cleanStart
	if req.Clean {
		r.mayRepeat()
	}
	m.mu.Lock()
	m.before, m.conn, m.unacked, m.full, m.fresh = m.conn, nil, nil, false, req.Clean
	if req.Clean {
		m.received = map[uint16]bool{}
	}
	m.mu.Unlock()
	var b core.Batch
	done := make(chan struct{})
	req.Device, req.Window = m, 4
	r.hub.Attach(&b, req, func(_ *core.Batch, att *core.Attachment, present bool, err error) {
		if err != nil || present == req.Clean {
			r.t.Errorf("%s returns: present %t, %v", m.id, present, err)
		}
		m.mu.Lock()
		m.conn = att
		m.mu.Unlock()
		close(done)
	})
	b.Flush()
	<-done
	if req.Clean {
		r.subscribe(m)
	}
}

func (r *groupRig) subscribe(m *member) {
	var b core.Batch
	done := make(chan error, 1)
	m.connection().Subscribe(&b, []core.Subscription{shared(m.qos)}, func(_ *core.Batch, errs []error) { done <- errs[0] })
	b.Flush()
	if err := <-done; err != nil {
		r.t.Errorf("%s subscribes: %v", m.id, err)
	}
}

// leave ends a member's connection, and its session unless that lasts.
func (r *groupRig) leave(m *member, expire bool) {
	conn := m.connection()
	if conn == nil {
		return
	}
	r.ledger.tell("leave %s expire %t", m.id, expire)
	var b core.Batch
	if expire || !m.durable {
		r.mayRepeat()
		conn.SetExpiry(0)
		if m.qos == 2 {
			r.ledger.excuse()
		}
	}
	conn.Detach(&b, true)
	b.Flush()
	m.Close(nil, nil)
	if !m.durable {
		r.pub.settled() // what it was not sent is known to be another's
	}
	if expire && m.durable {
		r.connect(m, true)
	}
}

func (r *groupRig) drained(m *member) {
	r.ledger.tell("drained %s", m.id)
	m.mu.Lock()
	m.full = false
	conn := m.conn
	m.mu.Unlock()
	if conn != nil {
		var b core.Batch
		conn.Drained(&b)
		b.Flush()
	}
}

// TestGroupLosesNothing drives a group through crashes, takeovers, ends of
// sessions and stuck devices at random. What a publisher was told is stored
// reaches one member; at QoS 2 at most once.
func TestGroupLosesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &ledger{given: map[string]int{}, twice: map[string]bool{}, unsure: map[string]bool{}, excused: map[string]bool{}}
		r := &groupRig{t: t, store: bus.NewMemory(), ledger: l}
		r.start()
		defer func() { r.hub.kill() }()
		for _, m := range []*member{
			{id: "anchor", qos: 2, durable: true}, // whose session lasts, so that messages wait
			{id: "one", qos: 1, durable: true},
			{id: "two", qos: 2, durable: true},
			{id: "clean", qos: 1},
			{id: "clean2", qos: 2},
		} {
			m.ledger, m.received = l, map[uint16]bool{}
			r.members = append(r.members, m)
			if m.durable {
				r.hub.attach(durable("u", m.id)).leave(true)
				r.connect(m, true)
			}
		}
		l.repeat = false
		from := func(t *rapid.T, first int) *member {
			return r.members[rapid.IntRange(first, len(r.members)-1).Draw(t, "member")]
		}
		any := func(t *rapid.T) *member { return from(t, 0) }
		rt.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				for range rapid.IntRange(1, 6).Draw(t, "messages") {
					payload := fmt.Sprint(len(r.acked))
					qos := core.QoS(rapid.IntRange(1, 2).Draw(t, "qos"))
					r.ledger.tell("publish %s@%d", payload, qos)
					r.pub.publishAs("t", payload, qos, false, uint16(len(r.acked)+1))
					r.acked, r.qos = append(r.acked, payload), append(r.qos, qos)
				}
			},
			"connect":    func(t *rapid.T) { r.connect(any(t), false) },
			"disconnect": func(t *rapid.T) { r.leave(any(t), false) },
			"expire":     func(t *rapid.T) { r.leave(from(t, 1), true) },
			"ack":        func(t *rapid.T) { any(t).acknowledge(rapid.IntRange(1, 6).Draw(t, "n")) },
			"fill": func(t *rapid.T) {
				m := any(t)
				m.mu.Lock()
				m.full = true
				m.mu.Unlock()
			},
			"drain":   func(t *rapid.T) { r.drained(any(t)) },
			"crash":   func(*rapid.T) { r.crash() },
			"restart": func(*rapid.T) { r.restart() },
		})
		for _, m := range r.members {
			if m.durable {
				r.connect(m, false)
			}
			r.drained(m)
		}
		r.finish(rt)
	})
}

// finish acknowledges everything until the group has all that was promised.
func (r *groupRig) finish(t *rapid.T) {
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		for _, m := range r.members {
			m.acknowledge(8)
		}
		missing := ""
		r.ledger.mu.Lock()
		for _, p := range r.acked {
			if r.ledger.given[p] == 0 && !r.ledger.excused[p] {
				missing += " " + p
			}
		}
		wrong := r.ledger.wrong
		r.ledger.mu.Unlock()
		idle := true
		for _, m := range r.members {
			m.mu.Lock()
			idle = idle && len(m.unacked) == 0 && (!m.durable || len(m.received) == 0)
			m.mu.Unlock()
		}
		if len(wrong) > 0 {
			t.Fatal(wrong, r.ledger.story)
		}
		if missing == "" && idle {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("of %d messages the group was not given%s; idle %t%s", len(r.acked), missing, idle, r.ledger.story)
		}
	}
}

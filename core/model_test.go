package core_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pushhub/bus"
	"pushhub/core"
)

// A subscriber is a device that keeps MQTT's rules on its side of QoS 2: it
// survives crashes of the hub and remembers what it has received.
type subscriber struct {
	id  string
	qos core.QoS

	mu       sync.Mutex // guards the rest
	conn     *core.Attachment
	seen     []string        // payloads the application was given
	received map[uint16]bool // QoS 2: packet ids between PUBLISH and PUBREL
	unacked  []core.Delivery // what is to be acknowledged, in order
	payloads map[string]int  // how often the application was given each
	since    int             // how many messages were stored before its session began
}

func (s *subscriber) Deliver(b *core.Batch, d core.Delivery) core.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.To != s.conn && s.conn != nil {
		return core.Refused // an earlier connection's
	}
	switch {
	case d.Release:
		delete(s.received, d.Packet)
	case d.QoS == 2 && s.received[d.Packet]: // it knows it already
	default:
		p := string(d.Message.Payload)
		if d.QoS == 2 {
			s.received[d.Packet] = true
		}
		if s.payloads[p]++; s.payloads[p] == 1 {
			s.seen = append(s.seen, p)
		}
	}
	d.Message = nil
	s.unacked = append(s.unacked, d)
	return core.Queued
}

func (s *subscriber) Stored(*core.Batch, uint64, error) {}
func (s *subscriber) Notice(*core.Batch, core.Notice)   {}
func (s *subscriber) Flush()                            {}
func (s *subscriber) Close(*core.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.unacked = nil, nil
}

// acknowledge answers the oldest n deliveries.
func (s *subscriber) acknowledge(n int) {
	var b core.Batch
	for range n {
		s.mu.Lock()
		if len(s.unacked) == 0 || s.conn == nil {
			s.mu.Unlock()
			return
		}
		d, conn := s.unacked[0], s.conn
		s.unacked = s.unacked[1:]
		s.mu.Unlock()
		if d.QoS == 2 && !d.Release {
			_ = conn.Received(&b, d.Packet)
		} else {
			_ = conn.Ack(&b, d.Packet)
		}
	}
	b.Flush()
}

// A rig is a hub that crashes, and what its clients know.
type rig struct {
	t     *testing.T
	store *bus.Memory
	hub   *hub
	subs  []*subscriber
	pub   *client
	acked []string // payloads whose publisher was told that they are stored
	sent  int
	last  struct { // the last QoS 2 publish, to be repeated when its answer may be lost
		payload string
		packet  uint16
	}
}

func (r *rig) start() {
	// Checkpoints are written all the time, so that crashes fall between their parts.
	r.hub = newHubWith(r.t, r.store, core.Options{Flush: 100 * time.Microsecond, Checkpoint: 1})
	r.pub = r.hub.attach(durable("u", "pub"))
}

// crash ends the hub as kill -9 does: nothing more is written.
func (r *rig) crash() {
	r.store.FailRows(errors.New("the process is gone"))
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.store.Close(gone)
	r.hub.kill()
	for _, s := range r.subs {
		s.Close(nil, nil)
	}
	r.store.FailRows(nil)
	r.store = r.store.Reopen()
	r.start()
}

func (r *rig) connect(s *subscriber) {
	s.mu.Lock()
	s.conn, s.unacked = nil, nil
	s.mu.Unlock()
	var b core.Batch
	done := make(chan struct{})
	req := durable("u", s.id)
	req.Device, req.Window = s, 4
	r.hub.Attach(&b, req, func(_ *core.Batch, att *core.Attachment, present bool, err error) {
		if err != nil || !present {
			r.t.Errorf("%s returns: present %t, %v", s.id, present, err)
		}
		s.mu.Lock()
		s.conn = att
		s.mu.Unlock()
		close(done)
	})
	b.Flush()
	<-done
}

func (r *rig) subscribe(s *subscriber) {
	s.since = len(r.acked)
	s.seen, s.received, s.payloads = nil, map[uint16]bool{}, map[string]int{}
	c := r.hub.attach(durable("u", s.id))
	if c.present {
		r.t.Errorf("%s has a session already", s.id)
	}
	c.subscribe(core.Subscription{Filter: "t", QoS: s.qos})
	c.leave(true)
}

// expire ends a session, with all that it is owed, and begins another.
func (r *rig) expire(s *subscriber) {
	r.connect(s)
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	var b core.Batch
	conn.SetExpiry(0)
	conn.Detach(&b, true)
	b.Flush()
	s.Close(nil, nil)
	r.subscribe(s)
}

// TestNothingAcknowledgedIsLost drives publishers and subscribers through
// crashes, takeovers, expiries and acknowledgements at random. What a publisher was told
// is stored reaches every subscriber, in order; at QoS 2 exactly once.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := &rig{t: t, store: bus.NewMemory()}
		r.start()
		defer func() { r.hub.kill() }()
		for q := core.QoS(1); q <= 2; q++ {
			s := &subscriber{id: fmt.Sprint("sub", q), qos: q}
			r.subs = append(r.subs, s)
			r.subscribe(s)
		}
		any := func(t *rapid.T) *subscriber { return rapid.SampledFrom(r.subs).Draw(t, "subscriber") }
		rt.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				for range rapid.IntRange(1, 5).Draw(t, "messages") {
					r.sent++
					r.last.payload, r.last.packet = fmt.Sprint(r.sent), uint16(r.sent)
					r.pub.publishAs("t", r.last.payload, 2, false, r.last.packet)
					r.acked = append(r.acked, r.last.payload)
				}
			},
			"publish again": func(*rapid.T) { // as after a lost PUBREC
				if r.sent > 0 {
					r.pub.publishAs("t", r.last.payload, 2, false, r.last.packet)
				}
			},
			"connect": func(t *rapid.T) { r.connect(any(t)) },
			"ack":     func(t *rapid.T) { any(t).acknowledge(rapid.IntRange(1, 6).Draw(t, "n")) },
			"crash":   func(*rapid.T) { r.crash() },
			"expire":  func(t *rapid.T) { r.expire(any(t)) },
		})
		for _, s := range r.subs {
			r.connect(s)
			r.drain(s)
		}
	})
}

// drain acknowledges everything until the subscriber has all that was promised.
func (r *rig) drain(s *subscriber) {
	deadline := time.Now().Add(patience)
	for {
		s.acknowledge(8)
		s.mu.Lock()
		owed := r.acked[s.since:]
		done := len(s.seen) >= len(owed) && len(s.unacked) == 0 && len(s.received) == 0
		seen := slices.Clone(s.seen)
		s.mu.Unlock()
		if done || time.Now().After(deadline) {
			if !slices.Equal(seen, owed) {
				r.t.Fatalf("%s was given %v, promised %v", s.id, seen, owed)
			}
			break
		}
		runtime.Gosched()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, n := range s.payloads {
		if s.qos == 2 && n > 1 {
			r.t.Fatalf("%s was given %s %d times at QoS 2", s.id, p, n)
		}
	}
}

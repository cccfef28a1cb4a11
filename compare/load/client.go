package load

import (
	"errors"
	"fmt"
)

// A sequence number names its publisher in the upper bits, so that a
// subscriber can tell a gap of one from the progress of another.
const (
	seqBits = 40
	seqMask = 1<<seqBits - 1
)

// maxOut is how many bytes may wait in a publisher's buffer before it stops
// adding to it; in an open loop the backlog then grows as a number only.
const maxOut = 256 << 10

// publisher sends its group's messages within the acknowledgement window.
type publisher struct {
	link    *link
	group   *group
	index   uint64 // within the group
	qos     byte
	id      uint16 // last packet id used
	sent    uint64
	owed    uint64 // open loop: messages due so far
	unacked uint64
}

// room is how many messages the publisher may send now.
func (p *publisher) room() uint64 {
	if p.link.blocked || len(p.link.out) > maxOut {
		return 0
	}
	if p.qos > 0 {
		return ackWindow - p.unacked
	}
	return max(p.group.window, 1)
}

// send appends n messages that carry stamp as their time.
func (p *publisher) send(n uint64, stamp int64) {
	if n == 0 {
		return
	}
	out := p.link.out
	for range n {
		if p.qos > 0 {
			p.id = p.id%0xffff + 1 // [MQTT-2.3.1-1]: never 0
		}
		out = p.group.frame.appendTo(out, p.id, p.index<<seqBits|p.sent&seqMask, stamp)
		p.sent++
	}
	p.link.out = out
	t := p.group.traffic
	if p.qos > 0 {
		p.unacked += n
		t.tally.unacked += n
	}
	p.group.sent += n
	t.tally.sent += n
	t.tally.expected += n * uint64(len(p.group.subs))
	t.touch(p.link)
}

func (p *publisher) receive(f frame, _ int64) error {
	id, err := f.ackID()
	switch kind := f.kind(); {
	case kind == typePuback && p.qos == 1, kind == typePubcomp && p.qos == 2:
		return p.acked(err)
	case kind == typePubrec && p.qos == 2 && err == nil:
		p.link.out = appendAck(p.link.out, typePubrel, id) // [MQTT-4.3.3-1]
		p.group.traffic.touch(p.link)
		return nil
	}
	return fmt.Errorf("publisher got packet type %d at QoS %d (%d bytes)", f.kind(), p.qos, len(f.body))
}

func (p *publisher) acked(err error) error {
	if err != nil {
		return err
	}
	if p.unacked == 0 {
		return errors.New("acknowledgement of nothing")
	}
	p.unacked--
	p.group.traffic.tally.unacked--
	return nil
}

// subscriber counts its group's messages and acknowledges them.
type subscriber struct {
	link  *link
	group *group
	qos   byte
	got   uint64   // messages of the group that arrived or were overtaken
	next  []uint64 // sequence expected from each publisher
	// missing are sequences that later ones have overtaken. They may still come;
	// beyond maxMissing they are not remembered, and count as repeated if they do.
	missing map[uint64]struct{}
}

// maxMissing bounds what a lossy broker makes a subscriber remember.
const maxMissing = 1 << 16

func (s *subscriber) receive(f frame, now int64) error {
	switch f.kind() {
	case typePublish:
		d, err := f.delivery()
		if err != nil {
			return err
		}
		if d.qos != s.qos {
			return fmt.Errorf("delivery at QoS %d, not %d", d.qos, s.qos)
		}
		s.answer(d)
		return s.take(d.payload, now)
	case typePubrel:
		id, err := f.ackID()
		if err != nil {
			return err
		}
		s.say(typePubcomp, id)
		return nil
	case typeConnack:
		return s.resume(f)
	}
	return fmt.Errorf("subscriber got packet type %d", f.kind())
}

// resume reads the CONNACK of a session that comes back.
func (s *subscriber) resume(f frame) error {
	if !s.link.returning {
		return errors.New("subscriber got a CONNACK that answers nothing")
	}
	s.link.returning = false
	if err := f.admitted(); err != nil {
		return err
	}
	if f.body[0] != 1 {
		return errors.New("the broker has forgotten the session") // [MQTT-3.2.2-2]
	}
	return nil
}

func (s *subscriber) answer(d delivery) {
	switch d.qos {
	case 1:
		s.say(typePuback, d.id)
	case 2:
		s.say(typePubrec, d.id)
	}
}

// say appends an acknowledgement; the loop writes those of a batch at once.
func (s *subscriber) say(kind byte, id uint16) {
	s.link.out = appendAck(s.link.out, kind, id)
	s.group.traffic.touch(s.link)
}

func (s *subscriber) take(payload []byte, now int64) error {
	t := &s.group.traffic.tally
	seq, stamp, ok := stampOf(payload)
	if !ok {
		t.delivered++
		s.group.advance(s, 1)
		return nil
	}
	pub, n := seq>>seqBits, seq&seqMask
	if pub >= uint64(len(s.next)) || n >= s.group.pubs[pub].sent {
		return fmt.Errorf("delivery that nobody sent (publisher %d, message %d)", pub, n)
	}
	if n < s.next[pub] {
		if _, late := s.missing[seq]; !late {
			t.duplicates++
			return nil
		}
		delete(s.missing, seq)
		t.skipped--
		t.reordered++
		t.deliver(stamp, now)
		return nil // the window has gone on without it
	}
	gap := n - s.next[pub]
	if gap > 0 {
		s.miss(seq-gap, seq)
	}
	s.next[pub] = n + 1
	t.skipped += gap
	t.deliver(stamp, now)
	s.group.advance(s, gap+1)
	return nil
}

// miss notes the sequences from first up to, but not including, end.
func (s *subscriber) miss(first, end uint64) {
	if s.missing == nil {
		s.missing = map[uint64]struct{}{}
	}
	for ; first < end && len(s.missing) < maxMissing; first++ {
		s.missing[first] = struct{}{}
	}
}

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
}

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
	}
	return fmt.Errorf("subscriber got packet type %d", f.kind())
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
		t.duplicates++
		return nil
	}
	gap := n - s.next[pub]
	s.next[pub] = n + 1
	t.skipped += gap
	t.delivered++
	if stamp >= t.from && stamp < t.to {
		t.latency.Record(now - stamp)
	}
	s.group.advance(s, gap+1)
	return nil
}

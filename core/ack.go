package core

import (
	"fmt"

	"pushhub/core/journal"
	"pushhub/core/qos"
)

// Ack takes a PUBACK or PUBCOMP, or says that a delivery was written to a device
// whose protocol knows no acknowledgement. ErrNotFound: no such packet id is out.
func (a *Attachment) Ack(b *Batch, packet uint16) error {
	s := a.session
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.state.Out.Get(packet)
	if a.over || e == nil {
		return fmt.Errorf("%w: packet identifier %d", ErrNotFound, packet)
	}
	s.settle(e)
	s.state.Out.Ack(packet)
	s.markDirty()
	s.pump(b)
	return nil
}

// Received takes a PUBREC: the PUBREL follows when that is durable. ErrNotFound as for Ack.
func (a *Attachment) Received(b *Batch, packet uint16) error {
	s := a.session
	s.mu.Lock()
	e := s.state.Out.Get(packet)
	if a.over || e == nil || e.QoS != 2 {
		s.mu.Unlock()
		return fmt.Errorf("%w: packet identifier %d", ErrNotFound, packet)
	}
	if !s.durable {
		s.sendRelease(b, e)
		s.mu.Unlock()
		return nil
	}
	if e.Phase > qos.Sent { // the client repeats itself
		s.sendRelease(b, e)
		s.mu.Unlock()
		return nil
	}
	e.Value.Came = true
	s.mu.Unlock()
	rec := journal.Record{Kind: journal.KindReceived, PacketID: uint32(packet), Epoch: a.epoch}
	err := a.r.append(&rec, s.addr, nil, func(_ journal.Position, err error) { a.received(packet, err) })
	if err != nil {
		a.received(packet, err)
	}
	return nil
}

// received sends the PUBREL that a durable PUBREC allows. Until it is durable the
// message counts as sent: a new connection must not be sent PUBREL before. A
// record that was refused is tried again at the next flush.
func (a *Attachment) received(packet uint16, err error) {
	s := a.session
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.state.Out.Get(packet)
	switch {
	case e == nil || e.Phase > qos.Sent:
	case err != nil && !a.over:
		s.unstored = append(s.unstored, packet)
		s.markDirty()
	case err == nil:
		e.Phase = qos.Received
		if !a.over {
			s.sendRelease(&a.r.tail.batch, e)
		}
	}
}

// again repeats the PUBRECs whose records were refused.
func (s *Session) again(b *Batch) {
	s.mu.Lock()
	packets := s.unstored
	s.unstored = nil
	s.mu.Unlock()
	for _, att := range s.attached() {
		for _, packet := range packets {
			_ = att.Received(b, packet) // it is gone, or comes here again
		}
	}
}

// Drained says that the device's out-queue has room again after Full.
func (a *Attachment) Drained(b *Batch) {
	s := a.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.over {
		return
	}
	s.full = false
	if a.clogged {
		a.clogged = false
		s.state.Out.Recall()
	}
	s.pump(b)
}

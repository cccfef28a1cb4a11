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
	if a.over || !s.state.Out.Ack(packet) {
		return fmt.Errorf("%w: packet identifier %d", ErrNotFound, packet)
	}
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
	if e.Phase == qos.Sent {
		e.Phase = qos.Received
	}
	s.mu.Unlock()
	rec := journal.Record{Kind: journal.KindReceived, PacketID: uint32(packet), Epoch: a.epoch}
	return a.r.append(&rec, s.addr, nil, func(_ journal.Position, err error) {
		if err == nil {
			a.release(packet)
		}
	})
}

// release sends the PUBREL that a durable PUBREC allows.
func (a *Attachment) release(packet uint16) {
	s := a.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.state.Out.Get(packet); e != nil && e.Phase == qos.Received && !a.over {
		s.sendRelease(&a.r.tail.batch, e)
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
	s.pump(b)
}

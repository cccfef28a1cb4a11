package session

import (
	"encoding/binary"
	"fmt"

	"pushhub/core/journal"
	"pushhub/core/qos"
)

// AppendCursor encodes what the device has acknowledged: the cursor and the
// window. It is the body of CURSOR and Q2WINDOW records.
//
//	expiry detached next sequence count { phase|qos<<4 position | gap }*
func (s *State) AppendCursor(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.Expiry))
	dst = binary.AppendUvarint(dst, uint64(s.Detached))
	dst = binary.AppendUvarint(dst, uint64(s.next))
	dst = binary.AppendUvarint(dst, s.Out.Sequence())
	n := 0
	s.Out.Each(func(*qos.Entry[Item]) bool { n++; return true })
	dst = binary.AppendUvarint(dst, uint64(n))
	s.Out.Each(func(e *qos.Entry[Item]) bool {
		if e == nil || e.Value.Pos == 0 {
			dst = append(dst, 0xff) // done, or not to be found in the log
			return true
		}
		phase := e.Phase
		if phase == qos.Aside {
			phase = qos.Waiting
		}
		if e.Value.Came && phase < qos.Received {
			phase = qos.Received // this may be stored behind the PUBREC's own record
		}
		dst = append(dst, byte(phase)|e.QoS<<4)
		dst = binary.AppendUvarint(dst, uint64(e.Value.Pos))
		return true
	})
	return dst
}

// ApplyCursor sets cursor and window to what AppendCursor encoded, for a session
// whose device is not connected.
func (s *State) ApplyCursor(b []byte) error {
	d := journal.Decoder{Rest: b}
	if err := s.decodeCursor(&d); err != nil {
		return fmt.Errorf("reading a session's cursor: %w", err)
	}
	return nil
}

func (s *State) decodeCursor(d *journal.Decoder) error {
	expiry, detached := int64(d.Uvarint()), int64(d.Uvarint())
	next, seq, n := journal.Position(d.Uvarint()), d.Uvarint(), d.Uvarint()
	if d.Err == nil && (n > qos.MaxSpan || n > uint64(len(d.Rest))) {
		return fmt.Errorf("%w: a window of %d deliveries", journal.ErrCorrupt, n)
	}
	var out qos.Window[Item]
	out.Restore(seq)
	for range n {
		b := d.Byte()
		if b == 0xff {
			out.AddAcked()
			continue
		}
		pos := journal.Position(d.Uvarint())
		e := out.Add(b>>4, Item{Pos: pos, Saved: true, Match: Match{QoS: b >> 4}})
		e.Phase, e.Dup = qos.Phase(b&0xf), true
	}
	if d.Err != nil {
		return d.Err
	}
	out.SetMax(s.Out.Max())
	s.Expiry, s.Detached, s.next, s.Out = expiry, detached, next, out
	s.Out.Rewind()
	for _, f := range s.filters {
		f.place = f.postings.Seek(max(f.Since, s.next))
	}
	return nil
}

// AppendSub encodes the body of a SUB record.
func AppendSub(dst []byte, filter string, o Options) []byte {
	dst = journal.AppendBytes(dst, filter)
	flags := o.QoS
	if o.NoLocal {
		flags |= 1 << 2
	}
	if o.RetainAsPublished {
		flags |= 1 << 3
	}
	dst = append(dst, flags)
	return binary.AppendUvarint(dst, uint64(o.ID))
}

// DecodeSub reads what AppendSub wrote.
func DecodeSub(d *journal.Decoder) (filter string, o Options) {
	filter = d.String()
	flags := d.Byte()
	o.QoS, o.NoLocal, o.RetainAsPublished = min(flags&3, 2), flags&(1<<2) != 0, flags&(1<<3) != 0
	o.ID = uint32(d.Uvarint())
	return filter, o
}

// rowVersion is written in each row.
const rowVersion = 1

// AppendRow encodes the whole state as a row, which holds all records up to applied.
func (s *State) AppendRow(dst []byte, applied journal.Position) []byte {
	dst = append(dst, rowVersion)
	dst = binary.AppendUvarint(dst, uint64(applied))
	dst = binary.AppendUvarint(dst, s.Epoch)
	dst = binary.AppendUvarint(dst, uint64(s.Handled))
	dst = journal.AppendBytes(dst, s.Tag)
	dst = binary.AppendUvarint(dst, uint64(len(s.filters)))
	for _, f := range s.filters {
		dst = AppendSub(dst, f.Name, f.Options)
		dst = binary.AppendUvarint(dst, uint64(f.Since))
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Inbound)))
	for id := range s.Inbound {
		dst = binary.AppendUvarint(dst, uint64(id))
	}
	return s.AppendCursor(dst)
}

// DecodeRow reads a row into a new state; postings finds or makes the postings of
// a filter, and the string to keep as its name.
func (s *State) DecodeRow(b []byte, postings func(filter string, o Options) (name string, p *journal.Postings)) error {
	d := journal.Decoder{Rest: b}
	if v := d.Byte(); d.Err == nil && v != rowVersion {
		return fmt.Errorf("reading a session's row: version %d is unknown", v)
	}
	s.Applied = journal.Position(d.Uvarint())
	s.Epoch = d.Uvarint()
	s.Handled = uint32(d.Uvarint())
	s.Tag = d.String()
	for n := d.Uvarint(); n > 0 && d.Err == nil; n-- {
		filter, opt := DecodeSub(&d)
		since := journal.Position(d.Uvarint())
		if d.Err == nil {
			name, p := postings(filter, opt)
			s.Subscribe(name, opt, since, p)
		}
	}
	for n := d.Uvarint(); n > 0 && d.Err == nil; n-- {
		s.Receive(uint16(d.Uvarint()))
	}
	if d.Err != nil {
		return fmt.Errorf("reading a session's row: %w", d.Err)
	}
	if err := s.decodeCursor(&d); err != nil {
		return fmt.Errorf("reading a session's row: %w", err)
	}
	return nil
}

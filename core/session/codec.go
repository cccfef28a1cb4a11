package session

import (
	"encoding/binary"
	"fmt"
	"slices"

	"pushhub/core/journal"
	"pushhub/core/qos"
)

// AppendCursor encodes what the device has acknowledged: the cursor and the
// window. It is the body of CURSOR and Q2WINDOW records.
//
//	expiry detached next sequence count { phase|qos<<4|flags position [share] | gap }* share*
//
// An entry that was taken from a shared subscription names it by its place in the
// list at the end, which is there only if there are such entries.
func (s *State) AppendCursor(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.Expiry))
	dst = binary.AppendUvarint(dst, uint64(s.Detached))
	dst = binary.AppendUvarint(dst, uint64(s.next))
	dst = binary.AppendUvarint(dst, s.Out.Sequence())
	n := 0
	s.Out.Each(func(*qos.Entry[Item]) bool { n++; return true })
	dst = binary.AppendUvarint(dst, uint64(n))
	var shares []string
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
		b := byte(phase) | e.QoS<<4
		if e.Value.Share == "" {
			dst = append(dst, b)
			dst = binary.AppendUvarint(dst, uint64(e.Value.Pos))
			return true
		}
		if !Offered(e) {
			b |= flagKept
		}
		dst = append(dst, b|flagShare)
		dst = binary.AppendUvarint(dst, uint64(e.Value.Pos))
		i := slices.Index(shares, e.Value.Share)
		if i < 0 {
			i, shares = len(shares), append(shares, e.Value.Share)
		}
		dst = binary.AppendUvarint(dst, uint64(i))
		return true
	})
	for _, share := range shares {
		dst = journal.AppendBytes(dst, share)
	}
	return dst
}

// The flags of an entry of the window, above its QoS.
const (
	flagShare = 1 << 6 // it was taken from a shared subscription
	flagKept  = 1 << 7 // and the device was not sent it
)

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
	var from []uint64 // of the entries with a share: its place in the list
	for range n {
		b := d.Byte()
		if b == 0xff {
			out.AddAcked()
			continue
		}
		pos, q, sent := journal.Position(d.Uvarint()), min(b>>4&3, 2), b&flagKept == 0
		e := out.Add(q, Item{Pos: pos, Saved: sent, Match: Match{QoS: q}})
		e.Phase, e.Dup = qos.Phase(b&0xf), sent
		if b&flagShare != 0 {
			from = append(from, d.Uvarint())
			e.Value.Share = unnamed
		}
	}
	if d.Err == nil {
		nameShares(&out, from, d)
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

// unnamed marks the entries of a window whose share is yet to be read.
const unnamed = "$share/"

// nameShares reads the list of shares, and gives the entries theirs.
func nameShares(out *qos.Window[Item], from []uint64, d *journal.Decoder) {
	if len(from) == 0 {
		return
	}
	last := slices.Max(from)
	if last >= uint64(len(from)) {
		d.Err = fmt.Errorf("%w: a share that is not in the list", journal.ErrCorrupt)
		return
	}
	names := make([]string, 0, 1)
	for range last + 1 {
		if names = append(names, d.String()); d.Err != nil {
			return
		}
	}
	for e := range out.Each {
		if e != nil && e.Value.Share == unnamed {
			e.Value.Share, from = names[from[0]], from[1:]
		}
	}
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

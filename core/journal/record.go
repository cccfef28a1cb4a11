package journal

import (
	"encoding/binary"
	"fmt"
)

// Kind says what a record means. The values are stored: they never change.
type Kind uint8

// The kinds of records. Session is the device session that the record belongs
// to; for KindPub it is the publisher's.
const (
	KindPub      Kind = 1  // a message; Body is the message
	KindRelease  Kind = 2  // QoS 2 in: the packet id is free again, PUBCOMP may be sent
	KindWindow   Kind = 3  // QoS 2 out: Body is []{packet id, position} about to be sent
	KindReceived Kind = 4  // QoS 2 out: PUBREC came, PUBREL may be sent
	KindSub      Kind = 5  // Body is the subscription
	KindUnsub    Kind = 6  // Body is the filter
	KindClaim    Kind = 7  // a connection took the session: its position is the new epoch; Body is its expiry and tag
	KindEnd      Kind = 8  // the session is gone, if it has that epoch; 0: in any case
	KindCursor   Kind = 9  // Body is what the client has acknowledged
	KindWill     Kind = 10 // Body is the will of the connection, or empty: it has none any more
	KindFence    Kind = 11 // the lane of a dead incarnation is closed
	KindHandled  Kind = 13 // PacketID is how many of the publisher's stanzas are handled (XEP-0198)
	KindShare    Kind = 14 // Body is a shared subscription, and what of the log its members have not acknowledged
	KindDone     Kind = 15 // Body is a shared subscription, and some positions that are nobody's to deliver any more
	KindOpen     Kind = 16 // Body is a shared subscription, and positions of a KindDone that nobody was sent: others may have them
	KindFired    Kind = 12 // a will that is published; Body is the message, as in KindPub
)

// A Record is one entry of the log. The slices alias the frame that it came from.
type Record struct {
	Kind     Kind
	Account  []byte // of the session
	Resource []byte // of the session; empty: the account's own session
	Epoch    uint64 // the position of the claim under which it was written
	PacketID uint32 // the packet id at QoS 2, the count of the publisher's stanzas under XEP-0198; 0: none
	Body     []byte
}

// Append encodes r behind dst:
//
//	kind(1) uvarint(epoch) uvarint(packet id) string(account) string(resource) body
func (r *Record) Append(dst []byte) []byte {
	dst = append(dst, byte(r.Kind))
	dst = binary.AppendUvarint(dst, r.Epoch)
	dst = binary.AppendUvarint(dst, uint64(r.PacketID))
	dst = AppendBytes(dst, r.Account)
	dst = AppendBytes(dst, r.Resource)
	return append(dst, r.Body...)
}

// Decode reads a record; r aliases b.
func (r *Record) Decode(b []byte) error {
	d := Decoder{Rest: b}
	r.Kind = Kind(d.Byte())
	r.Epoch = d.Uvarint()
	r.PacketID = uint32(d.Uvarint())
	r.Account = d.Bytes()
	r.Resource = d.Bytes()
	r.Body = d.Rest
	return d.Err
}

// AppendBytes appends b behind its length.
func AppendBytes[T ~[]byte | ~string](dst []byte, b T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// A Decoder reads the fields of a record one after another. After the first
// error it yields zero values, so that Err is looked at once, at the end.
type Decoder struct {
	Rest []byte
	Err  error
}

func (d *Decoder) fail(what string) {
	if d.Err == nil {
		d.Err = fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	d.Rest = nil
}

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	if len(d.Rest) == 0 {
		d.fail("a byte is missing")
		return 0
	}
	b := d.Rest[0]
	d.Rest = d.Rest[1:]
	return b
}

// Uvarint reads one unsigned integer.
func (d *Decoder) Uvarint() uint64 {
	v, n := binary.Uvarint(d.Rest)
	if n <= 0 {
		d.fail("an integer is cut off")
		return 0
	}
	d.Rest = d.Rest[n:]
	return v
}

// Bytes reads a length and as many bytes; the result aliases the record.
func (d *Decoder) Bytes() []byte {
	n := d.Uvarint()
	if n > uint64(len(d.Rest)) {
		d.fail("a string runs over the end")
		return nil
	}
	b := d.Rest[:n:n]
	d.Rest = d.Rest[n:]
	return b
}

// String is Bytes as a copy.
func (d *Decoder) String() string { return string(d.Bytes()) }

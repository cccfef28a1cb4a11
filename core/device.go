package core

import "pushhub/core/presence"

// A Device is one connection as the router sees it; the fronts implement it.
// Its methods may be called from any goroutine, several at once, and while the
// router holds locks: they only append to the connection's bounded out-queue
// and never block, write to the network or call the router back. What they
// append is written by Flush, which the Batch calls when its work is done.
type Device interface {
	// Deliver appends a delivery to the out-queue.
	Deliver(b *Batch, d Delivery) Outcome
	// Stored says that the publish or release that was given this token is done:
	// durable and applied (nil), or refused. It is called only for what returned pending.
	Stored(b *Batch, token uint64, err error)
	// Notice tells of presence and roster changes. A protocol without them ignores it.
	Notice(b *Batch, n Notice)
	// Close ends the connection: say why, in the protocol's words, then hang up.
	// The router has detached the device already.
	Close(b *Batch, reason error)
	// Flush writes what was appended since the last Flush.
	Flush()
}

// An Outcome is what became of a delivery.
type Outcome uint8

const (
	Queued  Outcome = iota // it is in the out-queue
	Full                   // no room: QoS 0 is dropped, others wait for Drained
	Refused                // this device can never take it (its maximum packet size, its protocol): drop it, go on
)

// A Delivery is one message on its way to one device.
type Delivery struct {
	Message *Message    // nil when Release
	To      *Attachment // which of the device's attachments it belongs to
	QoS     QoS         // the lower of the publisher's and the subscription's
	Retain  bool        // as it is to be sent
	Dup     bool
	Release bool   // no message: PUBREL for PacketID
	Packet  uint16 // 0 at QoS 0; else acknowledge with Attachment.Ack (QoS 2: Received, then Ack)
	SubIDs  []uint32
	Copy    Copy // only for who wants copies
}

// A Batch collects the devices that were appended to while one piece of work
// was done (the frames that one read brought, one frame of the log), so that
// each is written to once, at the end. A Batch belongs to one goroutine.
type Batch struct{ touched []Device }

// Touch notes that d has something to flush. A device calls it from Deliver,
// Stored, Notice and Close when it was clean before.
func (b *Batch) Touch(d Device) { b.touched = append(b.touched, d) }

// Flush flushes each touched device once.
func (b *Batch) Flush() {
	for i, d := range b.touched {
		b.touched[i] = nil
		d.Flush()
	}
	b.touched = b.touched[:0]
}

// A Notice is a *Presence, a *RosterPush or a *BlockPush.
type Notice interface{ notice() }

// PresenceKind is the type of a presence, RFC 6121 §4.7.1.
type PresenceKind = presence.Kind

const (
	Available    = presence.Available
	Unavailable  = presence.Unavailable
	Subscribe    = presence.Subscribe
	Subscribed   = presence.Subscribed
	Unsubscribe  = presence.Unsubscribe
	Unsubscribed = presence.Unsubscribed
)

// A Presence is the state of one device, or a request about seeing it. It is read-only once sent.
type Presence struct {
	Kind     PresenceKind
	From     Address
	To       Address // set when it is for one account or device alone
	Show     string  // "", away, chat, dnd, xa: RFC 6121 §4.7.2.1
	Status   string
	Priority int8
	Protocol string // "mqtt" or "xmpp": for people to read
	Since    int64  // Unix milliseconds
	Native   []byte // the children of the XMPP stanza, verbatim
}

// A RosterPush tells an account's devices that a contact changed, RFC 6121 §2.1.6.
type RosterPush struct {
	Contact Contact
	Removed bool
}

// A BlockPush tells an account's devices that peers were blocked, or are so no
// longer: without Peers, nobody is. XEP-0191 §3.3, §3.4
type BlockPush struct {
	Peers   []Address
	Removed bool
}

func (*Presence) notice()   {}
func (*RosterPush) notice() {}
func (*BlockPush) notice()  {}

package xmppfront

import (
	"slices"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

const nsCSI = "urn:xmpp:csi:0" // XEP-0352

// Bounds of what is held back for a client. When they are exceeded all of it goes out.
const (
	maxHeldBack      = 256
	maxHeldBackBytes = 64 << 10
	maxState         = 1 << 10 // bytes of a message that may be but a chat state
)

// heldBack is a stanza that an inactive client is not sent yet. It has not been
// sent for XEP-0198 either: it is counted when it goes out.
type heldBack struct {
	of   stateOf
	sent sent
	raw  []byte
}

// stateOf is whose state a stanza tells, and to whom: the newest is enough.
type stateOf struct {
	from, to core.Address
	message  bool // a chat state; else a presence
	as       core.Copy
}

// clientState takes <active/> and <inactive/>. XEP-0352 §4.2, §5.1; false when
// there is no such element.
func (e *engine) clientState(b *core.Batch, s *framer.Stanza) bool {
	name := string(s.Name)
	if e.stage < stageBind || name != "active" && name != "inactive" {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inactive = name == "inactive"
	if !e.inactive {
		e.sendHeldBack(b)
	}
	return true
}

// holdBack keeps a state for later, in the place of an older one of the same
// sender; false when it is to be sent now. The caller holds mu.
func (e *engine) holdBack(b *core.Batch, of stateOf, s sent, parts ...[]byte) bool {
	if !e.inactive || e.ended || e.resuming {
		return false
	}
	raw := slices.Concat(parts...)
	if len(raw) > maxHeldBackBytes {
		return false
	}
	if i := slices.IndexFunc(e.held, func(h heldBack) bool { return h.of == of }); i >= 0 {
		e.heldBytes -= len(e.held[i].raw)
		e.held = slices.Delete(e.held, i, i+1)
		e.front.counts.superseded.Add(1)
	}
	e.held = append(e.held, heldBack{of, s, raw})
	e.heldBytes += len(raw)
	if len(e.held) > maxHeldBack || e.heldBytes > maxHeldBackBytes {
		e.sendHeldBack(b)
	}
	return true
}

// sendHeldBack sends what was held back, in order. The caller holds mu.
func (e *engine) sendHeldBack(b *core.Batch) {
	held := e.held
	e.held, e.heldBytes = nil, 0
	for _, h := range held {
		if !e.send(b, len(h.raw), h.sent, h.raw) {
			e.front.counts.queueFull.Add(1)
		}
	}
}

// leaveHeldBack leaves what was held back to the stream that goes on with this
// one, which is active. XEP-0352 §6. The caller holds mu.
func (e *engine) leaveHeldBack() {
	for _, h := range e.held {
		e.sm.push(h.sent, [][]byte{h.raw})
	}
	e.held, e.heldBytes = nil, 0
}

// tellsState reports whether a message is but a chat state. XEP-0085
func tellsState(m *core.Message) bool {
	if m.QoS > 0 || m.NativeForm != core.NativeXMPP || len(m.Payload) > 0 || len(m.Native) > maxState {
		return false
	}
	if _, _, direct := core.Inbox(m.Topic); !direct {
		return false
	}
	var s framer.Stanza
	if framer.Parse(slices.Concat([]byte("<m>"), m.Native, []byte("</m>")), framer.NSClient, &s) != nil {
		return false
	}
	state := false
	for c := range s.Children {
		switch space := string(c.Space); {
		case space == nsChatStates:
			state = true
		case space == nsHints, space == framer.NSClient && string(c.Name) == "thread":
		default:
			return false
		}
	}
	return state
}

// stateOfMessage is whose chat state a delivery tells.
func stateOfMessage(d core.Delivery) stateOf {
	to, _, _ := core.Inbox(d.Message.Topic)
	return stateOf{d.Message.From, core.Address{Account: to, Resource: d.Message.Resource}, true, d.Copy}
}

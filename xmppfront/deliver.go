package xmppfront

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"mellium.im/xmpp/delay"

	"pushhub/core"
)

const (
	nsDelay        = delay.NS
	nsNotification = "androidpn:iq:notification"
)

// The forms in which a message is encoded once for all who receive it.
const (
	formMessage uint8 = 0x20 + iota
	formEvent
	formNotification
)

// lateAfter is the age from which on a message says when it was sent.
const lateAfter = 10 * time.Second

// ack is a delivery that is acknowledged when the out-queue was written up to at.
type ack struct {
	at     uint64
	to     *core.Attachment
	packet uint16
}

// Deliver implements core.Device.
func (e *engine) Deliver(b *core.Batch, d core.Delivery) core.Outcome {
	m := d.Message
	if d.Release || m == nil {
		return core.Queued // XMPP subscribes at QoS 1: there is nothing to release
	}
	if m.Topic == "" {
		return e.deliver(b, d, m.Native)
	}
	if d.Copy != core.NoCopy {
		return e.carbon(b, d)
	}
	if e.push {
		return e.notify(b, d)
	}
	_, _, direct := core.Inbox(m.Topic)
	head, count := messageHead(e.front, m), &e.front.counts.messagesOut
	if !direct {
		head, count = eventHead(e.front, m), &e.front.counts.eventsOut
	}
	to := e.bare
	if d.To.Address().Resource != "" || direct && m.Resource == e.self.Resource {
		to = e.full
	}
	out := e.deliver(b, d, []byte("<message to='"), to, head, e.late(m), []byte("</message>"))
	if out == core.Queued {
		count.Add(1)
		e.front.counts.payloadOut.Add(uint64(len(m.Payload)))
	}
	return out
}

// deliver appends one stanza, and notes what its completed write acknowledges.
func (e *engine) deliver(b *core.Batch, d core.Delivery, parts ...[]byte) core.Outcome {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	own := d.To.Address().Resource != ""
	if e.ended && d.Packet != 0 {
		// Nobody will acknowledge it here: it is for the next connection, and
		// the account's other devices must not wait for this one.
		if e.sm != nil {
			e.sm.push(e.sentAs(d, own), parts)
		}
		return core.Queued
	}
	// Nothing goes out before the client knows its address; and the account's own
	// session may be attached for a moment while the device is not to be sent what
	// comes for the account.
	if own && e.ready || !own && e.open {
		if e.inactive && tellsState(d.Message) && e.holdBack(b, stateOfMessage(d), e.sentAs(d, own), parts...) {
			return core.Queued
		}
		if e.send(b, max(n, 1), e.sentAs(d, own), parts...) {
			if d.Packet != 0 && e.sm == nil {
				e.acks = append(e.acks, ack{e.appended, d.To, d.Packet})
			}
			return core.Queued
		}
		e.front.counts.queueFull.Add(1)
	}
	if own {
		e.ownFull = true
	} else {
		e.sharedFull = true
	}
	return core.Full
}

// sentAs is what a managed stream notes of a delivery. The bytes of one of the
// account's own session are kept because it is not delivered again once another
// device has acknowledged it.
func (e *engine) sentAs(d core.Delivery, own bool) sent {
	switch {
	case d.Message.Topic == "":
		return sent{keep: keepMust}
	case d.Packet == 0:
		return sent{keep: keepSome}
	case own:
		return sent{window: windowOwn, packet: d.Packet}
	}
	return sent{window: windowShared, packet: d.Packet, keep: keepSome}
}

// messageHead is what all receivers of a direct message are sent alike: what
// follows the address in the start tag, and the children.
func messageHead(f *Front, m *core.Message) []byte {
	if p := m.Shared(formMessage); p != nil {
		return p
	}
	p := append(make([]byte, 0, 256+len(m.Native)+2*len(m.Payload)), '\'')
	p = attr(p, "from", f.jid(m.From))
	if m.Type != "" {
		p = attr(p, "type", m.Type)
	}
	if m.ID != "" {
		p = attr(p, "id", m.ID)
	}
	p = appendBody(append(p, '>'), m)
	m.Share(formMessage, p)
	return p
}

// eventHead is the same for a topic: an event of its node. XEP-0060 §7.1.2.1
func eventHead(f *Front, m *core.Message) []byte {
	if p := m.Shared(formEvent); p != nil {
		return p
	}
	p := append(make([]byte, 0, 384+len(m.Native)+2*len(m.Payload)), '\'')
	p = append(attr(p, "from", f.pubsub), "><event xmlns='"+nsPubSubEvent+"'><items"...)
	p = append(attr(p, "node", m.Topic), '>')
	if m.Retain && len(m.Payload) == 0 && m.NativeForm == 0 {
		p = append(attr(append(p, "<retract"...), "id", itemID(m)), "/>"...) // XEP-0060 §7.2.2.1
	} else {
		p = f.appendItemOf(p, m)
	}
	p = append(p, "</items></event>"...)
	m.Share(formEvent, p)
	return p
}

// appendItemOf writes a message as a pubsub item.
func (f *Front) appendItemOf(p []byte, m *core.Message) []byte {
	return f.appendItemNamed(p, m, itemID(m))
}

func (f *Front) appendItemNamed(p []byte, m *core.Message, id string) []byte {
	p = attr(append(p, "<item"...), "id", id)
	if m.From.Account != "" {
		p = attr(p, "publisher", f.jid(core.Address{Account: m.From.Account}))
	}
	p = appendItemPayload(append(p, '>'), m)
	return append(p, "</item>"...)
}

// itemID is the item's identifier. A topic has one last item; where its
// publisher names none, it is the one item of a singleton node, XEP-0060 §12.20.
func itemID(m *core.Message) string {
	if m.ID == "" {
		return "current"
	}
	return m.ID
}

// late says when a message was sent that comes later than people expect. XEP-0203 §2
func (e *engine) late(m *core.Message) []byte {
	if m.Time == 0 || m.Topic == "" {
		return nil
	}
	sent := time.UnixMilli(m.Time)
	if e.front.now().Sub(sent) < lateAfter {
		return nil
	}
	p := append(make([]byte, 0, 96), "<delay xmlns='"+nsDelay+"'"...)
	p = attr(p, "from", e.front.opt.Domain)
	p = attr(p, "stamp", sent.UTC().Format("2006-01-02T15:04:05.000Z")) // XEP-0082 §3.2
	return append(p, "/>"...)
}

// notify delivers to an androidpn device, which knows one kind of message only.
func (e *engine) notify(b *core.Batch, d core.Delivery) core.Outcome {
	m := d.Message
	if len(m.Payload) == 0 {
		return core.Refused // there is nothing to show
	}
	body := m.Shared(formNotification)
	if body == nil {
		body = notification(m)
		m.Share(formNotification, body)
	}
	id := randomID()
	out := e.deliver(b, d, []byte("<iq type='set' id='"), []byte(id), []byte("' to='"), e.full, body)
	if out == core.Queued {
		e.front.counts.notifications.Add(1)
		e.front.counts.payloadOut.Add(uint64(len(m.Payload)))
	}
	return out
}

// notice is the JSON by which a publisher fills a notification.
type notice struct {
	ID      string `json:"id"`
	APIKey  string `json:"apiKey"`
	Title   string `json:"title"`
	Message string `json:"message"`
	URI     string `json:"uri"`
}

// notification writes the rest of an androidpn notification's stanza.
func notification(m *core.Message) []byte {
	n := notice{Title: m.Subject}
	if !isJSON(m.Payload) || json.Unmarshal(m.Payload, &n) != nil || n == (notice{Title: m.Subject}) {
		n = notice{Title: m.Subject, Message: string(m.Payload)}
	}
	if n.ID == "" {
		n.ID = m.ID
	}
	if n.ID == "" {
		n.ID = strconv.FormatInt(m.Time, 10)
	}
	p := append(make([]byte, 0, 256+len(m.Payload)), "'><notification xmlns='"+nsNotification+"'>"...)
	p = textElement(p, "id", n.ID)
	p = textElement(p, "apiKey", n.APIKey)
	p = textElement(p, "title", n.Title)
	p = textElement(p, "message", n.Message)
	p = textElement(p, "uri", strings.TrimSpace(n.URI))
	return append(p, "</notification></iq>"...)
}

// Notice implements core.Device.
func (e *engine) Notice(b *core.Batch, n core.Notice) {
	switch n := n.(type) {
	case *core.Presence:
		e.tellPresence(b, n)
	case *core.RosterPush:
		e.pushRoster(b, n)
	case *core.BlockPush:
		e.pushBlocks(b, n)
	}
}

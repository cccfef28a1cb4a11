package device

import (
	"encoding/base64"
	"strings"
	"time"

	"pushhub/xmppfront/framer"
)

// Kind is what an Event tells of.
type Kind string

// The kinds of events.
const (
	KindMessage      Kind = "message"      // a <message/> of a user
	KindItem         Kind = "item"         // an item of a node: XEP-0060 §7.1.2.1
	KindPresence     Kind = "presence"     // RFC 6121 §4
	KindRoster       Kind = "roster"       // a roster push: RFC 6121 §2.1.6
	KindNotification Kind = "notification" // an androidpn notification
)

// Event is something that arrived on an XMPP stream. Which fields are set
// depends on its kind.
type Event struct {
	Kind     Kind
	From, ID string
	Type     string    // the stanza's type attribute, "" when absent
	Received time.Time // when it was read
	Delayed  bool      // it waited for the device: XEP-0203
	Error    string    // of type error: the condition

	Payload []byte // of messages, items and notifications: the bytes that the sender meant
	Body    string // of messages
	Subject string // of messages; the title of notifications
	Node    string // of items
	Item    string // of items: its id
	Show    string // of presences
	Status  string // of presences
	Contact string // of roster pushes: the JID, with Type its subscription
	URI     string // of notifications

	XML []byte // the stanza as it came
}

const (
	nsEvent        = "http://jabber.org/protocol/pubsub#event"
	nsJSON         = "urn:xmpp:json:0" // XEP-0335
	nsDelay        = "urn:xmpp:delay"  // XEP-0203
	nsRoster       = "jabber:iq:roster"
	nsNotification = "androidpn:iq:notification"
)

// eventsOf reads a message or presence; a message may carry several items.
func eventsOf(st *framer.Stanza, now time.Time) []Event {
	e := Event{
		Kind: KindMessage, From: string(st.From), ID: string(st.ID), Type: string(st.Type), Received: now, XML: st.Raw,
	}
	if e.Type == "error" {
		e.Error = errorOf("", st).Code
	}
	if string(st.Name) == "presence" {
		e.Kind, e.Show, e.Status = KindPresence, childText(st.Element, "show"), childText(st.Element, "status")
		return []Event{e}
	}
	_, e.Delayed = child(st.Element, nsDelay, "delay")
	if published, ok := child(st.Element, nsEvent, "event"); ok {
		return itemsOf(published, e)
	}
	e.Body, e.Subject = childText(st.Element, "body"), childText(st.Element, "subject")
	e.Payload = []byte(e.Body)
	for c := range st.Children {
		if data, ok := carried(c); ok {
			e.Payload = data
		}
	}
	return []Event{e}
}

// itemsOf reads the items of a pubsub event. XEP-0060 §7.1.2.1
func itemsOf(event framer.Element, like Event) []Event {
	var events []Event
	items, ok := child(event, nsEvent, "items")
	if !ok {
		return nil
	}
	node, _ := items.Attr("node")
	for c := range items.Children {
		if string(c.Name) != "item" {
			continue
		}
		e := like
		e.Kind, e.Node, e.Payload = KindItem, string(node), payloadOf(c)
		id, _ := c.Attr("id")
		e.Item = string(id)
		if from, ok := c.Attr("publisher"); ok { // XEP-0060 §7.1.2.3
			e.From = string(from)
		}
		events = append(events, e)
	}
	return events
}

// payloadOf returns the bytes that an item stands for: what its container
// carries, else its XML.
func payloadOf(item framer.Element) []byte {
	for c := range item.Children {
		if data, ok := carried(c); ok {
			return data
		}
		return c.AppendStandalone(nil)
	}
	return nil
}

// carried returns what a container carries: JSON (XEP-0335), or the hub's own
// for other bytes.
func carried(c framer.Element) (data []byte, ok bool) {
	switch string(c.Space) {
	case nsJSON:
		return framer.Unescape([]byte{}, c.Inner), true
	case nsPayload:
	default:
		return nil, false
	}
	text := framer.Unescape([]byte{}, c.Inner)
	if encoding, _ := c.Attr("encoding"); string(encoding) != "base64" {
		return text, true
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	return data, err == nil
}

// notificationOf reads an androidpn notification.
func notificationOf(st *framer.Stanza, now time.Time) (Event, bool) {
	n, ok := child(st.Element, nsNotification, "notification")
	if !ok {
		return Event{}, false
	}
	text := childText(n, "message")
	return Event{
		Kind: KindNotification, From: string(st.From), ID: childText(n, "id"), Type: string(st.Type), Received: now,
		Subject: childText(n, "title"), Body: text, Payload: []byte(text), URI: childText(n, "uri"), XML: st.Raw,
	}, true
}

// child finds a child element; an empty space is any.
func child(e framer.Element, space, name string) (framer.Element, bool) {
	for c := range e.Children {
		if string(c.Name) == name && (space == "" || string(c.Space) == space) {
			return c, true
		}
	}
	return framer.Element{}, false
}

func childText(e framer.Element, name string) string {
	c, _ := child(e, "", name)
	return string(framer.Unescape(nil, c.Inner))
}

// iqError is the refusal in an IQ of type error.
func iqError(what string, st *framer.Stanza) error {
	switch string(st.Type) {
	case "result":
		return nil
	case "error":
		return errorOf(what, st)
	}
	return &Refusal{What: what, Code: "an IQ of type '" + string(st.Type) + "'"}
}

// errorOf reads a stanza error. RFC 6120 §8.3
func errorOf(what string, st *framer.Stanza) *Refusal {
	condition, text := "error", ""
	if e, ok := child(st.Element, "", "error"); ok {
		if code, ok := e.Attr("code"); ok {
			condition += " " + string(code)
		}
		for c := range e.Children {
			switch {
			case string(c.Space) != nsStanzas:
			case string(c.Name) == "text":
				text = string(framer.Unescape(nil, c.Inner))
			default:
				condition = string(c.Name)
			}
		}
	}
	return refused(what, condition, text)
}

// streamError reads what ends a stream. RFC 6120 §4.9
func streamError(e framer.Element) *Refusal {
	condition, text := "stream error", ""
	for c := range e.Children {
		switch {
		case string(c.Space) != nsErrors:
		case string(c.Name) == "text":
			text = string(framer.Unescape(nil, c.Inner))
		default:
			condition = string(c.Name)
		}
	}
	return refused("the stream", condition, text)
}

package core

import (
	"strings"
	"sync/atomic"
)

// QoS is the delivery guarantee of MQTT §4.3, and of its XMPP counterparts:
// 0 at most once, 1 at least once, 2 exactly once.
type QoS = uint8

// An Address names a device session: an account and the resource on which the
// device is (an MQTT client id, an XMPP resourcepart). Without a resource it is
// the account itself, which all of its devices share.
type Address struct {
	Account  string
	Resource string
}

// String renders the address as "account/resource".
func (a Address) String() string {
	if a.Resource == "" {
		return a.Account
	}
	return a.Account + "/" + a.Resource
}

// A Property is one MQTT 5 user property.
type Property struct{ Key, Value string }

// A Message is what a publisher sends, whatever protocol it speaks. A message
// that is given to Publish belongs to the caller again when Publish returns; a
// message that a Device is given is shared and read-only, and valid during the
// call only.
type Message struct {
	Topic   string
	Payload []byte
	QoS     QoS
	Retain  bool
	From    Address

	Resource string // of an inbox message: deliver to this device alone while it is online
	ID       string // the sender's own identifier (XMPP id)
	Type     string // of an inbox message: chat, normal, headline …
	Subject  string
	Copies   bool // of an inbox message: both accounts' other devices may have a copy, see Attachment.WantCopies

	ContentType   string
	ResponseTopic string
	Correlation   []byte
	User          []Property
	UTF8          bool  // payload format indicator [MQTT-3.3.2-4]
	Expires       int64 // Unix milliseconds; 0: never
	Time          int64 // when the hub accepted it, Unix milliseconds

	// Number counts the publisher's stanzas (XEP-0198): it is stored with a QoS 1
	// message, for Attachment.Handled. 0: they are not counted.
	Number uint32

	// Native is the sender's own form of the message, in the sender's protocol,
	// for receivers that speak the same; NativeForm says which. 0: none.
	Native     []byte
	NativeForm uint8

	shared atomic.Pointer[sharedForm]
}

// NativeXMPP marks Native as the children of a <message/> or of a pubsub <item/>.
const NativeXMPP uint8 = 1

type sharedForm struct {
	form  uint8
	bytes []byte
}

// Shared returns the encoded form that an earlier receiver left with Share, so
// that a message is encoded once for each form, not once for each receiver.
func (m *Message) Shared(form uint8) []byte {
	if s := m.shared.Load(); s != nil && s.form == form {
		return s.bytes
	}
	return nil
}

// Share leaves an encoded form for the receivers that follow. b is read-only from then on.
func (m *Message) Share(form uint8, b []byte) { m.shared.Store(&sharedForm{form, b}) }

// Reset makes m ready for another message; it keeps no memory but m itself.
func (m *Message) Reset() {
	m.shared.Store(nil)
	m.Topic, m.Payload, m.QoS, m.Retain, m.From = "", nil, 0, false, Address{}
	m.Resource, m.ID, m.Type, m.Subject, m.Copies = "", "", "", "", false
	m.ContentType, m.ResponseTopic, m.Correlation, m.User = "", "", nil, nil
	m.UTF8, m.Expires, m.Time, m.Number, m.Native, m.NativeForm = false, 0, 0, 0, nil, 0
}

// clone is a copy that outlives the call in which m was lent.
func (m *Message) clone() *Message {
	c := &Message{
		Topic: m.Topic, Payload: append([]byte(nil), m.Payload...), QoS: m.QoS, Retain: m.Retain, From: m.From,
		Resource: m.Resource, ID: m.ID, Type: m.Type, Subject: m.Subject, Copies: m.Copies,
		ContentType: m.ContentType, ResponseTopic: m.ResponseTopic,
		UTF8: m.UTF8, Expires: m.Expires, Time: m.Time, NativeForm: m.NativeForm,
	}
	if m.Correlation != nil {
		c.Correlation = append([]byte(nil), m.Correlation...)
	}
	if m.User != nil {
		c.User = append([]Property(nil), m.User...)
	}
	if m.Native != nil {
		c.Native = append([]byte(nil), m.Native...)
	}
	return c
}

// The topics that mean something to the hub.
const (
	inboxPrefix    = "$inbox/"
	presencePrefix = "$presence/"
	sysPrefix      = "$SYS/broker/"
)

// InboxTopic is the topic of a direct message from one account to another.
func InboxTopic(to, from string) string { return inboxPrefix + to + "/" + from }

// Inbox splits an inbox topic into its two accounts.
func Inbox(topic string) (to, from string, ok bool) {
	rest, ok := strings.CutPrefix(topic, inboxPrefix)
	if !ok {
		return "", "", false
	}
	to, from, ok = strings.Cut(rest, "/")
	return to, from, ok && to != "" && from != "" && !strings.Contains(from, "/")
}

// InboxFilter is the filter that takes all direct messages to an account.
func InboxFilter(account string) string { return inboxPrefix + account + "/#" }

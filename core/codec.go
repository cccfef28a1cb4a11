package core

import (
	"encoding/binary"
	"fmt"

	"pushhub/core/journal"
)

// The bits of a stored message's first two bytes.
const (
	hasQoS    = 3 << 0
	hasRetain = 1 << 2
	hasUTF8   = 1 << 3
	hasMeta   = 1 << 4 // id, type, subject, resource
	hasV5     = 1 << 5 // content type, response topic, correlation, user properties
	hasExpiry = 1 << 6
	hasNative = 1 << 7
	codecV1   = 1
)

// hasCopies marks a message with Copies in the byte that names its native form.
const hasCopies = 1 << 7

// appendMessage encodes m as the body of a PUB record or of a retained row. The
// topic comes right behind the two leading bytes, so that it can be matched
// without decoding the rest. The publisher stands in the record.
func appendMessage(dst []byte, m *Message) []byte {
	flags := m.QoS & hasQoS
	set := func(bit byte, on bool) {
		if on {
			flags |= bit
		}
	}
	set(hasRetain, m.Retain)
	set(hasUTF8, m.UTF8)
	set(hasMeta, m.ID != "" || m.Type != "" || m.Subject != "" || m.Resource != "")
	set(hasV5, m.ContentType != "" || m.ResponseTopic != "" || m.Correlation != nil || m.User != nil)
	set(hasExpiry, m.Expires != 0)
	set(hasNative, m.NativeForm != 0 || m.Copies)
	dst = append(dst, codecV1, flags)
	dst = journal.AppendBytes(dst, m.Topic)
	dst = binary.AppendUvarint(dst, uint64(m.Time))
	if flags&hasMeta != 0 {
		for _, s := range [...]string{m.ID, m.Type, m.Subject, m.Resource} {
			dst = journal.AppendBytes(dst, s)
		}
	}
	if flags&hasV5 != 0 {
		dst = appendV5(dst, m)
	}
	if flags&hasExpiry != 0 {
		dst = binary.AppendUvarint(dst, uint64(m.Expires))
	}
	if flags&hasNative != 0 {
		form := m.NativeForm
		if m.Copies {
			form |= hasCopies
		}
		dst = append(dst, form)
		dst = journal.AppendBytes(dst, m.Native)
	}
	return append(dst, m.Payload...)
}

func appendV5(dst []byte, m *Message) []byte {
	dst = journal.AppendBytes(dst, m.ContentType)
	dst = journal.AppendBytes(dst, m.ResponseTopic)
	dst = journal.AppendBytes(dst, m.Correlation)
	dst = binary.AppendUvarint(dst, uint64(len(m.User)))
	for _, p := range m.User {
		dst = journal.AppendBytes(dst, p.Key)
		dst = journal.AppendBytes(dst, p.Value)
	}
	return dst
}

// messageTopic reads the QoS, the retain flag and the topic of an encoded message, which the topic aliases.
func messageTopic(b []byte) (topic []byte, qos QoS, retain bool, err error) {
	d := journal.Decoder{Rest: b}
	version, flags := d.Byte(), d.Byte()
	topic = d.Bytes()
	if d.Err == nil && version != codecV1 {
		return nil, 0, false, fmt.Errorf("reading a message: version %d is unknown", version)
	}
	return topic, min(flags&hasQoS, 2), flags&hasRetain != 0, d.Err
}

// decodeMessage reads what appendMessage wrote; the byte slices of m alias b. topic
// is what messageTopic found, as a string.
func decodeMessage(b []byte, topic string, from Address) (*Message, error) {
	d := journal.Decoder{Rest: b}
	d.Byte()
	flags := d.Byte()
	d.Bytes()
	m := &Message{
		Topic: topic, From: from, QoS: min(flags&hasQoS, 2),
		Retain: flags&hasRetain != 0, UTF8: flags&hasUTF8 != 0, Time: int64(d.Uvarint()),
	}
	if flags&hasMeta != 0 {
		m.ID, m.Type, m.Subject, m.Resource = d.String(), d.String(), d.String(), d.String()
	}
	if flags&hasV5 != 0 {
		decodeV5(&d, m)
	}
	if flags&hasExpiry != 0 {
		m.Expires = int64(d.Uvarint())
	}
	if flags&hasNative != 0 {
		form := d.Byte()
		m.NativeForm, m.Copies = form&^hasCopies, form&hasCopies != 0
		if native := d.Bytes(); len(native) > 0 || m.NativeForm != 0 {
			m.Native = native
		}
	}
	m.Payload = d.Rest
	if d.Err != nil {
		return nil, fmt.Errorf("reading a message on %q: %w", topic, d.Err)
	}
	return m, nil
}

func decodeV5(d *journal.Decoder, m *Message) {
	m.ContentType, m.ResponseTopic = d.String(), d.String()
	if c := d.Bytes(); len(c) > 0 {
		m.Correlation = c
	}
	n := d.Uvarint()
	for ; n > 0 && d.Err == nil; n-- {
		m.User = append(m.User, Property{d.String(), d.String()})
	}
}

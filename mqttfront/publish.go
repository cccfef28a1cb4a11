package mqttfront

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
	"pushhub/core/qos"
	"pushhub/core/topic"
)

// A publication is a PUBLISH, in place.
type publication struct {
	topic   []byte
	payload []byte
	props   propReader
	packet  uint16
	qos     byte
	retain  bool
}

// A topicAlias is that of a PUBLISH.
type topicAlias struct {
	number uint32
	given  bool
}

// decodePublish reads a PUBLISH of any version.
func decodePublish(p *publication, f frame, level byte) error {
	p.qos, p.retain = f.flags>>1&3, f.flags&1 != 0
	if p.qos == 3 {
		return errMalformedQoS // [MQTT-3.3.1-4]
	}
	if f.flags&8 != 0 && p.qos == 0 && level != 3 {
		return packets.ErrProtocolViolationDupNoQos // [MQTT-3.3.1-2]
	}
	b := f.body
	if len(b) < 2 {
		return packets.ErrMalformedTopic
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return packets.ErrMalformedTopic
	}
	p.topic, b = b[2:n:n], b[n:]
	if p.qos > 0 {
		if len(b) < 2 {
			return packets.ErrMalformedPacketID
		}
		p.packet, b = binary.BigEndian.Uint16(b), b[2:]
		if p.packet == 0 {
			return packets.ErrProtocolViolationNoPacketID // [MQTT-2.2.1-3]
		}
	}
	p.payload = b
	if level == 5 {
		return p.splitProps(b)
	}
	return nil
}

func (p *publication) splitProps(b []byte) (err error) {
	if len(b) > 0 && b[0] == 0 { // most have none
		p.payload = b[1:]
		return nil
	}
	p.props, p.payload, err = takeProps(b, publishProps)
	return err
}

// readMessageProps puts the properties of a PUBLISH (or of a will) into m; alias
// takes the topic alias, if it has one, and the result is the will delay.
func readMessageProps(m *core.Message, r *propReader, alias *topicAlias, now time.Time) (delay time.Duration, err error) {
	var p property
	for {
		more, err := r.next(&p)
		if !more {
			return delay, err
		}
		switch p.id {
		case packets.PropPayloadFormat:
			m.UTF8 = p.num == 1
		case packets.PropMessageExpiryInterval:
			m.Expires = now.UnixMilli() + 1000*int64(p.num)
		case packets.PropContentType:
			m.ContentType = string(p.data)
		case packets.PropResponseTopic:
			if topic.ValidateNameBytes(p.data) != nil {
				return 0, packets.ErrProtocolViolationSurplusWildcard // [MQTT-3.3.2-14]
			}
			m.ResponseTopic = string(p.data)
		case packets.PropCorrelationData:
			m.Correlation = append([]byte{}, p.data...)
		case packets.PropUser:
			m.User = append(m.User, core.Property{Key: string(p.data), Value: string(p.value)})
		case packets.PropWillDelayInterval:
			delay = time.Duration(p.num) * time.Second
		case packets.PropTopicAlias:
			*alias = topicAlias{p.num, true}
		}
	}
}

// publish handles a PUBLISH. errNoRoom and errBusy ask for the same frame again.
func (e *engine) publish(b *core.Batch, f frame) error {
	var p publication
	if err := decodePublish(&p, f, e.version); err != nil {
		return err
	}
	m := &e.msg
	m.Reset()
	m.Payload, m.QoS, m.Retain = p.payload, p.qos, p.retain
	var alias topicAlias
	if len(p.props.rest) > 0 {
		if _, err := readMessageProps(m, &p.props, &alias, time.Now()); err != nil {
			return err
		}
	}
	rt, err := e.route(p.topic, alias)
	if err != nil {
		return e.refused(b, &p, err)
	}
	if m.UTF8 && !utf8.Valid(m.Payload) {
		return e.notUTF8(b, &p)
	}
	if len(m.User) > 0 {
		inboxIn(rt.Topic, m)
	}
	if p.qos == 0 {
		e.publish0(b, rt, m)
		return nil
	}
	token, err := e.owe(b, p.packet, p.qos)
	if err != nil {
		return err
	}
	packet := uint16(0)
	if p.qos == 2 {
		packet = p.packet
	}
	pending, err := e.session.Publish(b, rt, m, packet, token)
	return e.outcome(token, pending, noSuchTopic(err))
}

func (e *engine) publish0(b *core.Batch, rt *core.Route, m *core.Message) {
	if _, err := e.session.Publish(b, rt, m, 0, 0); err != nil {
		e.drop(err)
	}
}

// route finds the route of a topic or its alias. Clients tend to publish to the
// topic they published to last.
func (e *engine) route(name []byte, alias topicAlias) (*core.Route, error) {
	if alias.given {
		if err := e.checkAlias(alias.number); err != nil {
			return nil, err
		}
		name = e.aliasIn(alias.number, name)
	}
	if len(name) == 0 {
		return nil, packets.ErrProtocolViolationNoTopic
	}
	if e.lastRoute != nil && bytes.Equal(name, e.lastTopic) {
		return e.lastRoute, nil
	}
	rt, err := e.session.Route(name)
	if err != nil {
		switch wrong := topic.ValidateNameBytes(name); {
		case errors.Is(wrong, topic.ErrNotUTF8), errors.Is(wrong, topic.ErrNullCharacter):
			return nil, packets.ErrMalformedTopic // [MQTT-1.5.4-1] [MQTT-1.5.4-2]
		case wrong != nil && !errors.Is(wrong, topic.ErrTooManyLevels):
			return nil, packets.ErrTopicNameInvalid // [MQTT-3.3.2-2]
		}
		return nil, err
	}
	e.lastTopic, e.lastRoute = append(e.lastTopic[:0], name...), rt
	return rt, nil
}

// refused answers a publication that has no route: the connection ends when the
// packet was wrong; when it was right and the core does not take it, the client
// is told where its protocol can say so [MQTT-3.3.5-2].
func (e *engine) refused(b *core.Batch, p *publication, err error) error {
	var wrong packets.Code
	if errors.As(err, &wrong) {
		return err
	}
	if p.qos == 0 {
		e.drop(err)
		return nil
	}
	return e.nack(b, p, noSuchTopic(err))
}

// nack acknowledges a publication of QoS 1 or 2 with an error.
func (e *engine) nack(b *core.Batch, p *publication, err error) error {
	token, owed := e.owe(b, p.packet, p.qos)
	if owed != nil {
		return owed
	}
	return e.outcome(token, false, err)
}

// notUTF8 refuses a payload that is not what its format indicator promises, MQTT 5
// §3.3.2.3.2. At QoS 0 there is no other way to say so than by DISCONNECT.
func (e *engine) notUTF8(b *core.Batch, p *publication) error {
	if p.qos == 0 {
		return packets.ErrPayloadFormatInvalid
	}
	return e.nack(b, p, packets.ErrPayloadFormatInvalid)
}

// outcome settles what a Publish or Release of this batch came to.
func (e *engine) outcome(token uint64, pending bool, err error) error {
	switch {
	case pending && err == nil:
		return nil
	case errors.Is(err, core.ErrBusy):
		e.mu.Lock()
		e.ring.Drop(token)
		e.mu.Unlock()
		return errBusy // the journal catches up sooner than a client that is told off comes back
	}
	if err := e.settle(token, err); err != nil {
		return err
	}
	e.answered = true
	return nil
}

// settle notes the answer to a publication or release that is done or refused,
// or returns the error that ends the connection.
func (e *engine) settle(token uint64, err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	kind, owed := e.ring.Kind(token)
	if !owed {
		return nil // QoS 0
	}
	if err != nil && kind != qos.ReplyComplete {
		e.drop(err)
	}
	code, ok := settle(kind, e.version, err)
	if !ok {
		return err
	}
	e.ring.Complete(token, code)
	return nil
}

// noSuchTopic is for the inbox of nobody: of a publication, not found means its
// topic, not its packet identifier.
func noSuchTopic(err error) error {
	if errors.Is(err, core.ErrNotFound) {
		return fmt.Errorf("%w: %w", core.ErrBadTopic, err)
	}
	return err
}

// owe notes that an acknowledgement of a PUBLISH is due.
func (e *engine) owe(b *core.Batch, packet uint16, level byte) (token uint64, err error) {
	kind := qos.ReplyAck
	if level == 2 {
		kind = qos.ReplyReceived
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.version == 5 && e.ring.Open() >= int(e.front.opt.ReceiveMax) {
		return 0, packets.ErrReceiveMaximum // [MQTT-3.3.4-7]
	}
	return e.pushLocked(b, packet, kind)
}

func (e *engine) pushLocked(b *core.Batch, packet uint16, kind qos.Reply) (token uint64, err error) {
	if !e.ring.Room() {
		e.answerLocked(b)
	}
	token, ok := e.ring.Push(packet, kind)
	if !ok {
		return 0, errNoRoom
	}
	return token, nil
}

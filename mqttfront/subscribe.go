package mqttfront

import (
	"encoding/binary"
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
	"pushhub/core/topic"
)

// decodeSubscribe reads the body of a SUBSCRIBE.
func decodeSubscribe(body []byte, level byte) (packet uint16, subs []core.Subscription, err error) {
	packet, b, err := takePacketID(body)
	if err != nil {
		return 0, nil, err
	}
	var id uint32
	if level == 5 {
		if id, b, err = subscribeID(b); err != nil {
			return 0, nil, err
		}
	}
	for len(b) > 0 {
		filter, rest, ok := takeString(b)
		if !ok || len(rest) == 0 {
			return 0, nil, packets.ErrMalformedTopic // [MQTT-3.8.3-1]
		}
		s, err := subscription(rest[0], level)
		if err != nil {
			return 0, nil, err
		}
		s.Filter, s.ID = string(filter), id
		if s.NoLocal && topic.IsShared(s.Filter) {
			return 0, nil, packets.ErrProtocolViolation // [MQTT-3.8.3-4]
		}
		subs, b = append(subs, s), rest[1:]
	}
	if len(subs) == 0 {
		return 0, nil, packets.ErrProtocolViolationNoFilters // [MQTT-3.8.3-2]
	}
	return packet, subs, nil
}

func takePacketID(body []byte) (packet uint16, rest []byte, err error) {
	if len(body) < 2 {
		return 0, nil, packets.ErrMalformedPacketID
	}
	if packet = binary.BigEndian.Uint16(body); packet == 0 {
		return 0, nil, packets.ErrProtocolViolationNoPacketID // [MQTT-2.2.1-3]
	}
	return packet, body[2:], nil
}

func subscribeID(body []byte) (id uint32, rest []byte, err error) {
	r, rest, err := takeProps(body, subscribeProps)
	if err != nil {
		return 0, nil, err
	}
	var p property
	for {
		more, err := r.next(&p)
		if !more {
			return id, rest, err
		}
		if p.id != packets.PropSubscriptionIdentifier {
			continue
		}
		if id = p.num; id == 0 {
			return 0, nil, packets.ErrProtocolViolation // §3.8.2.1.2
		}
	}
}

// subscription reads the options byte, MQTT 5 §3.8.3.1.
func subscription(options, level byte) (core.Subscription, error) {
	s := core.Subscription{QoS: options & 3}
	switch {
	case s.QoS == 3:
		return s, packets.ErrProtocolViolationQosOutOfRange // MQTT 3.1.1 [MQTT-3-8.3-4]
	case level == 3:
		return s, nil // the other bits mean nothing
	case level == 4 && options > 2, options&0xC0 != 0:
		return s, packets.ErrMalformedFlags // [MQTT-3.8.3-5]
	}
	s.NoLocal, s.RetainAsPublished, s.RetainHandling = options&4 != 0, options&8 != 0, options>>4&3
	if s.RetainHandling == 3 {
		return s, packets.ErrProtocolViolation
	}
	return s, nil
}

// decodeUnsubscribe reads the body of an UNSUBSCRIBE.
func decodeUnsubscribe(body []byte, level byte) (packet uint16, filters []string, err error) {
	packet, b, err := takePacketID(body)
	if err != nil {
		return 0, nil, err
	}
	if level == 5 {
		var r propReader
		if r, b, err = takeProps(b, unsubscribeProps); err != nil {
			return 0, nil, err
		}
		if err := r.check(); err != nil {
			return 0, nil, err
		}
	}
	for len(b) > 0 {
		filter, rest, ok := takeString(b)
		if !ok {
			return 0, nil, packets.ErrMalformedTopic // [MQTT-3.10.3-1]
		}
		filters, b = append(filters, string(filter)), rest
	}
	if len(filters) == 0 {
		return 0, nil, packets.ErrProtocolViolationNoFilters // [MQTT-3.10.3-2]
	}
	return packet, filters, nil
}

// checkFilter is what can be said of a filter without the core.
func checkFilter(filter string) error {
	if err := topic.ValidateSubscription(filter); err != nil {
		return errors.Join(core.ErrBadTopic, err) // [MQTT-4.7.1-1], [MQTT-4.8.2-1] and their like
	}
	return nil
}

// subscribe handles SUBSCRIBE. What comes after it waits until it is answered.
func (e *engine) subscribe(b *core.Batch, f frame) error {
	packet, asked, err := decodeSubscribe(f.body, e.version)
	if err != nil {
		return err
	}
	codes := make([]byte, len(asked))
	var subs []core.Subscription
	var at []int // where in codes the answer to each of subs belongs
	for i, s := range asked {
		if err := checkFilter(s.Filter); err != nil {
			codes[i] = e.subackCode(s, err)
			continue
		}
		subs, at = append(subs, s), append(at, i)
	}
	done := func(b *core.Batch, results []error) {
		for i, err := range results[:min(len(results), len(at))] {
			codes[at[i]] = e.subackCode(subs[i], err)
		}
		e.sendAnswer(b, e.suback(packets.Suback, packet, codes))
		e.open()
	}
	e.shut()
	if len(subs) == 0 {
		done(b, nil)
	} else {
		e.session.Subscribe(b, subs, done)
	}
	return e.await()
}

func (e *engine) subackCode(s core.Subscription, err error) byte {
	if err == nil {
		return s.QoS
	}
	e.front.count.refusedFilters.Add(1)
	e.front.opt.Log.Debug("subscription refused", "client", e.clientID, "topic", s.Filter, "err", err)
	if e.version < 5 {
		return packets.ErrUnspecifiedError.Code // [MQTT-3.9.3-2]
	}
	return filterCode(err)
}

// unsubscribe handles UNSUBSCRIBE.
func (e *engine) unsubscribe(b *core.Batch, f frame) error {
	packet, filters, err := decodeUnsubscribe(f.body, e.version)
	if err != nil {
		return err
	}
	e.shut()
	e.session.Unsubscribe(b, filters, func(b *core.Batch, results []error) {
		codes := make([]byte, len(filters))
		for i, err := range results[:min(len(results), len(codes))] {
			codes[i] = unsubackCode(err)
		}
		e.sendAnswer(b, e.suback(packets.Unsuback, packet, codes))
		e.open()
	})
	return e.await()
}

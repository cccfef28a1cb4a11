package main

import (
	"context"
	"errors"
	"fmt"

	"pushhub/compare/device"
)

// cast is who takes part, and what they speak.
var cast = [][2]string{{"thermo", "mqtt311"}, {"gateway", "mqtt5"}, {"ada", "xmpp"}, {"pad", "androidpn"}}

var (
	errNoSession  = errors.New("the hub kept no session")
	errNoQuestion = errors.New("there is no question to answer")
)

// script is everything that happens, in order.
func script() []beat {
	var all []beat
	for _, scene := range [][]beat{arrivals(), topics(), inboxes(), retained(), absences(), bytesBothWays(), endings()} {
		all = append(all, scene...)
	}
	return all
}

func arrivals() []beat {
	return []beat{
		{from: "ada", what: "log in, roster, subscribe", act: func(ctx context.Context, s *stage) error {
			return s.connectXMPP(ctx, "plant/+/temp", "plant/+/status")
		}},
		{
			from: "thermo", what: "device comes online", act: thermoComes,
			expect: []expected{{to: theHub, what: "connect, subscribe"}, {to: "ada", news: presence("thermo/thermo-1", "online", "")}},
		},
		{
			from: "gateway", what: "connect, subscribe", act: func(ctx context.Context, s *stage) (err error) {
				s.gateway, err = s.connectMQTT(ctx, "gateway", 5, true, "plant/#", "$inbox/gateway/#", "$presence/ada/#")
				return err
			},
			expect: []expected{
				{to: theHub},
				{to: "ada", what: "device comes online", news: presence("gateway/gateway-1", "online", "")},
				{to: "gateway", what: "ada is online (retained)", news: presence("ada/desk", "online", "")},
			},
		},
		{
			from: "pad", what: "register, log in", act: func(ctx context.Context, s *stage) error { return s.connectAndroidpn(ctx) },
			expect: []expected{{to: theHub}, {to: "pad", what: "its own presence", news: presence("pad/AndroidpnClient", "online", "")}},
		},
	}
}

func thermoComes(ctx context.Context, s *stage) (err error) {
	s.thermo, err = s.connectMQTT(ctx, "thermo", 4, false, "plant/7/set", "$inbox/thermo/#")
	return err
}

func topics() []beat {
	temp, set := []byte(`{"celsius":21.5}`), []byte("23")
	return []beat{
		{
			from: "thermo", what: "plant/7/temp, QoS 1", act: publish("thermo", device.Message{Topic: "plant/7/temp", Payload: temp, QoS: 1}),
			expect: []expected{{to: "ada", news: on("plant/7/temp", temp)}, {to: "gateway", news: on("plant/7/temp", temp)}},
		},
		{
			from: "ada", what: "node plant/7/set", act: func(ctx context.Context, s *stage) error {
				return s.ada.Publish(ctx, "plant/7/set", set, false)
			},
			expect: []expected{{to: "thermo", news: on("plant/7/set", set)}, {to: "gateway", news: on("plant/7/set", set)}},
		},
		{
			from: "thermo", what: "plant/7/alarm, QoS 2", act: publish("thermo", device.Message{Topic: "plant/7/alarm", Payload: []byte("hot"), QoS: 2}),
			expect: []expected{{to: "gateway", news: with(on("plant/7/alarm", []byte("hot")), func(n news) bool { return n.qos == 2 })}},
		},
	}
}

func inboxes() []beat {
	var beats []beat
	for _, pair := range [][2]string{
		{"thermo", "ada"},
		{"ada", "thermo"},
		{"gateway", "ada"},
		{"ada", "gateway"},
		{"thermo", "gateway"},
		{"gateway", "thermo"},
		{"thermo", "pad"},
		{"gateway", "pad"},
		{"ada", "pad"},
	} {
		from, to := pair[0], pair[1]
		text := fmt.Sprintf("hello %s, %s here", to, from)
		news := on("$inbox/"+to+"/"+from, []byte(text))
		what := "message to the inbox"
		if to == "pad" {
			news, what = notification(text), "push notification"
		}
		beats = append(beats, beat{from: from, what: what, act: say(from, to, text), expect: []expected{{to: to, news: news}}})
	}
	return append(beats, request()...)
}

// request is a question that an MQTT 5 device answers where it is told to.
func request() []beat {
	answerTo := ""
	return []beat{
		{
			from: "ada", what: "a question", act: say("ada", "gateway", "how warm?"),
			expect: []expected{{to: "gateway", what: "with a response topic", news: with(
				on("$inbox/gateway/ada", []byte("how warm?")), func(n news) bool { answerTo = n.response; return n.response != "" })}},
		},
		{
			from: "gateway", what: "answer to response topic", act: func(ctx context.Context, s *stage) error {
				if answerTo == "" {
					return errNoQuestion
				}
				return s.gateway.Publish(ctx, device.Message{Topic: answerTo, Payload: []byte("21.5"), QoS: 1})
			},
			expect: []expected{{to: "ada", news: on("$inbox/ada/gateway", []byte("21.5"))}},
		},
	}
}

func retained() []beat {
	limit := []byte("30")
	return []beat{
		{
			from: "thermo", what: "plant/7/limit, retained",
			act:    publish("thermo", device.Message{Topic: "plant/7/limit", Payload: limit, QoS: 1, Retain: true}),
			expect: []expected{{to: "gateway", news: on("plant/7/limit", limit)}},
		},
		{
			from: "ada", what: "last value, subscribed late",
			act:    func(ctx context.Context, s *stage) error { return s.ada.Subscribe(ctx, "plant/7/limit") },
			expect: []expected{{to: "ada", news: on("plant/7/limit", limit)}},
		},
		{
			from: "ada", what: "presence: away", act: func(_ context.Context, s *stage) error { return s.ada.Presence("away", "tea") },
			expect: []expected{{to: "gateway", news: presence("ada/desk", "online", "away")}},
		},
	}
}

// absences: what is sent to who is away waits for them.
func absences() []beat {
	note, set := "while you were away", []byte("19")
	return []beat{
		{
			from: "thermo", what: "device leaves", act: func(_ context.Context, s *stage) error { return s.goes("thermo") },
			expect: []expected{{to: "ada", news: presence("thermo/thermo-1", "offline", "")}},
		},
		{from: "ada", what: "message to absent thermo", act: say("ada", "thermo", note)},
		{from: "ada", what: "node plant/7/set meanwhile", act: func(ctx context.Context, s *stage) error {
			return s.ada.Publish(ctx, "plant/7/set", set, false)
		}},
		{
			from: "thermo", what: "device returns", act: func(ctx context.Context, s *stage) error {
				var err error
				if s.thermo, err = s.connectMQTT(ctx, "thermo", 4, false); err == nil && !s.thermo.SessionPresent() {
					err = errNoSession
				}
				return err
			},
			expect: []expected{
				{to: "thermo", what: "the message that waited", news: on("$inbox/thermo/ada", []byte(note))},
				{to: "thermo", what: "the setting that waited", news: on("plant/7/set", set)},
				{to: "ada", news: presence("thermo/thermo-1", "online", "")},
			},
		},
		{
			from: "ada", what: "client leaves", act: func(_ context.Context, s *stage) error { return s.goes("ada") },
			expect: []expected{{to: "gateway", news: presence("ada/desk", "offline", "")}},
		},
		{from: "thermo", what: "message to absent ada", act: say("thermo", "ada", note)},
		{
			from: "ada", what: "client returns", act: func(ctx context.Context, s *stage) error {
				return s.connectXMPP(ctx, "plant/+/status", "raw/up")
			},
			expect: []expected{
				{to: "ada", what: "the message that waited", news: on("$inbox/ada/thermo", []byte(note))},
				{to: "gateway", news: presence("ada/desk", "online", "")},
			},
		},
	}
}

// bytesBothWays sends all 256 bytes to XMPP and back.
func bytesBothWays() []beat {
	blob := make([]byte, 256)
	for i := range blob {
		blob[i] = byte(i)
	}
	return []beat{
		{
			from: "thermo", what: "256 different bytes", act: func(ctx context.Context, s *stage) error {
				if _, err := s.thermo.Subscribe(ctx, 1, "raw/back"); err != nil {
					return err
				}
				return s.thermo.Publish(ctx, device.Message{Topic: "raw/up", Payload: blob, QoS: 1})
			},
			expect: []expected{{to: "ada", news: on("raw/up", blob)}},
		},
		{
			from: "ada", what: "the same bytes back", act: func(ctx context.Context, s *stage) error {
				n, err := s.actors["ada"].mail.await(ctx, 0, func(n news) bool { return n.topic == "raw/up" })
				if err != nil {
					return err
				}
				return s.ada.Publish(ctx, "raw/back", n.payload, false)
			},
			expect: []expected{{to: "thermo", news: on("raw/back", blob)}},
		},
	}
}

// endings: a device that is cut off leaves a will.
func endings() []beat {
	will := []byte("cut off")
	return []beat{{
		from: "thermo", what: "the will of a device cut off", act: func(_ context.Context, s *stage) error {
			s.actors["thermo"].cut()
			return nil
		},
		expect: []expected{
			{to: "ada", news: on("plant/7/status", will)},
			{to: "gateway", news: on("plant/7/status", will)},
			{to: "ada", what: "device gone offline", news: presence("thermo/thermo-1", "offline", "")},
		},
	}}
}

// publish is an MQTT device publishing.
func publish(from string, m device.Message) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error { return s.mqtt(from).Publish(ctx, m) }
}

func (s *stage) mqtt(name string) *device.MQTT {
	if name == "thermo" {
		return s.thermo
	}
	return s.gateway
}

// say is a direct message, in the sender's own protocol.
func say(from, to, text string) func(context.Context, *stage) error {
	if from == "ada" {
		return func(ctx context.Context, s *stage) error {
			if _, err := s.ada.SendMessage(to+"@"+s.domain, "chat", []byte(text)); err != nil {
				return err
			}
			return s.ada.Ping(ctx)
		}
	}
	return publish(from, device.Message{Topic: "$inbox/" + to + "/" + from, Payload: []byte(text), QoS: 1})
}

package faults

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
)

// attendance is how a device is online.
type attendance int

const (
	always attendance = iota
	random            // comes and goes
	rarely            // comes now and then
)

// A device is one of the cast.
type device interface {
	run()
	reset(why string)
	setOff(off bool)
	end()
}

// A sender is a device that sends.
type sender interface {
	device
	quiet()
	epilogue()
	idle() bool
	unfinished() string
}

// A member is a device with what the faults need to know of it.
type member struct {
	device
	link *link
	name string
	when attendance
}

// A cast is every device of a run.
type cast struct {
	l       *ledger
	hub     *Hub
	seed    uint64
	managed bool // the hub has XEP-0198

	members []*member // senders and receivers
	senders []sender
	inboxes []*inbox
	ready   []chan struct{} // of the receivers
	mqtt    func() string
	xmpp    func() string
}

// rng is the random numbers of one part of the run.
func (c *cast) rng(name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return rand.New(rand.NewPCG(c.seed, h.Sum64())) //nolint:gosec // it has to be the same again
}

func (c *cast) enter(d device, l *link, name string, when attendance) {
	c.members = append(c.members, &member{d, l, name, when})
}

// People are the accounts of a run: rig's devices speak MQTT, desk sends over
// XMPP, the others are written to.
var people = []string{"rig", "desk", "alice", "bob", "carol"}

// assemble makes the devices. rate is messages a second of all senders.
func (c *cast) assemble(rate float64) {
	xmpp := 0.25 // of all messages, those that XMPP senders send
	item, mail := newPace(rate*xmpp/2), newPace(rate*xmpp/2)
	if !c.managed {
		item = newPace(rate * xmpp)
	}
	mqtt := newPace(rate * (1 - xmpp))
	for i, level := range []byte{4, 5, 4, 5} {
		c.mqttSender(MQTT1, level, mqtt, i, "load/a/0", "load/b/"+fmt.Sprint(i%2))
		c.mqttSender(MQTT2, level, mqtt, i, "load/b/0", "load/a/"+fmt.Sprint(i%2))
	}
	c.mqttSender(MQTT1Inbox, 5, mqtt, 0, "$inbox/alice/rig", "$inbox/bob/rig")
	c.mqttSender(MQTT2Inbox, 4, mqtt, 0, "$inbox/alice/rig", "$inbox/carol/rig")
	for i := range 2 {
		c.xmppSender(XMPPItem, item, i, "load/b/1", "load/a/"+fmt.Sprint(i))
		if c.managed {
			c.xmppSender(XMPPMessage, mail, i, "alice", "bob", "carol")
		}
	}
	c.mqttReceiver("rig", 4, 1, always, "load/a/#")
	c.mqttReceiver("rig", 5, 2, always, "load/#")
	c.mqttReceiver("rig", 4, 2, random, "load/b/#")
	c.mqttReceiver("rig", 5, 2, random, "load/a/+")
	c.mqttReceiver("rig", 4, 1, rarely, "load/+/0")
	c.mqttReceiver("rig", 5, 2, rarely, "load/b/0", "load/a/1")
	c.mqttReceiver("alice", 5, 2, random, "$inbox/alice/#")
	c.mqttReceiver("carol", 4, 2, rarely, "$inbox/carol/#")
	c.cleanReceiver(4, 1, "load/a/1")
	c.cleanReceiver(5, 2, "load/b/1")
	if c.managed {
		c.xmppReceiver("alice", always, "load/b/1")
		c.xmppReceiver("bob", rarely, "load/a/1")
		c.xmppReceiver("carol", random)
	}
}

const (
	mqttWindow = 40
	xmppWindow = 40
)

func (c *cast) mqttSender(kind Kind, level byte, p *pace, n int, topics ...string) {
	name := fmt.Sprintf("pub-%s-%d-v%d", strings.ReplaceAll(kind.String(), " ", ""), n, level)
	who := c.l.history(name)
	s := &mqttSender{
		link: newLink(who), outlet: &outlet{pace: p, window: mqttWindow}, l: c.l, rng: c.rng(name), address: c.mqtt,
		client: name, user: "rig", level: level, qos: kind.qos(), wake: make(chan struct{}, 1),
	}
	for _, t := range topics {
		s.streams = append(s.streams, c.l.stream(kind, t, who))
	}
	c.senders = append(c.senders, s)
	c.enter(s, s.link, name, always)
}

func (c *cast) xmppSender(kind Kind, p *pace, n int, addresses ...string) {
	name := fmt.Sprintf("pub-%s-%d", strings.ReplaceAll(kind.String(), " ", ""), n)
	who := c.l.history(name)
	s := &xmppSender{
		link: newLink(who), outlet: &outlet{pace: p, window: xmppWindow}, l: c.l, rng: c.rng(name), address: c.xmpp,
		user: "desk", resource: name, messages: kind == XMPPMessage, wake: make(chan struct{}, 1),
	}
	for _, a := range addresses {
		s.streams = append(s.streams, c.l.stream(kind, a, who))
	}
	c.senders = append(c.senders, s)
	c.enter(s, s.link, name, always)
}

func (c *cast) receiver(user string, level, qos byte, when attendance, clean bool, filters []string) *mqttReceiver {
	name := fmt.Sprintf("sub-%d-v%d-qos%d-%s", len(c.members), level, qos, user)
	r := &mqttReceiver{
		link: newLink(c.l.history(name)), rng: c.rng(name), address: c.mqtt, client: name, user: user, level: level,
		clean: clean, qos: qos, filters: filters, ready: make(chan struct{}), held: map[uint16]bool{},
	}
	c.ready = append(c.ready, r.ready)
	c.enter(r, r.link, name, when)
	return r
}

func (c *cast) mqttReceiver(user string, level, qos byte, when attendance, filters ...string) {
	r := c.receiver(user, level, qos, when, false, filters)
	r.in = newInbox(c.l, r.who)
	c.inboxes = append(c.inboxes, r.in)
	for _, s := range c.l.streams {
		if slices.ContainsFunc(filters, func(f string) bool { return matches(f, s.topic()) }) {
			r.in.entitle(s, qos)
		}
	}
}

func (c *cast) cleanReceiver(level, qos byte, filter string) {
	c.receiver("rig", level, qos, always, true, []string{filter})
}

func (c *cast) xmppReceiver(user string, when attendance, nodes ...string) {
	name := fmt.Sprintf("sub-%d-xmpp-%s", len(c.members), user)
	r := &xmppReceiver{
		link: newLink(c.l.history(name)), rng: c.rng(name), address: c.xmpp, user: user, nodes: nodes, ready: make(chan struct{}),
	}
	r.in = newInbox(c.l, r.who)
	c.inboxes = append(c.inboxes, r.in)
	c.ready = append(c.ready, r.ready)
	for _, s := range c.l.streams {
		if slices.Contains(nodes, s.address) || matches("$inbox/"+user+"/#", s.topic()) {
			r.in.entitle(s, 1)
		}
	}
	c.enter(r, r.link, name, when)
}

// topic is where a stream's messages are found over MQTT.
func (s *stream) topic() string {
	if s.kind == XMPPMessage {
		return "$inbox/" + s.address + "/desk"
	}
	return s.address
}

// matches is MQTT's matching of filters, as far as the cast needs it.
func matches(filter, topic string) bool {
	fs, ts := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, f := range fs {
		switch {
		case f == "#":
			return true
		case i >= len(ts), f != "+" && f != ts[i]:
			return false
		}
	}
	return len(fs) == len(ts)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pushhub/compare/device"
)

// demoWait is how long a delivery may take.
const demoWait = 10 * time.Second

// An actor is a device of the demo, connected or not.
type actor struct {
	name, proto string
	meter       *device.Meter
	mail        *mailbox
	seen        device.Traffic // when its last line was printed
	delivered   int
	leave       func() error // ends the connection politely; nil: not connected
	cut         func()       // ends it otherwise
}

// A beat is one thing that happens, and what everybody shall hear of it.
type beat struct {
	from   string
	what   string
	act    func(ctx context.Context, s *stage) error
	expect []expected
}

// expected is one delivery.
type expected struct {
	to   string
	what string // empty: the beat's
	news func(n news) bool
}

// A stage is the hub and the devices.
type stage struct {
	hub    *hub
	domain string
	out    *timeline
	actors map[string]*actor

	thermo, gateway *device.MQTT
	ada             *device.XMPP
	pad             *device.Androidpn
}

func newStage(h *hub, domain string, out *timeline) *stage {
	s := &stage{hub: h, domain: domain, out: out, actors: map[string]*actor{}}
	for _, a := range cast {
		s.actors[a[0]] = &actor{name: a[0], proto: a[1], meter: new(device.Meter), mail: newMailbox(a[0], domain)}
	}
	return s
}

// play runs the whole demo and returns how many deliveries failed. All devices
// are gone when it returns.
func (s *stage) play(ctx context.Context) (failed int, err error) {
	defer s.strike()
	if err := s.accounts(); err != nil {
		return 0, err
	}
	for _, b := range script() {
		n, err := s.run(ctx, b)
		if err != nil {
			return failed, err
		}
		failed += n
	}
	s.strike()
	return failed, s.out.end(s, failed)
}

// accounts makes those that do not register in band, and who sees whom.
func (s *stage) accounts() error {
	for _, name := range []string{"thermo", "gateway", "ada"} {
		if err := s.hub.Register(name, demoPassword); err != nil {
			return fmt.Errorf("making the account %s: %w", name, err)
		}
	}
	for _, name := range []string{"thermo", "gateway"} {
		if err := s.hub.Link("ada", name); err != nil {
			return fmt.Errorf("making ada and %s contacts: %w", name, err)
		}
	}
	return nil
}

// strike takes everybody off the stage.
func (s *stage) strike() {
	for _, a := range s.actors {
		if a.leave != nil {
			_ = a.leave() // a device that cannot say good-bye is gone as well
			a.leave = nil
		}
		a.mail.wait()
	}
}

// run does one beat, waits for what is expected of it, and prints a line for each.
// Its error is that the demo cannot go on: Ctrl-C, or nowhere to print.
func (s *stage) run(ctx context.Context, b beat) (failed int, err error) {
	marks := map[string]int{}
	for name, a := range s.actors {
		marks[name] = a.mail.count()
	}
	ctx, cancel := context.WithTimeout(ctx, demoWait)
	defer cancel()
	start := time.Now()
	acted := b.act(ctx, s)
	if errors.Is(acted, context.Canceled) {
		return 0, acted
	}
	if len(b.expect) == 0 {
		b.expect = []expected{{to: theHub}}
	}
	for _, e := range b.expect {
		l := line{From: b.from, To: e.to, What: e.what, start: start, took: time.Since(start), err: acted}
		if l.What == "" {
			l.What = b.what
		}
		if to := s.actors[e.to]; to != nil && acted == nil {
			n, err := to.mail.await(ctx, marks[e.to], e.news)
			l.took, l.err = n.at.Sub(start), err
			if errors.Is(err, context.Canceled) {
				return failed, err
			}
		}
		if l.err != nil {
			failed++
		}
		if err := s.out.line(s, l); err != nil {
			return failed, err
		}
	}
	return failed, nil
}

// spent is what crossed an actor's wire since its last line.
func (a *actor) spent() device.Traffic {
	now := a.meter.Traffic()
	d := now.Minus(a.seen)
	a.seen = now
	return d
}

// endpoint is where an actor connects.
func (s *stage) endpoint(name, address string) device.Endpoint {
	return device.Endpoint{Address: address, Meter: s.actors[name].meter, Timeout: demoWait}
}

// connectMQTT brings an MQTT device on.
func (s *stage) connectMQTT(ctx context.Context, name string, level byte, clean bool, filters ...string) (*device.MQTT, error) {
	m, err := device.ConnectMQTT(ctx, device.MQTTOptions{
		Endpoint: s.endpoint(name, s.hub.MQTTAddr()), Level: level, ClientID: name + "-1",
		User: name, Password: demoPassword, Clean: clean, KeepAlive: time.Minute, Expiry: time.Hour,
		Will: &device.Message{Topic: "plant/7/status", Payload: []byte("cut off"), QoS: 1},
	})
	if err != nil {
		return nil, err
	}
	a := s.actors[name]
	a.leave, a.cut = m.Close, m.Kill
	a.mail.takeMQTT(m)
	if len(filters) == 0 {
		return m, nil
	}
	granted, err := m.Subscribe(ctx, 2, filters...)
	if err == nil && slices.Min(granted) < 2 {
		err = fmt.Errorf("subscribing at QoS 2: granted %v", granted)
	}
	return m, err
}

// connectXMPP brings ada on: roster, presence, subscriptions.
func (s *stage) connectXMPP(ctx context.Context, nodes ...string) error {
	x, err := device.ConnectXMPP(ctx, device.XMPPOptions{
		Endpoint: s.endpoint("ada", s.hub.XMPPAddr()), Domain: s.domain, User: "ada", Password: demoPassword, Resource: "desk",
	})
	if err != nil {
		return err
	}
	s.ada = x
	a := s.actors["ada"]
	a.leave, a.cut = x.Close, x.Kill
	a.mail.takeXMPP(x.Events())
	if _, err := x.Roster(ctx); err != nil {
		return err
	}
	if err := x.Presence("", ""); err != nil {
		return err
	}
	for _, n := range nodes {
		if err := x.Subscribe(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// connectAndroidpn brings pad on, with an account that it makes itself.
func (s *stage) connectAndroidpn(ctx context.Context) error {
	p, err := device.ConnectAndroidpn(ctx, device.AndroidpnOptions{
		Endpoint: s.endpoint("pad", s.hub.XMPPAddr()), User: "pad", Password: demoPassword, Register: true,
	})
	if err != nil {
		return err
	}
	s.pad = p
	a := s.actors["pad"]
	a.leave, a.cut = p.Close, p.Kill
	a.mail.takeXMPP(p.Events())
	return nil
}

// goes ends an actor's connection.
func (s *stage) goes(name string) error {
	a := s.actors[name]
	leave := a.leave
	if leave == nil {
		return device.ErrClosed
	}
	a.leave = nil
	return leave()
}

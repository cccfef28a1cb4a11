package mqttfront

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
)

// connect handles the first packet, which must be CONNECT [MQTT-3.1.0-1].
func (e *engine) connect(b *core.Batch, f frame) error {
	if f.kind != packets.Connect || f.flags != 0 {
		return errNotMQTT
	}
	g, err := decodeConnect(f.body)
	e.mu.Lock()
	e.version, e.packetMax = g.version, int(g.packetMax)
	if err == nil {
		e.ring.SetMax(e.ringSize(), g.version == 5)
	}
	e.mu.Unlock()
	if drain := e.front.draining.Load(); err == nil && drain != nil {
		err = drain
	}
	if err != nil {
		e.greeted.Store(true)
		return err
	}
	assigned, err := g.checkID(rand.Text)
	e.greet(&g)
	e.greeting.assigned = assigned
	if err != nil {
		return err
	}
	return e.login(b)
}

// ringSize is how many answers may be owed. MQTT 5 bounds the publications by
// itself; the other half is for the releases.
func (e *engine) ringSize() int {
	if e.version == 5 {
		return 2 * int(e.front.opt.ReceiveMax)
	}
	return int(e.front.opt.ReceiveMax)
}

// greet notes what the connection goes by from now on.
func (e *engine) greet(g *greeting) {
	e.greeting, e.clientID = g, g.clientID
	e.aliasMost, e.noProblems = g.aliasMost, g.noProblems // [MQTT-3.1.2-26] [MQTT-3.1.2-27]
	e.noExpiry = g.expiry == 0
	e.limit = e.front.opt.MaxPacketSize
	if most := e.front.opt.MaxKeepalive; g.version == 5 && most > 0 && (g.keepalive == 0 || g.keepalive > most) {
		g.keepalive, g.lowered = most.Truncate(time.Second), true // [MQTT-3.1.2-21]
	}
	e.patience = g.keepalive * 3 / 2
	e.greeted.Store(true)
}

// login finds the account.
func (e *engine) login(b *core.Batch) error {
	g := e.greeting
	if g.enhanced {
		return e.authenticate(b)
	}
	if done, err := e.certified(); done {
		if err != nil {
			return err
		}
		return e.attach(b)
	}
	if !g.hasUser && !g.hasPassword {
		if !e.front.opt.Anonymous {
			e.front.count.rejected.Add(1)
			return packets.ErrNotAuthorized
		}
		e.account = core.Anonymous
		return e.attach(b)
	}
	e.stage = loggingIn
	e.shut()
	ctx, cancel := context.WithTimeout(context.Background(), loginTimeout)
	e.front.hub.Login(ctx, e.conn.From(), g.user, g.password, func(account string, err error) {
		cancel()
		e.account, e.failed = account, err
		e.open()
	})
	if err := e.await(); err != nil {
		return err
	}
	return e.attach(b)
}

// loginTimeout bounds the wait for a password check; many may queue after a restart.
const loginTimeout = time.Minute

// attach asks the core for the session.
func (e *engine) attach(b *core.Batch) error {
	g := e.greeting
	if e.failed != nil {
		e.front.count.rejected.Add(1)
		e.front.opt.Log.Info("login refused", "client", e.clientID, "remote", e.conn.RemoteAddr().String(), "account", g.user, "err", e.failed)
		return e.failed
	}
	g.password = ""
	if e.packetMax > 0 && len(e.connack(false)) > e.packetMax {
		return packets.ErrPacketTooLarge // what the client must know does not fit [MQTT-3.1.2-24]
	}
	e.stage = attaching
	e.shut()
	e.front.hub.Attach(b, core.Attach{
		Address:   core.Address{Account: e.account, Resource: g.clientID},
		Device:    e,
		Clean:     g.clean,
		Expiry:    g.sessionExpiry(e.front.opt.SessionExpiryMax),
		Window:    e.window(),
		Will:      g.will,
		WillDelay: g.willDelay,
		Protocol:  "mqtt",
	}, e.attached)
	if err := e.await(); err != nil {
		return err
	}
	return e.failed
}

func (e *engine) window() int {
	if most := int(e.greeting.receiveMax); most > 0 {
		return min(most, e.front.opt.Window) // [MQTT-3.3.4-9]
	}
	return e.front.opt.Window
}

// attached is the core's answer to attach. CONNACK is queued here, since
// deliveries may follow at once.
func (e *engine) attached(b *core.Batch, s session, present bool, err error) {
	if err != nil {
		e.failed = err
		e.open()
		return
	}
	e.mu.Lock()
	late := e.closed
	if !late {
		e.session, e.stage = s, connected
	}
	e.mu.Unlock()
	if late {
		// The connection has gone meanwhile; the core cannot be called from here.
		e.front.work.Go(func() {
			var b core.Batch
			s.Detach(&b, false)
			b.Flush()
		})
		return
	}
	e.front.count.accepted.Add(1)
	e.front.attached.Add(1)
	e.accept(b, present)
	e.greeting = nil
	e.open()
}

// accept queues the CONNACK that lets the client in.
func (e *engine) accept(b *core.Batch, present bool) {
	packet := e.connack(present)
	e.mu.Lock()
	defer e.mu.Unlock()
	if buf, ok := e.begin(b, 0); ok {
		e.connacked = true
		e.sent.other.Add(1)
		e.end(b, append(buf, packet...))
	}
}

// disconnect handles DISCONNECT. The error that it returns ends the connection.
func (e *engine) disconnect(f frame) error {
	code, expiry, err := decodeDisconnect(f.body, e.version)
	if err != nil {
		return err
	}
	if expiry != nil {
		if e.noExpiry && *expiry != 0 {
			return packets.ErrProtocolViolationZeroNonZeroExpiry // §3.14.2.2.2
		}
		e.session.SetExpiry(limitExpiry(*expiry, e.front.opt.SessionExpiryMax))
	}
	e.graceful = code == packets.CodeDisconnect.Code // [MQTT-3.14.4-3]
	return errDisconnected
}

// validDisconnect tells whether a client's DISCONNECT can have a reason code, MQTT 5
// table 3-10.
func validDisconnect(code byte) bool {
	switch code {
	case 0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99:
		return true
	}
	return false
}

// decodeDisconnect reads the body of a DISCONNECT; expiry is nil when it has none.
func decodeDisconnect(body []byte, level byte) (code byte, expiry *uint32, err error) {
	switch {
	case len(body) == 0 || level == 3:
		return 0, nil, nil
	case level != 5:
		return 0, nil, packets.ErrMalformedPacket
	case !validDisconnect(body[0]):
		return 0, nil, packets.ErrProtocolViolationInvalidReason // [MQTT-3.14.2-1]
	case len(body) == 1:
		return body[0], nil, nil
	}
	r, rest, err := takeProps(body[1:], disconnectProps)
	if err != nil {
		return 0, nil, err
	}
	if len(rest) > 0 {
		return 0, nil, packets.ErrMalformedPacket
	}
	var p property
	for {
		more, err := r.next(&p)
		if !more {
			return body[0], expiry, err
		}
		if p.id == packets.PropSessionExpiryInterval {
			seconds := p.num
			expiry = &seconds
		}
	}
}

// Close is the core's: the session is another's, or has ended.
func (e *engine) Close(b *core.Batch, reason error) {
	if errors.Is(reason, core.ErrTakenOver) {
		e.front.count.takenOver.Add(1)
	}
	e.abort(b, reason)
}

// abort queues the last packet and ends the connection when it is flushed.
func (e *engine) abort(b *core.Batch, reason error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended.Load() {
		return
	}
	e.cause = reason
	last := e.farewell(reason)
	// Under the queue's lock, so that nothing is appended behind the last packet.
	buf, ok := e.conn.Begin(0)
	e.ended.Store(true)
	if ok {
		if len(last) > 0 {
			e.sent.other.Add(1)
		}
		e.conn.End(append(buf, last...))
	}
	b.Touch(e)
}

// farewell is the last packet, if the protocol has one for the reason.
func (e *engine) farewell(reason error) []byte {
	switch {
	case e.version == 0, errors.Is(reason, errDisconnected):
		return nil
	case !e.connacked:
		return refusal(e.version, reason, e.packetMax)
	case e.version < 5:
		return nil
	}
	return lastPacket(packets.Disconnect, disconnectCode(reason), reason, e.packetMax)
}

// Closed is the transport's last call.
func (e *engine) Closed(b *core.Batch, err error) {
	e.tally()
	e.pace.stop()
	e.mu.Lock()
	e.closed = true
	s := e.session
	e.mu.Unlock()
	e.ended.Store(true)
	e.front.left(e, s != nil, err)
	if s != nil {
		e.front.attached.Add(-1)
		s.Detach(b, e.graceful)
	}
}

// Notice tells of contacts; MQTT clients subscribe to $presence topics instead.
func (e *engine) Notice(*core.Batch, core.Notice) {}

package mqttfront

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
	"pushhub/core/auth"
	"pushhub/core/qos"
	"pushhub/core/wire"
)

// A stage is how far a connection has come.
type stage uint8

const (
	expecting      stage = iota // CONNECT
	authenticating              // AUTH
	loggingIn
	attaching
	connected
)

var (
	// errNoRoom asks for the same frame again when an answer has left the ring.
	errNoRoom = errors.New("mqtt: too many publications are unanswered")
	// errBusy asks for the same frame again when the core may have room.
	errBusy = errors.New("mqtt: the journal is behind")
	// errDisconnected is why a connection ended that the client ended by DISCONNECT.
	errDisconnected = fmt.Errorf("mqtt: the client disconnected: %w", wire.ErrGoodbye)
	// errSilent is why a connection ended on which no CONNECT came.
	errSilent = errors.New("mqtt: no CONNECT in time")
	// errKeepalive is why a connection ended that was silent for too long.
	errKeepalive error = packets.ErrKeepAliveTimeout
	// errMalformedQoS is why a PUBLISH with both QoS bits set ends the connection.
	errMalformedQoS error = packets.Code{Code: packets.ErrMalformedPacket.Code, Reason: "malformed packet: QoS 3"}
	// errNotMQTT is why a connection ended that began with something else.
	errNotMQTT = errors.New("mqtt: the first packet is not CONNECT")
)

// An engine is one connection: a wire.Handler towards the transport, a
// core.Device towards the core.
type engine struct {
	front *Front
	conn  link
	since time.Time

	// The reader's own: Input, and callbacks while input waits behind the gate.
	stage     stage // becomes connected under mu
	greeting  *greeting
	account   string
	scram     *auth.SCRAM // the exchange that is under way; else nil
	proof     []byte      // waits until it may be checked; nil: none does
	failed    error       // of Login or Attach
	limit     int         // bytes of a packet
	graceful  bool
	answered  bool // an answer may be ready at the end of this Input
	input     inputTally
	msg       core.Message
	lastTopic []byte
	lastRoute *core.Route
	aliases   [][]byte // the client's; nil until it sets one
	pace      *pace    // nil: it may publish as fast as it can

	// Set before the session begins, read-only from then on.
	version    byte // written under mu
	clientID   string
	session    session // written under mu
	authMethod string  // CONNECT's; empty: none
	packetMax  int     // the largest packet that the client takes; 0: any; written under mu
	aliasMost  uint16  // how many topic aliases the client takes
	noProblems bool    // the client wants no reason strings
	patience   time.Duration
	noExpiry   bool // CONNECT asked for a session that ends with the connection

	gate    atomic.Int32 // see await
	stalled atomic.Bool  // Input waits for wake
	resumed atomic.Int64 // when it last went on after a wait, Unix nanoseconds
	greeted atomic.Bool  // CONNECT has come
	full    atomic.Bool  // a delivery found no room: the core waits for Drained
	ended   atomic.Bool  // nothing more is appended
	sent    sentTally
	authBy  atomic.Int64 // when scram must have come to an end, Unix nanoseconds; 0: no exchange

	aliasOut *aliasTable // ours; between begin and end; nil until needed

	mu        sync.Mutex // guards the rest, and writes as said above
	ring      qos.Ring
	connacked bool
	closed    bool
	cause     error // why it ended; read-only once ended is set
}

func newEngine(f *Front, conn link, now time.Time) *engine {
	return &engine{front: f, conn: conn, since: now, limit: min(f.opt.MaxConnectSize, f.opt.MaxPacketSize), pace: newPace(f.opt)}
}

// Input handles the packets of one read. What they cause is written once, at its end.
func (e *engine) Input(b *core.Batch, data []byte) (used int, err error) {
	if e.ended.Load() {
		return len(data), nil
	}
	if err = e.goOn(b); err == nil {
		used, err = e.frames(b, data)
	}
	if e.answered {
		e.answered = false
		e.answer(b)
	}
	e.front.count.add(&e.input)
	if err != nil && !errors.Is(err, wire.ErrPause) {
		e.abort(b, err)
	}
	return used, err
}

// goOn takes up what an earlier Input left waiting.
func (e *engine) goOn(b *core.Batch) error {
	if e.gate.Load() != gateOpen {
		return wire.ErrPause
	}
	if data := e.proof; data != nil {
		e.proof = nil
		return e.exchange(b, data, e.scram.Claimed())
	}
	switch e.stage {
	case loggingIn:
		return e.attach(b)
	case attaching:
		return e.failed
	}
	if e.conn.Queued() <= 2*e.front.opt.QueueBytes {
		return nil
	}
	// The client does not take what it asks for.
	e.stalled.Store(true)
	if e.conn.Queued() <= 2*e.front.opt.QueueBytes && e.stalled.Swap(false) {
		return nil
	}
	return wire.ErrPause
}

func (e *engine) frames(b *core.Batch, data []byte) (used int, err error) {
	if e.stage == expecting && len(data) > 0 && data[0] != packets.Connect<<4 {
		return 0, errNotMQTT // [MQTT-3.1.0-1]
	}
	for {
		f, err := nextFrame(data[used:], e.limit)
		if err != nil || f.size == 0 {
			return used, err
		}
		err = e.handle(b, f)
		if errors.Is(err, errNoRoom) || errors.Is(err, errBusy) || errors.Is(err, errTooFast) {
			return used, e.stall(b, err)
		}
		e.input.packets++
		used += f.size
		if err != nil {
			return used, err
		}
	}
}

// stall makes Input wait for wake, after which it gets the same frame again. The
// next Tick wakes it, if nothing does before.
func (e *engine) stall(b *core.Batch, why error) error {
	e.answer(b)
	e.stalled.Store(true)
	switch {
	case errors.Is(why, errTooFast):
		e.slowDown()
	case errors.Is(why, errNoRoom) && e.hasRoom():
		e.wake() // what made room looked for a stalled input too early
	}
	return wire.ErrPause
}

func (e *engine) hasRoom() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ring.Room()
}

func (e *engine) handle(b *core.Batch, f frame) error {
	if f.kind == packets.Publish && e.stage == connected {
		if e.pace != nil && e.pace.tooFast(f, time.Now()) {
			return errTooFast
		}
		err := e.publish(b, f)
		if err == nil {
			e.input.publication(len(e.msg.Payload))
			e.pace.taken()
		}
		return err
	}
	switch e.stage {
	case connected:
	case authenticating:
		return e.unauthenticated(b, f)
	default:
		return e.connect(b, f)
	}
	if err := checkFlags(f, e.version); err != nil {
		return err
	}
	switch f.kind {
	case packets.Puback, packets.Pubrec, packets.Pubcomp:
		return e.acked(b, f)
	case packets.Pubrel:
		return e.release(b, f)
	case packets.Subscribe:
		return e.subscribe(b, f)
	case packets.Unsubscribe:
		return e.unsubscribe(b, f)
	case packets.Pingreq:
		if len(f.body) > 0 {
			return packets.ErrMalformedPacket // MQTT 5 §3.12.1
		}
		e.send(b, []byte{packets.Pingresp << 4, 0}) // [MQTT-3.12.4-1]
		return nil
	case packets.Disconnect:
		return e.disconnect(f)
	case packets.Auth:
		return e.authPacket(b, f)
	case packets.Connect:
		return packets.ErrProtocolViolationSecondConnect // [MQTT-3.1.0-2]
	}
	return packets.ErrProtocolViolation
}

// begin is link.Begin, but refuses once the last packet is appended.
func (e *engine) begin(b *core.Batch, n int) ([]byte, bool) {
	buf, ok := e.conn.Begin(n)
	if ok && e.ended.Load() {
		e.end(b, buf)
		return nil, false
	}
	return buf, ok
}

func (e *engine) end(b *core.Batch, buf []byte) {
	if e.conn.End(buf) {
		b.Touch(e)
	}
}

// send appends a packet that must be sent whatever the bound.
func (e *engine) send(b *core.Batch, packet []byte) {
	if buf, ok := e.begin(b, 0); ok {
		e.sent.other.Add(1)
		e.end(b, append(buf, packet...))
	}
}

// sendAnswer is send for an answer that may be nil, because the client takes no
// packet of its size: there is no going on without it.
func (e *engine) sendAnswer(b *core.Batch, packet []byte) {
	if packet == nil {
		e.abort(b, packets.ErrPacketTooLarge)
		return
	}
	e.send(b, packet)
}

// drop counts a publication that went nowhere.
func (e *engine) drop(err error) {
	e.front.count.drop(err)
	e.front.opt.Log.Debug("publication dropped", "client", e.clientID, "err", err)
}

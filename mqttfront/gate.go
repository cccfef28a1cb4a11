package mqttfront

import (
	"time"

	"pushhub/core"
	"pushhub/core/wire"
)

// The gate holds input back while the core works on a packet whose successors
// must wait. The core may answer before its call returns or after, on any goroutine.
const (
	gateOpen   = int32(iota)
	gateShut   // the call to the core runs
	gateWaited // it has returned without an answer; Input returned ErrPause
)

// shut closes the gate, before the call to the core.
func (e *engine) shut() { e.gate.Store(gateShut) }

// await, after the call, tells whether input must wait.
func (e *engine) await() error {
	if e.gate.CompareAndSwap(gateShut, gateWaited) {
		return wire.ErrPause
	}
	return nil
}

// open lets input go on; the core's answer does so.
func (e *engine) open() {
	if e.gate.Swap(gateOpen) == gateWaited {
		e.resume()
	}
}

// wake lets an Input that was stalled try again.
func (e *engine) wake() {
	if e.stalled.Load() && e.stalled.Swap(false) {
		e.resume()
	}
}

func (e *engine) resume() {
	e.resumed.Store(time.Now().UnixNano())
	e.conn.Resume()
}

// Written is told that the client took some of its queue.
func (e *engine) Written(b *core.Batch, _ uint64) {
	if e.full.Load() && e.conn.Queued() <= e.front.opt.QueueBytes/2 && e.full.Swap(false) && !e.ended.Load() {
		e.session.Drained(b)
	}
	if e.stalled.Load() && e.conn.Queued() <= e.front.opt.QueueBytes {
		e.wake()
	}
}

// Flush writes what was appended, and hangs up after the last packet.
func (e *engine) Flush() {
	if e.ended.Load() {
		e.conn.Close(e.cause)
		return
	}
	e.conn.Flush()
}

// Tick watches the client's silence.
func (e *engine) Tick(now time.Time) error {
	e.tally()
	e.wake()
	if e.ended.Load() {
		return nil
	}
	var b core.Batch
	switch drain := e.front.draining.Load(); {
	case drain != nil:
		e.abort(&b, drain)
	case !e.greeted.Load():
		if now.Sub(e.since) > e.front.opt.ConnectTimeout {
			e.abort(&b, errSilent)
		}
	case e.authLate(now):
		e.front.count.rejected.Add(1)
		e.abort(&b, errAuthSlow)
	case e.patience > 0 && !e.paused() && now.Sub(e.heard()) > e.patience:
		e.front.count.keepalive.Add(1)
		e.abort(&b, errKeepalive) // [MQTT-3.1.2-22]
	}
	b.Flush()
	return nil
}

// paused tells whether it is our doing that nothing is read from the client.
func (e *engine) paused() bool {
	return e.gate.Load() != gateOpen || (e.stalled.Load() && e.conn.Queued() <= 2*e.front.opt.QueueBytes)
}

func (e *engine) heard() time.Time {
	last := e.conn.LastInput()
	if resumed := time.Unix(0, e.resumed.Load()); resumed.After(last) {
		return resumed
	}
	return last
}

// tally moves what the engine counted by itself, to spare a contended counter, to
// the front's, and gives memory back.
func (e *engine) tally() {
	e.front.count.take(&e.sent)
	e.mu.Lock()
	e.ring.Trim()
	e.mu.Unlock()
}

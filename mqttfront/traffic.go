package mqttfront

import (
	"sync/atomic"

	"pushhub/core"
)

// inputTally is what one Input took; the reader's own.
type inputTally struct{ packets, publications, bytes uint64 }

func (t *inputTally) publication(payload int) {
	t.publications++
	t.bytes += uint64(payload)
}

// sentTally is what an engine has sent since the last Tick, to spare a contended
// counter for each message.
type sentTally struct {
	publications atomic.Uint64 // their number above payloadBits, and the bytes of their payloads below
	other        atomic.Uint64 // all other packets
}

// payloadBits are enough for 64 GiB between two Ticks, those above for 268 million messages.
const payloadBits = 36

func (t *sentTally) publication(payload int) {
	t.publications.Add(1<<payloadBits | uint64(payload))
}

func (c *counters) add(t *inputTally) {
	if t.packets == 0 {
		return
	}
	c.packetsIn.Add(t.packets)
	if t.publications > 0 {
		c.received.Add(t.publications)
		c.bytesIn.Add(t.bytes)
	}
	*t = inputTally{}
}

func (c *counters) take(t *sentTally) {
	publications, other := t.publications.Swap(0), t.other.Swap(0)
	n := publications >> payloadBits
	if n+other == 0 {
		return
	}
	c.sent.Add(n)
	c.bytesOut.Add(publications & (1<<payloadBits - 1))
	c.packetsOut.Add(n + other)
}

// Traffic implements core.Meter.
func (f *Front) Traffic() core.Traffic {
	c, moved := &f.count, f.server.Bytes()
	return core.Traffic{
		Sockets: f.server.Accepted(), Logins: c.accepted.Load(),
		BytesIn: moved.Read, BytesOut: moved.Written,
		PacketsIn: c.packetsIn.Load(), PacketsOut: c.packetsOut.Load(),
		PublishesIn: c.received.Load(), PublishesOut: c.sent.Load(),
		PublishBytesIn: c.bytesIn.Load(), PublishBytesOut: c.bytesOut.Load(),
		OverConnections: f.server.Refused(), OverAddress: f.server.OverAddress(), Waited: f.server.Waited(),
		LoginsRefused: c.rejected.Load(), Paused: c.paused.Load(),
		Malformed: c.malformed.Load(), Silent: c.keepalive.Load(),
	}
}

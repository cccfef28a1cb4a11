package mqttfront

import (
	"testing"
	"time"

	"pushhub/core"
)

func TestTrafficIsCountedOnce(t *testing.T) {
	r := newRig(t, testOptions()).connected(5)
	r.in(fromHex(t, "30 06 0001 61 00 3132 32 06 0001 61 0001 00 c000 82 07 0002 00 0001 62 01"))
	for range 3 {
		r.flushed(func(b *core.Batch) {
			r.e.Deliver(b, core.Delivery{Message: &core.Message{Topic: "b", Payload: make([]byte, 1000)}})
		})
	}
	r.in(fromHex(t, "e0 00"))
	for range 2 {
		if err := r.e.Tick(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	c := &r.e.front.count
	for name, n := range map[string][2]uint64{
		"packets in":       {c.packetsIn.Load(), 6},  // CONNECT, two PUBLISH, PINGREQ, SUBSCRIBE, DISCONNECT
		"packets out":      {c.packetsOut.Load(), 7}, // CONNACK, PUBACK, PINGRESP, SUBACK, three PUBLISH
		"publications in":  {c.received.Load(), 2},
		"publications out": {c.sent.Load(), 3},
		"payload in":       {c.bytesIn.Load(), 2},
		"payload out":      {c.bytesOut.Load(), 3000},
	} {
		if n[0] != n[1] {
			t.Errorf("%s: %d, want %d", name, n[0], n[1])
		}
	}
}

package mqttfront

import "github.com/mochi-mqtt/server/v2/packets"

// A frame is one control packet, in place.
type frame struct {
	kind  byte   // packets.Connect …
	flags byte   // the lower half of the first byte
	body  []byte // what the remaining length counts
	size  int    // of the whole packet
}

// nextFrame finds the first packet of data. Its size is 0 when more bytes are
// needed. A packet larger than limit is refused as soon as its length is known,
// before it is waited for.
func nextFrame(data []byte, limit int) (frame, error) {
	if len(data) < 2 {
		return frame{}, nil
	}
	length, n := int(data[1]), 2
	if length >= 0x80 {
		var ok bool
		if length, n, ok = longLength(data); !ok {
			return frame{}, packets.ErrMalformedVariableByteInteger
		}
		if n == 0 {
			return frame{}, nil
		}
	}
	if n+length > limit {
		return frame{}, packets.ErrPacketTooLarge
	}
	if len(data)-n < length {
		return frame{}, nil
	}
	return frame{data[0] >> 4, data[0] & 0x0F, data[n : n+length : n+length], n + length}, nil
}

// longLength reads a remaining length of two to four bytes. It returns where the
// body starts, or 0 when more bytes are needed; ok is false when it has a fifth
// byte or a needless one [MQTT-1.5.5-1].
func longLength(data []byte) (length, n int, ok bool) {
	for n = 1; n < len(data); n++ {
		length |= int(data[n]&0x7F) << (7 * (n - 1))
		if data[n] < 0x80 {
			return length, n + 1, data[n] != 0
		}
		if n == 4 {
			return 0, 0, false
		}
	}
	return 0, 0, true
}

// lengthSize is how many bytes a variable byte integer takes.
func lengthSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

func appendLength(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// checkFlags tells whether the reserved flags of a packet are as they must be
// [MQTT-2.1.3-1]. Level 3 has clients that send others (IBM's wmqtt: PUBREL
// without its flag), and the server always accepted them.
func checkFlags(f frame, level byte) error {
	want := byte(0)
	switch f.kind {
	case packets.Publish:
		return nil
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		want = 2 // [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1]
	}
	if f.flags != want && level != 3 {
		return packets.ErrMalformedFlags
	}
	return nil
}

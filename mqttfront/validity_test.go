package mqttfront

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pushhub/core"
)

// What MQTT 5 forbids on a live connection, and with which reason code the server
// has to leave.
func TestProtocolErrorsOfFive(t *testing.T) {
	for _, c := range []struct {
		name string
		in   string
		code byte
	}{
		{"second CONNECT", connects[5], 0x82}, // [MQTT-3.1.0-2]
		{"CONNACK from a client", "2003 00 00 00", 0x82},
		{"SUBACK from a client", "9004 0001 00 00", 0x82},
		{"UNSUBACK from a client", "b004 0001 00 00", 0x82},
		{"PINGRESP from a client", "d000", 0x82},
		{"AUTH without a method in CONNECT", "f002 18 00", 0x82}, // [MQTT-4.12.0-7]
		{"AUTH with flags", "f102 18 00", 0x81},                  // [MQTT-3.15.1-1]

		{"PUBLISH with a subscription identifier", "3006 0001 61 02 0b05", 0x82}, // [MQTT-3.3.4-6]
		{"PUBLISH with a response topic that has a wildcard", "3008 0001 61 04 08000123", 0x82},
		{"PUBLISH with payload format 2", "3006 0001 61 02 0102", 0x82},
		{"PUBLISH with QoS 3", "3606 0001 61 0001 00", 0x81},
		{"PUBLISH with DUP at QoS 0", "3804 0001 61 00", 0x82},
		{"PUBLISH with packet id 0", "3206 0001 61 0000 00", 0x82},
		{"PUBLISH to nothing", "3003 0000 00", 0x82},
		{"PUBLISH to a wildcard", "3004 0001 2b 00", 0x90},
		{"PUBLISH to U+0000", "3004 0001 00 00", 0x81},
		{"PUBLISH to a surrogate", "3006 0003 eda080 00", 0x81},
		{"PUBLISH to an overlong form", "3005 0002 c080 00", 0x81},
		{"PUBLISH with alias 0", "3007 0001 61 03 230000", 0x94},
		{"PUBLISH with an alias above the maximum", "3007 0001 61 03 230011", 0x94},
		{"PUBLISH with an alias that was not set", "3006 0000 03 230001", 0x82},
		{"PUBLISH with two aliases", "300a 0001 61 06 230001 230001", 0x82},
		{"PUBLISH with a content type of U+0000", "3008 0001 61 04 03000100", 0x81},
		{"PUBLISH with a user property that is a surrogate", "300c 0001 61 08 26 0003 eda080 0000", 0x81},
		{"PUBLISH that is not the UTF-8 it says, at QoS 0", "3007 0001 61 02 0101 ff", 0x99},

		{"PUBACK with a code of PUBCOMP", "4003 0001 92", 0x82}, // [MQTT-3.4.2-1]
		{"PUBACK with a code that there is not", "4004 0001 01 00", 0x82},
		{"PUBREC with a code of SUBACK", "5003 0001 8f", 0x82},  // [MQTT-3.5.2-1]
		{"PUBREL with a code of PUBACK", "6203 0001 10", 0x82},  // [MQTT-3.6.2-1]
		{"PUBCOMP with a code of PUBREC", "7003 0001 80", 0x82}, // [MQTT-3.7.2-1]
		{"PUBREL with flags 0", "6002 0001", 0x81},
		{"PUBACK with a property of PUBLISH", "4006 0001 00 02 0101", 0x82},
		{"PUBACK with two reason strings", "400a 0001 00 06 1f0000 1f0000", 0x82},

		{"SUBSCRIBE with identifier 0", "8209 0001 02 0b00 0001 61 00", 0x82}, // §3.8.2.1.2
		{"SUBSCRIBE with two identifiers", "820b 0001 04 0b01 0b02 0001 61 00", 0x82},
		{"SUBSCRIBE with an identifier of five bytes", "820d 0001 06 0bffffffff01 0001 61 00", 0x81},
		{"SUBSCRIBE with packet id 0", "8207 0000 00 0001 61 00", 0x82},
		{"SUBSCRIBE with reserved options", "8207 0001 00 0001 61 40", 0x81}, // [MQTT-3.8.3-5]
		{"SUBSCRIBE with retain handling 3", "8207 0001 00 0001 61 30", 0x82},
		{"SUBSCRIBE with QoS 3", "8207 0001 00 0001 61 03", 0x82},
		{"SUBSCRIBE to nothing", "8203 0001 00", 0x82},           // [MQTT-3.8.3-2]
		{"SUBSCRIBE to U+0000", "8207 0001 00 0001 00 00", 0x81}, // [MQTT-3.8.3-1]
		{"SUBSCRIBE to a surrogate", "8209 0001 00 0003 eda080 00", 0x81},
		{"UNSUBSCRIBE from nothing", "a203 0001 00", 0x82},        // [MQTT-3.10.3-2]
		{"UNSUBSCRIBE from U+0000", "a206 0001 00 0001 00", 0x81}, // [MQTT-3.10.3-1]
		{"UNSUBSCRIBE with an identifier", "a208 0001 02 0b01 0001 61", 0x82},

		{"DISCONNECT with a code of a server", "e001 8b", 0x82}, // [MQTT-3.14.2-1]
		{"DISCONNECT with a code that there is not", "e002 01 00", 0x82},
		{"DISCONNECT with a server reference", "e006 00 04 1c000161", 0x82},
		{"DISCONNECT that gives an expiry to a session without", "e007 00 05 1100000001", 0x82},
		{"DISCONNECT with flags", "e100", 0x81},
		{"PINGREQ with flags", "c100", 0x81},
		{"PINGREQ with a body", "c001 00", 0x81},
		{"a property that there is not", "3006 0001 61 02 7f00", 0x81},
		{"properties that are longer than the packet", "3005 0001 61 05 01", 0x81},
		{"a length of more bytes than it needs", "c08000", 0x81},
		{"a packet that is too large", "30ff7f", 0x95},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, testOptions()).connected(5)
			out := r.in(fromHex(t, c.in))
			if len(out) < 3 || out[0] != 0xE0 || out[2] != c.code || !r.link.closed {
				t.Fatalf("ended %v with %x (%v), want DISCONNECT %#x", r.link.closed, out, r.err, c.code)
			}
			for _, line := range r.hub.session.log {
				if strings.HasPrefix(line, "publish") || strings.HasPrefix(line, "subscribe") {
					t.Errorf("but it was done: %s", line)
				}
			}
		})
	}
}

// What looks odd, but MQTT 5 allows it.
func TestOddButValidPacketsOfFive(t *testing.T) {
	for _, c := range []struct{ name, in, out string }{
		{"PUBACK with no matching subscribers", "4003 0001 10 c000", "d000"},
		{"PUBACK with an error", "4004 0001 97 00 c000", "d000"},
		{"PUBCOMP with an error", "7003 0001 92 c000", "d000"},
		{"PUBREL with an error", "6203 0001 92", "7002 0001"},
		{"user property twice", "3012 0001 61 0e 26 00016b 000176 26 00016b 000176 c000", "d000"},
		{"empty user property", "3009 0001 61 05 26 0000 0000 c000", "d000"},
		{"empty response topic is none", "3206 0001 61 0001 00", "4002 0001"},
		{"the UTF-8 that it says", "3209 0001 61 0001 02 0101 79", "4002 0001"},
		{"UTF-8 with U+0000 in the payload", "3209 0001 61 0001 02 0101 00", "4002 0001"},
		{"bytes that say nothing of UTF-8", "3207 0001 61 0001 00 ff", "4002 0001"},
		{"bytes that say they are bytes", "3209 0001 61 0001 02 0100 ff", "4002 0001"},
		{"not the UTF-8 that it says, at QoS 1", "3209 0001 61 0001 02 0101 ff", `401f 0001 99 1b 1f0018 "the payload is not UTF-8"`},
		{"not the UTF-8 that it says, at QoS 2", "3409 0001 61 0001 02 0101 ff", `501f 0001 99 1b 1f0018 "the payload is not UTF-8"`},
		{"DISCONNECT with an error", "e002 81 00", ""},
		{"the largest subscription identifier", "820c 0001 05 0bffffff7f 0001 61 00", "9004 0001 00 00"},
		{"SUBSCRIBE with all options", "8207 0001 00 0001 61 2e", "9004 0001 00 02"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, testOptions()).connected(5)
			r.expect(c.name, r.in(fromHex(t, c.in)), toHex(fromHex(t, c.out)))
			for _, line := range r.hub.session.log {
				if strings.HasPrefix(c.name, "not the UTF-8") && strings.HasPrefix(line, "publish") {
					t.Errorf("but it was done: %s", line)
				}
			}
		})
	}
}

// connectWith is a CONNECT of MQTT 5 with these flags, properties and payload, in hex.
func connectWith(t testing.TB, flags byte, props, payload string) string {
	b := fromHex(t, fmt.Sprintf("0004 4d515454 05 %02x 003c %02x %s %s", flags, len(fromHex(t, props)), props, payload))
	return fmt.Sprintf("10 %02x %x", len(b), b)
}

// The first packet, where MQTT 5 has a reason code for what is wrong with it.
func TestConnectsOfFive(t *testing.T) {
	connect := func(flags byte, props, payload string) string { return connectWith(t, flags, props, payload) }
	const id = "0001 63"
	for _, c := range []struct {
		name string
		in   string
		code byte
	}{
		{"without client id", connect(2, "", "0000"), 0},
		{"without client id, for a session that stays", connect(0, "1100000e10", "0000"), 0},
		{"client id of U+0000", connect(2, "", "0001 00"), 0x81},
		{"client id that is a surrogate", connect(2, "", "0003 eda080"), 0x81},
		{"user name of U+0000", connect(0x82, "", id+"0001 00"), 0x81},
		{"user name that is a surrogate", connect(0x82, "", id+"0003 eda080"), 0x81},
		{"password without user name", connect(0x42, "", id+"0001 78"), 0x86}, // valid, but nobody's
		{"user name without password", connect(0x82, "", id+"0005 616c696365"), 0x86},
		{"user name flag without user name", connect(0x82, "", id), 0x81},
		{"reserved flag", connect(3, "", id), 0x82},
		{"will QoS without will", connect(0x0A, "", id), 0x82},
		{"will retain without will", connect(0x22, "", id), 0x82},
		{"will QoS 3", connect(0x1E, "", id+"00 0001 77 0000"), 0x82},
		{"will", connect(0x06, "", id+"00 0001 77 0000"), 0},
		{"will to U+0000", connect(0x06, "", id+"00 0001 00 0000"), 0x81},
		{"will to a wildcard", connect(0x06, "", id+"00 0001 23 0000"), 0x90},
		{"will with a topic alias", connect(0x06, "", id+"03 230001 0001 77 0000"), 0x82},
		{"will of UTF-8", connect(0x06, "", id+"02 0101 0001 77 0001 79"), 0},
		{"will that is not the UTF-8 it says", connect(0x06, "", id+"02 0101 0001 77 0001 ff"), 0x99},
		{"receive maximum 0", connect(2, "210000", id), 0x82},
		{"maximum packet size 0", connect(2, "2700000000", id), 0x82},
		{"topic alias maximum twice", connect(2, "220001220001", id), 0x82},
		{"request problem information 2", connect(2, "1702", id), 0x82},
		{"request response information 2", connect(2, "1902", id), 0x82},
		{"session expiry twice", connect(2, "11000000011100000001", id), 0x82},
		{"will delay outside of a will", connect(2, "1800000001", id), 0x82},
		{"property of PUBLISH", connect(2, "0101", id), 0x82},
		{"authentication data without method", connect(2, "16000178", id), 0x82},
		{"trailing bytes", connect(2, "", id+"00"), 0x81},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, testOptions())
			out := r.inHex(c.in)
			if !strings.HasPrefix(out, "20") || len(out) < 8 || out[6:8] != fmt.Sprintf("%02x", c.code) {
				t.Fatalf("answered by %s (%v), want CONNACK %#x", out, r.err, c.code)
			}
			if r.link.closed != (c.code != 0) || (r.hub.session != nil) != (c.code == 0) {
				t.Errorf("ended: %v, a session: %v", r.link.closed, r.hub.session != nil)
			}
		})
	}
}

func TestWillDelayAndExpiries(t *testing.T) {
	opt := testOptions()
	opt.SessionExpiryMax = time.Hour
	r := newRig(t, opt)
	r.inHex(connectWith(t, 0x06, "11 0000000a", "0001 63 0a 18 00000005 02 0000003c 0001 77 0001 78"))
	a := r.hub.attached
	if a.WillDelay != 5*time.Second || a.Will.Expires != 60_000 || a.Expiry != 10*time.Second {
		t.Errorf("will delay %v, will expiry %d ms, session expiry %v (%v)", a.WillDelay, a.Will.Expires, a.Expiry, r.err)
	}
	for in, want := range map[string]time.Duration{
		"e007 04 05 11 00000000": 0,
		"e007 00 05 11 ffffffff": time.Hour, // as long as we keep any
		"e007 00 05 11 0000003c": time.Minute,
	} {
		r := newRig(t, opt)
		r.inHex(connect5("11 0000000a"))
		r.hub.session.expiry = -1
		r.inHex(in)
		if got := r.hub.session.expiry; got != want {
			t.Errorf("DISCONNECT %s left an expiry of %v, want %v", in, got, want)
		}
		r.flushed(func(b *core.Batch) { r.e.Closed(b, nil) })
		if got := r.hub.session.detached; !slices.Equal(got, []bool{in[5:7] == "00"}) {
			t.Errorf("DISCONNECT %s detached gracefully: %v", in, got)
		}
	}
}

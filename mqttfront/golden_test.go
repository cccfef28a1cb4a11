package mqttfront

import (
	"strings"
	"testing"
)

// A golden case is a conversation after a CONNECT of that version: bytes in,
// bytes out, and whether the connection lives on.
type golden struct {
	name    string
	version int
	in, out string
	ends    bool
}

var goldens = []golden{
	{"ping", 4, "c000", "d000", false},
	{"ping of 3.1", 3, "c000", "d000", false},
	{"ping of 5", 5, "c000", "d000", false},
	{"ping with flags", 4, "c100", "", true},
	{"ping with flags of 5", 5, "c100", "e0 1c 81 1a 1f0017 6d616c666f726d6564207061636b65743a20666c616773", true},
	{"second CONNECT", 4, connects[4], "", true},
	{"disconnect", 4, "e000", "", true},
	{"disconnect of 5", 5, "e000", "", true},

	{"publish QoS 0", 4, "30 05 0001 61 6869", "", false},
	{"publish QoS 1", 4, "32 07 0001 61 000a 6869", "4002 000a", false},
	{"publish QoS 1 of 3.1", 3, "32 07 0001 61 000a 6869", "4002 000a", false},
	{"publish QoS 1 of 5", 5, "32 08 0001 61 000a 00 6869", "4002 000a", false},
	{"publish QoS 2", 4, "34 07 0001 61 000a 6869  62 02 000a", "5002 000a 7002 000a", false},
	{"publish QoS 2 of 5", 5, "34 08 0001 61 000a 00 6869  62 02 000a", "5002 000a 7002 000a", false},
	{"several in one read", 4, "32 05 0001 61 0001  32 05 0001 61 0002  c000 32 05 0001 61 0003", "d000 40020001 40020002 40020003", false},
	{"publish QoS 3", 4, "36 05 0001 61 0001", "", true},
	{"publish with packet id 0", 4, "32 05 0001 61 0000", "", true},
	{"publish DUP with QoS 0", 4, "38 03 0001 61", "", true},
	{"publish DUP with QoS 0 of 3.1", 3, "38 03 0001 61 c000", "d000", false},
	{"publish to a wildcard", 4, "30 03 0001 23", "", true},
	{"publish to a wildcard of 5", 5, "30 04 0001 23 00", "e0 17 90 15 1f0012 746f706963206e616d6520696e76616c6964", true},
	{"publish to nothing", 4, "30 02 0000", "", true},
	{"publish truncated topic", 4, "30 03 0005 61", "", true},
	{"forbidden QoS 1 is acknowledged by 3.1.1", 4, "32 0a 0006 736563726574 0001", "4002 0001", false},
	{"forbidden QoS 1 is refused by 5", 5, "32 0b 0006 736563726574 0001 00", "4003 0001 87", false},
	{"forbidden QoS 2 is refused by 5", 5, "34 0b 0006 736563726574 0001 00", "5003 0001 87", false},
	{"forbidden QoS 0 is dropped", 5, "30 09 0006 736563726574 00 c000", "d000", false},

	{"PUBREL of nothing", 4, "6202 0099", "7002 0099", false},
	{"PUBREL of nothing in 5", 5, "6202 0099", `7037 0099 92 33 1f0030 "no publication of this packet identifier is open"`, false},
	{"PUBREL without its flag, as wmqtt sends it", 3, "6002 0003", "7002 0003", false},
	{"PUBREL without its flag in 3.1.1", 4, "6002 0003", "", true},
	{"PUBREC of nothing", 4, "5002 0007", "6202 0007", false},
	{"PUBREC of nothing in 5", 5, "5002 0007", `6237 0007 92 33 1f0030 "no publication of this packet identifier is open"`, false},
	{"PUBACK of nothing", 5, "4002 0007 c000", "d000", false},
	{"PUBACK with reason and properties", 5, "4006 0007 10 02 1f00", "e0", true},
	{"PUBACK with reason string", 5, "4008 0007 10 04 1f000161 c000", "d000", false},
	{"PUBACK of id 0", 4, "4002 0000", "", true},
	{"PUBACK too short", 4, "4001 00", "", true},

	{"subscribe", 4, "82 06 0001 0001 61 01", "90 03 0001 01", false},
	{"subscribe of 3.1, DUP and all", 3, "8a 06 0001 0001 61 02", "90 03 0001 02", false},
	{"subscribe of 5", 5, "82 09 0001 02 0b05 0001 61 2e", "90 04 0001 00 02", false},
	{"subscribe to a forbidden filter", 4, "82 0b 0001 0006 736563726574 01", "90 03 0001 80", false},
	{"subscribe to a forbidden filter in 5", 5, "82 0c 0001 00 0006 736563726574 01", `902f 0001 2b 1f0028 "filter 1: not allowed to subscribe to it" 87`, false},
	{"subscribe to a#", 4, "82 07 0001 0002 6123 01", "90 03 0001 80", false},
	{"subscribe to a# in 5, and a", 5, "82 0c 0001 00 0002 6123 01 0001 61 02", `902f 0001 2a 1f0027 "filter 1: not valid, or too many levels" 8f 02`, false},
	{"subscribe to $share/g/a", 5, "82 10 0001 00 000a 2473686172652f672f61 01", "90 04 0001 00 01", false},
	{"subscribe to $share/g/a in 3.1.1", 4, "82 0f 0001 000a 2473686172652f672f61 02", "90 03 0001 02", false},
	{"subscribe to $share/g", 5, "82 0e 0001 00 0008 2473686172652f67 01", `902e 0001 2a 1f0027 "filter 1: not valid, or too many levels" 8f`, false},
	{"subscribe to $share//a", 5, "82 0f 0001 00 0009 2473686172652f2f61 01", `902e 0001 2a 1f0027 "filter 1: not valid, or too many levels" 8f`, false},
	{"subscribe to $share//a in 3.1.1", 4, "82 0e 0001 0009 2473686172652f2f61 01", "90 03 0001 80", false},
	{"subscribe to $share/+/a", 5, "82 10 0001 00 000a 2473686172652f2b2f61 01", `902e 0001 2a 1f0027 "filter 1: not valid, or too many levels" 8f`, false},
	{"subscribe to $share/g/a without its own messages", 5, "82 10 0001 00 000a 2473686172652f672f61 05", "e0", true},
	{"subscribe with QoS 3", 4, "82 06 0001 0001 61 03", "", true},
	{"subscribe with options in 3.1.1", 4, "82 06 0001 0001 61 05", "", true},
	{"subscribe with retain handling 3", 5, "82 07 0001 00 0001 61 30", "e0", true},
	{"subscribe with identifier 0", 5, "82 09 0001 02 0b00 0001 61 00", "e0", true},
	{"subscribe truncated before its options", 5, "82 06 0001 00 0001 61", "e0", true},
	{"subscribe to nothing", 4, "82 02 0001", "", true},
	{"subscribe with wrong flags", 4, "80 06 0001 0001 61 01", "", true},
	{"unsubscribe", 4, "a2 05 0001 0001 61", "b0 02 0001", false},
	{"unsubscribe of 5", 5, "82 07 0001 00 0001 61 00  a2 09 0002 00 0001 61 0001 62", "90 04 0001 00 00  b0 05 0002 00 00 11", false},
	{"unsubscribe from nothing", 4, "a2 02 0001", "", true},

	{"alias", 5, "30 07 0001 61 03 230001 32 08 0000 0001 03 230001", "4002 0001", false},
	{"alias never set", 5, "30 06 0000 03 230001", "e0", true},
	{"alias 0", 5, "30 07 0001 61 03 230000", "e0 18 94 16 1f0013 746f70696320616c69617320696e76616c6964", true},
	{"alias over the maximum", 5, "30 07 0001 61 03 230011", "e0 18 94 16 1f0013 746f70696320616c69617320696e76616c6964", true},
	{"property twice", 5, "30 08 0001 61 04 0100 0101", "e0", true},
	{"property of another packet", 5, "30 0a 0001 61 05 1100000001 61", "e0", true},
	{"property cut off", 5, "30 06 0001 61 02 0200", "e0", true},
	{"packet too large", 4, "30 ff7f", "", true},
	{"packet too large in 5", 5, "30 ff7f", "e0 15 95 13 1f0010 7061636b657420746f6f206c61726765", true},
	{"length of five bytes", 4, "30 ffffffff01", "", true},
	{"length with a needless byte", 4, "30 8500 0001 61 6869", "", true},
	{"packet type 0", 4, "0000", "", true},
	{"packet of a server", 4, "d000", "", true},
	{"AUTH", 5, "f000", "e0", true},
	{"disconnect of 5 that adds an expiry", 5, "e0 07 00 05 1100000001", "e0", true},
	{"disconnect cut off", 5, "e0 03 00 05 11", "e0", true},
}

func TestGoldenPackets(t *testing.T) {
	for _, g := range append(goldens, packetClauses...) {
		t.Run(g.name, func(t *testing.T) {
			check := func(t *testing.T, r *rig, out string) {
				t.Helper()
				want := toHex(fromHex(t, g.out))
				if out != want && !(want == "e0" && strings.HasPrefix(out, "e0")) {
					t.Errorf("got  %s\nwant %s (%v)", out, want, r.err)
				}
				if r.link.closed != g.ends {
					t.Errorf("ended: %v, want %v (%v)", r.link.closed, g.ends, r.err)
				}
			}
			r := newRig(t, testOptions()).connected(g.version)
			check(t, r, r.inHex(g.in))

			// The same a byte at a time: nothing but the grouping of answers may change.
			r = newRig(t, testOptions()).connected(g.version)
			var out []byte
			for _, c := range fromHex(t, g.in) {
				out = append(out, r.in([]byte{c})...)
			}
			if g.name != "several in one read" {
				check(t, r, toHex(out))
			}
		})
	}
}

var greetings = []struct {
	name string
	in   string
	out  string
	ends bool
}{
	{"3.1", connects[3], "2002 0000", false},
	{"3.1.1", connects[4], "2002 0000", false},
	{"5", connects[5], "200e 0000 0b 210004 220010 2700001000", false},
	{"3.1 with the reserved bit, as SAM sends it", "10 0f 0006 4d5149736470 03 03 003c 0001 63", "2002 0000", false},
	{"3.1.1 with the reserved bit", "10 0d 0004 4d515454 04 03 003c 0001 63", "", true},
	{"3.1 with flags for names that are not there", "10 0f 0006 4d5149736470 03 c2 003c 0001 63", "2002 0000", false},
	{"3.1 without client id", "10 0e 0006 4d5149736470 03 02 003c 0000", "2002 0002", true},
	{"3.1.1 without client id", "10 0c 0004 4d515454 04 00 003c 0000", "2002 0002", true},
	{"level 2", "10 0d 0004 4d515454 02 02 003c 0001 63", "2002 0001", true},
	{"level 6", "10 0e 0004 4d515454 06 02 003c 00 0001 63", "20 22 00 84 1f 1f001c 756e737570706f727465642070726f746f636f6c2076657273696f6e", true},
	{"another protocol", "10 0d 0004 48545450 04 02 003c 0001 63", "", true},
	{"HTTP", "474554202f20485454502f312e310d0a", "", true},
	{"PING first", "c000", "", true},
	{"wrong password", "10 17 0004 4d515454 04 c2 003c 0001 63 0005 616c696365 0001 78", "2002 0004", true},
	{"wrong password in 5", "10 18 0004 4d515454 05 c2 003c 00 0001 63 0005 616c696365 0001 78", "20", true},
	{"right password", "10 1c 0004 4d515454 04 c2 003c 0001 63 0005 616c696365 0006 736563726574", "2002 0000", false},
	{"empty password", "10 16 0004 4d515454 04 c2 003c 0001 63 0005 616c696365 0000", "2002 0004", true},
	{"password without user", "10 10 0004 4d515454 04 42 003c 0001 63 0001 78", "", true},
	{"will with an empty payload", "10 12 0004 4d515454 04 06 003c 0001 63 0001 77 0000", "2002 0000", false},
	{"will QoS without will", "10 0d 0004 4d515454 04 0a 003c 0001 63", "", true},
	{"will retain without will", "10 0d 0004 4d515454 04 22 003c 0001 63", "", true},
	{"will QoS 3", "10 12 0004 4d515454 04 1e 003c 0001 63 0001 77 0000", "", true},
	{"will to a wildcard", "10 12 0004 4d515454 04 06 003c 0001 63 0001 23 0000", "", true},
	{"trailing bytes", "10 0e 0004 4d515454 04 02 003c 0001 63 00", "", true},
	{"cut off", "10 0c 0004 4d515454 04 02 003c 0001", "", true},
	{"cut off in 5", "10 0d 0004 4d515454 05 02 003c 00 0001", "20", true},
	{"client id with U+0000", "10 0d 0004 4d515454 04 02 003c 0001 00", "2002 0002", true},
	{"5 with enhanced authentication", "10 12 0004 4d515454 05 02 003c 04 15000161 0001 63", "20 1f 00 8c 1c 1f0019 6261642061757468656e7469636174696f6e206d6574686f64", true},
	{"5 with receive maximum 0", "10 11 0004 4d515454 05 02 003c 03 210000 0001 63", "20", true},
	{"CONNECT that claims 256 MiB", "10 ffffff7f", "", true},
}

func TestGoldenGreetings(t *testing.T) {
	for _, g := range append(greetings, greetingClauses...) {
		t.Run(g.name, func(t *testing.T) {
			r := newRig(t, testOptions())
			out, want := r.inHex(g.in), toHex(fromHex(t, g.out))
			if out != want && !(want == "20" && strings.HasPrefix(out, "20")) {
				t.Errorf("got  %s\nwant %s (%v)", out, want, r.err)
			}
			if r.link.closed != g.ends {
				t.Errorf("ended: %v, want %v (%v)", r.link.closed, g.ends, r.err)
			}
		})
	}
}

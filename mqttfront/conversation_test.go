package mqttfront_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"pushhub/mqttfront"
)

// A conversation is between clients and a whole hub, byte for byte, a step a line:
//
//	s > 82 0001 0001 61 00    s sends a packet: its first byte and its body
//	s < 9003 0001 00          these bytes come to s, and no others before them
//	s .                       nothing else has come to s
//	s ! 82                    a DISCONNECT with that reason code comes to s, and the end
//	s !                       the end comes to s
//	s x                       s goes without a word
//
// A client that does not begin with a CONNECT is let in before its first step,
// under its own name, with a clean session. One whose name has a 5 speaks MQTT 5.
var conversations = []struct{ name, steps string }{
	{"U+FEFF is a character like others [MQTT-1.5.4-3]", `
		s > 82 0001 0004 efbbbf61 00
		s < 9003 0001 00
		p > 30 0001 61 31
		p > 30 0004 efbbbf61 32
		s < 3007 0004 efbbbf61 32`},
	{"DUP is not carried on [MQTT-3.3.1-3]", `
		s > 82 0001 0001 61 01
		s < 9003 0001 01
		p > 3a 0001 61 000a 31
		p < 4002 000a
		s < 3206 0001 61 0001 31`},
	{"after PUBACK the packet id is another publication's [MQTT-4.3.2-5]", `
		s > 82 0001 0001 61 01
		s < 9003 0001 01
		p > 32 0001 61 000a 31
		p < 4002 000a
		p > 3a 0001 61 000a 31
		p < 4002 000a
		s < 3206 0001 61 0001 31 3206 0001 61 0002 31`},
	{"only after PUBCOMP the packet id is another publication's [MQTT-4.3.3-10] [MQTT-4.3.3-12]", `
		s > 82 0001 0001 61 00
		s < 9003 0001 00
		p > 34 0001 61 000a 31
		p < 5002 000a
		p > 3c 0001 61 000a 31
		p < 5002 000a
		p > 62 000a
		p < 7002 000a
		p > 34 0001 61 000a 32
		p < 5002 000a
		s < 3004 0001 61 31 3004 0001 61 32`},
	{"the packet id of a refused publication is free [MQTT-4.3.3-9]", `
		p > 10 0004 4d515454 05 02 003c 02 1700 0001 70
		p < CONNACK5
		p > 34 000b 2470726573656e63652f61 000a 00
		p < 5003 000a 87
		p > 34 0001 61 000a 00 31
		p < 5002 000a
		p > 62 000a
		p < 7002 000a`},
	{"a publication that expires at once is acknowledged to the end [MQTT-4.3.3-13]", `
		p5 > 34 0001 61 000a 05 02 00000000 31
		p5 < 5002 000a
		p5 > 62 000a
		p5 < 7002 000a`},
	{"after PUBREL the publication is not sent again [MQTT-4.3.3-6] [MQTT-4.4.0-1]", `
		s > 10 0004 4d515454 04 00 003c 0001 73
		s < 2002 0000
		s > 82 0001 0001 61 02
		s < 9003 0001 02
		p > 34 0001 61 000a 31
		p < 5002 000a
		s < 3406 0001 61 0001 31
		s > 50 0001
		s < 6202 0001
		s x
		again > 10 0004 4d515454 04 00 003c 0001 73
		again < 2002 0100 6202 0001
		again > 70 0001`},

	{"without RETAIN nothing retained changes [MQTT-3.3.1-8]", `
		p > 31 0001 61 31
		p .
		p > 30 0001 61 32
		p > 30 0001 61
		p .
		s > 82 0001 0001 61 00
		s < 9003 0001 00 3104 0001 61 31`},
	{"a retained publication at QoS 0 takes the place of the last [MQTT-3.3.1-5]", `
		p > 33 0001 61 0001 31
		p < 4002 0001
		p > 31 0001 61 32
		p .
		s > 82 0001 0001 61 01
		s < 9003 0001 01 3104 0001 61 32`},
	{"an empty retained publication is delivered, and nothing is retained [MQTT-3.3.1-6] [MQTT-3.3.1-7]", `
		s > 82 0001 0001 61 00
		s < 9003 0001 00
		p > 31 0001 61 31
		p > 31 0001 61
		s < 3004 0001 61 31 3003 0001 61
		late > 82 0001 0001 61 00
		late < 9003 0001 00`},
	{"RETAIN as published [MQTT-3.3.1-12] [MQTT-3.3.1-13]", `
		as5 > 82 0001 00 0001 61 08
		as5 < 9004 0001 00 00
		not5 > 82 0001 00 0001 61 00
		not5 < 9004 0001 00 00
		p > 31 0001 61 31
		as5 < 3105 0001 61 00 31
		not5 < 3005 0001 61 00 31
		p > 30 0001 61 32
		as5 < 3005 0001 61 00 32
		not5 < 3005 0001 61 00 32`},
	{"retain handling [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]", `
		p > 31 0001 61 31
		p .
		s5 > 82 0001 00 0001 61 20
		s5 < 9004 0001 00 00
		s5 > 82 0001 00 0001 61 10
		s5 < 9004 0001 00 00
		s5 > 82 0001 00 0001 61 00
		s5 < 9004 0001 00 00 3105 0001 61 00 31
		new5 > 82 0001 00 0001 61 10
		new5 < 9004 0001 00 00 3105 0001 61 00 31`},

	{"a subscription to the same filter takes the place of the first [MQTT-3.8.4-3] [MQTT-3.8.4-4]", `
		p > 31 0001 61 31
		p .
		s > 82 0001 0001 61 01
		s < 9003 0001 01 3104 0001 61 31
		s > 82 0002 0001 61 00
		s < 9003 0002 00 3104 0001 61 31
		p > 32 0001 61 000a 32
		p < 4002 000a
		s < 3004 0001 61 32`},
	{"no local [MQTT-3.8.3-3]", `
		s5 > 82 0001 00 0001 61 05
		s5 < 9004 0001 00 01
		s5 > 30 0001 61 00 31
		s5 > 32 0001 61 000a 00 32
		s5 < 4002 000a
		p > 30 0001 61 33
		s5 < 3005 0001 61 00 33`},
	{"several filters are unsubscribed from by one packet [MQTT-3.10.4-2] [MQTT-3.10.4-6]", `
		s > 82 0001 0001 61 01 0001 62 02
		s < 9004 0001 01 02
		s > a2 0002 0001 61 0001 62 0001 63
		s < b002 0002
		p > 30 0001 61 31
		p > 30 0001 62 31
		p .`},
	{"a filter is unsubscribed from by its own characters only [MQTT-3.10.4-1] [MQTT-3.10.4-5]", `
		s > 82 0001 0001 2b 00
		s < 9003 0001 00
		s > a2 0002 0001 61
		s < b002 0002
		p > 30 0001 61 31
		s < 3004 0001 61 31`},
	{"a delivery that has begun is ended after UNSUBSCRIBE [MQTT-3.10.4-3]", `
		s > 82 0001 0001 61 02
		s < 9003 0001 02
		p > 34 0001 61 000a 31
		p < 5002 000a
		s < 3406 0001 61 0001 31
		s > a2 0002 0001 61
		s < b002 0002
		s > 50 0001
		s < 6202 0001
		s > 70 0001`},

	{"who leaves no will has none published [MQTT-3.1.2-12]", `
		w > 82 0001 0001 23 00
		w < 9003 0001 00
		v .
		v x
		again > 10 0004 4d515454 04 02 003c 0001 76
		again < 2002 0000
		p > 30 0001 61 31
		w < 3004 0001 61 31`},
	{"a will is retained if it says so [MQTT-3.1.2-14] [MQTT-3.1.2-15]", `
		w > 82 0001 0001 23 00
		w < 9003 0001 00
		d > 10 0004 4d515454 04 06 003c 0001 64 0001 77 0001 31
		d < 2002 0000
		d x
		w < 3004 0001 77 31
		first > 82 0001 0001 77 00
		first < 9003 0001 00
		first .
		first x
		e > 10 0004 4d515454 04 26 003c 0001 65 0001 77 0001 32
		e < 2002 0000
		e x
		w < 3004 0001 77 32
		late > 82 0001 0001 77 00
		late < 9003 0001 00 3104 0001 77 32`},
	{"a will keeps the order of its user properties [MQTT-3.1.3-10]", `
		w5 > 82 0001 00 0001 77 00
		w5 < 9004 0001 00 00
		d > 10 0004 4d515454 05 06 003c 00 0001 64 0e 26 0001 6b 0001 76 26 0001 6b 0001 75 0001 77 0001 31
		d < CONNACK5
		d x
		w5 < 3013 0001 77 0e 26 0001 6b 0001 76 26 0001 6b 0001 75 31`},

	{"an alias does not outlive its connection [MQTT-3.3.2-7]", `
		a5 > 30 0001 61 03 230001 31
		a5 .
		a5 x
		again > 10 0004 4d515454 05 02 003c 00 0002 6135
		again < CONNACK5
		again > 30 0000 03 230001 31
		again ! 82`},
	{"a message that expired is not delivered, what waits longer is [MQTT-3.3.2-5]", `
		s > 10 0004 4d515454 05 00 003c 05 11 00000e10 0001 73
		s < CONNACK5
		s > 82 0001 00 0001 61 01
		s < 9004 0001 00 01
		s > e0
		s !
		p5 > 32 0001 61 000a 05 02 00000000 31
		p5 < 4002 000a
		p5 > 32 0001 61 000b 00 32
		p5 < 4002 000b
		again > 10 0004 4d515454 05 00 003c 05 11 00000e10 0001 73
		again < PRESENT5 3207 0001 61 0001 00 32`},
	{"what is too large for the client is as good as delivered [MQTT-3.1.2-24] [MQTT-3.1.2-25]", `
		s > 10 0004 4d515454 05 02 003c 08 210001 2700000014 0001 73
		s < CONNACK5
		s > 82 0001 00 0001 61 01
		s < 9004 0001 00 01
		p > 32 0001 61 000a 3131313131313131313131313131313131
		p < 4002 000a
		p > 32 0001 61 000b 32
		p < 4002 000b
		s < 3207 0001 61 0002 00 32`},
	{"a reason string is left out where it would be too large [MQTT-3.14.2-3]", `
		s > 10 0004 4d515454 05 02 003c 05 2700000014 0001 73
		s < CONNACK5
		s > c1
		s < e002 8100
		s !`},
	{"a full window delays publications only [MQTT-3.3.4-9] [MQTT-3.3.4-10] [MQTT-4.9.0-2] [MQTT-4.9.0-3]", `
		s > 10 0004 4d515454 05 02 003c 03 210001 0001 73
		s < CONNACK5
		s > 82 0001 00 0001 61 01
		s < 9004 0001 00 01
		p > 32 0001 61 000a 31
		p < 4002 000a
		p > 32 0001 61 000b 32
		p < 4002 000b
		s < 3207 0001 61 0001 00 31
		s .
		s > 40 0001
		s < 3207 0001 61 0002 00 32`},
}

func TestConversations(t *testing.T) {
	for _, c := range conversations {
		t.Run(c.name, func(t *testing.T) {
			h := startHub(t, mqttfront.Options{})
			peers := map[string]*peer{}
			for line := range strings.Lines(strings.TrimSpace(c.steps)) {
				who, step, _ := strings.Cut(strings.TrimSpace(line), " ")
				p := peers[who]
				if p == nil {
					p = h.enter(who, strings.HasPrefix(step, "> 10"))
					peers[who] = p
				}
				p.step(step)
				if step == "x" || step[0] == '!' {
					delete(peers, who)
				}
			}
			for _, p := range peers {
				p.quiet()
			}
		})
	}
}

// enter connects a client; one that is bare sends its CONNECT itself.
func (h *hub) enter(who string, bare bool) *peer {
	switch {
	case bare:
		return h.connect()
	case strings.Contains(who, "5"):
		return h.dial(5, 2, who, connack5)
	}
	return h.dial(4, 2, who, connack)
}

func (p *peer) step(step string) {
	p.t.Helper()
	verb, rest, _ := strings.Cut(step, " ")
	switch verb {
	case ">":
		head, body, _ := strings.Cut(rest, " ")
		p.send(head, body)
	case "<":
		p.want(strings.NewReplacer("CONNACK5", connack5, "PRESENT5", present5).Replace(rest))
	case ".":
		p.quiet()
	case "x":
		_ = p.Close()
	case "!":
		got, err := io.ReadAll(p)
		code := ""
		if len(got) >= 3 && got[0] == 0xe0 {
			code = fmt.Sprintf("%02x", got[2])
		}
		if err != nil || code != rest || (rest == "") != (len(got) == 0) {
			p.t.Fatalf("received %x (%v), want the end, after DISCONNECT %q", got, err, rest)
		}
	default:
		p.t.Fatalf("no such step: %s", step)
	}
}

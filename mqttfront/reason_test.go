package mqttfront

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
)

// connect5 is a CONNECT of client "c" with these properties, in hex.
func connect5(props string) string {
	n := len(strings.ReplaceAll(props, " ", "")) / 2
	return fmt.Sprintf("10 %02x 0004 4d515454 05 02 003c %02x %s 0001 63", 14+n, n, props)
}

// What the client says of reason strings and packet sizes holds for each packet
// that may carry one.
func TestReasonStrings(t *testing.T) {
	const (
		noProblems = "1700"
		most40     = "27 00000028" // bytes of a packet
		most5      = "27 00000005"
	)
	const (
		publish     = "32 06 0001 61 0001 00"
		denied      = "32 0b 0006 736563726574 0001 00"
		release     = "6202 0099"
		received    = "5002 0007"
		subscribe   = "82 0c 0001 00 0006 736563726574 01"
		unsubscribe = `a208 0001 00 0003 "odd"`
		wrongFlags  = "c100"
		quota       = `"a limit is reached, or the hub is behind: try again later"`
		notOpen     = `"no publication of this packet identifier is open"`
		notSubcribe = `"filter 1: not allowed to subscribe to it"`
		flags       = `"malformed packet: flags"`
	)
	for _, c := range []struct{ name, props, in, out string }{
		{"PUBACK", "", publish, "4040 0001 97 3c 1f0039 " + quota},
		{"PUBACK, none wanted", noProblems, publish, "4003 0001 97"},
		{"PUBACK, none wanted but of a client that says 1", "1701", publish, "4040 0001 97 3c 1f0039 " + quota},
		{"PUBACK, too large", most40, publish, "4003 0001 97"},
		{"PUBACK, just fits", "27 00000042", publish, "4040 0001 97 3c 1f0039 " + quota},
		{"PUBACK, a byte too large", "27 00000041", publish, "4003 0001 97"},
		{"PUBACK of what is not allowed says it by its code", "", denied, "4003 0001 87"},
		{"PUBCOMP", "", release, "7037 0099 92 33 1f0030 " + notOpen},
		{"PUBCOMP, none wanted", noProblems, release, "7003 0099 92"},
		{"PUBCOMP, too large", most40, release, "7003 0099 92"},
		{"PUBREL", "", received, "6237 0007 92 33 1f0030 " + notOpen},
		{"PUBREL, none wanted", noProblems, received, "6203 0007 92"},
		{"PUBREL, too large", most40, received, "6203 0007 92"},
		{"SUBACK", "", subscribe, "902f 0001 2b 1f0028 " + notSubcribe + " 87"},
		{"SUBACK, none wanted", noProblems, subscribe, "9004 0001 00 87"},
		{"SUBACK, too large", most40, subscribe, "9004 0001 00 87"},
		{"UNSUBACK", "", unsubscribe, `b029 0001 25 1f0022 "filter 1: the hub does not do this" 83`},
		{"UNSUBACK, none wanted", noProblems, unsubscribe, "b004 0001 00 83"},
		{"UNSUBACK, too large", most40, unsubscribe, "b004 0001 00 83"},
		{"DISCONNECT", "", wrongFlags, "e01c 81 1a 1f0017 " + flags},
		{"DISCONNECT has one even so", noProblems, wrongFlags, "e01c 81 1a 1f0017 " + flags},
		{"DISCONNECT, too large", "27 0000001d", wrongFlags, "e002 81 00"},
		{"DISCONNECT, just fits", "27 0000001e", wrongFlags, "e01c 81 1a 1f0017 " + flags},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, testOptions())
			if out := r.inHex(connect5(c.props)); !strings.HasPrefix(out, "20") || out[6:8] != "00" {
				t.Fatalf("CONNACK %s", out)
			}
			r.hub.session.publish = core.ErrQuota
			r.expect(c.name, r.in(fromHex(t, c.in)), toHex(fromHex(t, c.out)))
		})
	}
	t.Run("CONNACK", func(t *testing.T) {
		for props, want := range map[string]string{
			noProblems: `2014 00 87 11 1f000e "not authorized"`,
			most5:      "2003 00 87 00",
		} {
			opt := testOptions()
			opt.Anonymous = false
			r := newRig(t, opt)
			r.expect("CONNACK after "+props, r.in(fromHex(t, connect5(props))), toHex(fromHex(t, want)))
		}
	})
	t.Run("a client that takes no packet of the size of an answer", func(t *testing.T) {
		r := newRig(t, testOptions())
		r.inHex(connect5("27 00000013"))
		var in strings.Builder
		for range 20 {
			in.WriteString("0001 61 00")
		}
		r.expect("SUBSCRIBE", r.in(fromHex(t, "82 53 0001 00"+in.String())), "e002 95 00")
	})
}

func TestReasonTextsAreShort(t *testing.T) {
	for code, text := range ackTexts {
		if code < 0x80 || text == "" || len(text) > 100 {
			t.Errorf("code %#x has a text of %d bytes: %q", code, len(text), text)
		}
	}
}

// What reasons say, the tables of the specification allow.
func TestReasonCodesOfEachPacket(t *testing.T) {
	allowed := map[byte]string{ // MQTT 5 §2.4
		packets.Connack:    "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f",
		packets.Puback:     "00 10 80 83 87 90 91 97 99",
		packets.Suback:     "00 01 02 80 83 87 8f 91 97 9e a1 a2",
		packets.Unsuback:   "00 11 80 83 87 8f 91",
		packets.Disconnect: "00 04 80 81 82 83 87 89 8b 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2",
	}
	errs := []error{
		core.ErrForbidden, core.ErrNotAuthorized, core.ErrBadTopic, core.ErrQuota, core.ErrBusy, core.ErrFull,
		core.ErrUnavailable, core.ErrStopped, core.ErrTakenOver, core.ErrEnded, core.ErrPacketInUse, core.ErrNotFound,
		core.ErrUnsupported, core.ErrExists, core.ErrGone, fmt.Errorf("else"),
		packets.ErrPayloadFormatInvalid, packets.ErrClientIdentifierNotValid, packets.ErrBadAuthenticationMethod,
	}
	for _, err := range errs {
		for kind, code := range map[byte]byte{
			packets.Connack:    connackCode(err).Code,
			packets.Puback:     ackCode(err),
			packets.Suback:     filterCode(err),
			packets.Unsuback:   unsubackCode(err),
			packets.Disconnect: disconnectCode(err).Code,
		} {
			if kind == packets.Suback && code == packets.CodeNoSubscriptionExisted.Code {
				continue // the core does not answer so to SUBSCRIBE
			}
			if !strings.Contains(allowed[kind], fmt.Sprintf("%02x", code)) {
				t.Errorf("%v: packet %d with code %#x", err, kind, code)
			}
		}
	}
}

package mqttfront

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pushhub/core"
)

// A line of a replay is what the client writes at once, and the answer to it.
type line struct{ in, out string }

// replay plays a session in both of the ways in which it may arrive: as it was
// written, and a byte at a time.
func replay(t *testing.T, opt Options, lines []line) *rig {
	t.Helper()
	var r *rig
	for _, whole := range []bool{false, true} {
		r = newRig(t, opt)
		for i, l := range lines {
			in, want := fromHex(t, l.in), fromHex(t, l.out)
			var out []byte
			if whole {
				out = r.in(in)
			} else {
				for _, c := range in {
					out = append(out, r.in([]byte{c})...)
				}
			}
			if !bytes.Equal(out, want) {
				t.Fatalf("line %d, %s: got %x, want %x (%v)", i+1, l.in, out, want, r.err)
			}
		}
	}
	return r
}

// IBM's wmqtt.jar as the first Android push demos ran it: MQIsdp, level 3, the client
// id is the topic, clean session, keepalive 900; a PUBLISH comes in two writes, and
// PUBREL without its flag.
func TestReplayOfWmqtt(t *testing.T) {
	const id = `0017 "tokudu/0123456789abcdef"`
	r := replay(t, testOptions(), []line{
		{`1025 0006 "MQIsdp" 03 02 0384 ` + id, "2002 0000"},
		{`821c 0001 ` + id + ` 00`, "9003 0001 00"},
		{`3029 0010 "tokudu/keepalive"`, ""}, // the header and the topic …
		{`"tokudu/0123456789abcdef"`, ""},    // … and then the payload
		{"c000", "d000"},
		{`340c 0006 "status" 0003`, ""},
		{`"up"`, "5002 0003"},
		{"6002 0003", "7002 0003"},
		{"c000", "d000"},
		{"e000", ""},
	})
	want := []string{
		"subscribe tokudu/0123456789abcdef q0 nlfalse rapfalse rh0 id0",
		`publish tokudu/keepalive q0 rfalse #0 "tokudu/0123456789abcdef"`,
		`publish status q2 rfalse #3 "up"`,
		"release #3",
	}
	if got := r.hub.session.log; !slices.Equal(got, want) {
		t.Errorf("the core was told\n%q, want\n%q", got, want)
	}
	if a := r.hub.attached; !a.Clean || a.Address.Resource != "tokudu/0123456789abcdef" {
		t.Errorf("attached as %+v", a)
	}
	if !r.link.closed || !r.e.graceful {
		t.Errorf("DISCONNECT left the connection open: %v; a will would be published: %v", !r.link.closed, !r.e.graceful)
	}
}

func TestKeepaliveOfWmqtt(t *testing.T) {
	for _, c := range []struct {
		silent time.Duration
		ends   bool
	}{{1349 * time.Second, false}, {1351 * time.Second, true}} {
		r := newRig(t, testOptions())
		r.inHex(`1025 0006 "MQIsdp" 03 02 0384 0017 "tokudu/0123456789abcdef"`)
		_ = r.e.Tick(r.link.last.Add(c.silent))
		if r.link.closed != c.ends || len(r.link.out) > 0 {
			t.Errorf("silent for %v of 900 s: ended %v, with %x", c.silent, r.link.closed, r.link.out)
		}
	}
}

// SAM for PHP: a fresh id of 23 characters for each message, no keepalive, connect
// flags 0x00, or 0x03 for a clean start; it sends DISCONNECT and waits for us to
// close.
func TestReplayOfSAM(t *testing.T) {
	for _, flags := range []string{"00", "03"} {
		t.Run("flags "+flags, func(t *testing.T) {
			opt := testOptions()
			opt.SessionExpiryMax = time.Hour
			r := replay(t, opt, []line{
				{`1025 0006 "MQIsdp" 03 ` + flags + ` 0000 0017 "sam_4b1f0e9a7c3d2.00000"`, "2002 0000"},
				{`3019 000e "tokudu/android" "an update"`, ""},
				{"e000", ""},
			})
			if got := r.hub.session.log; !slices.Equal(got, []string{`publish tokudu/android q0 rfalse #0 "an update"`}) {
				t.Errorf("the core was told %q", got)
			}
			if !r.link.closed || !errors.Is(r.link.cause, errDisconnected) {
				t.Errorf("closed %v by %v: it would wait for ever", r.link.closed, r.link.cause)
			}
			// What is not clean would stay for ever, one session a message.
			if a, clean := r.hub.attached, flags == "03"; a.Clean != clean || a.Expiry != map[bool]time.Duration{true: 0, false: time.Hour}[clean] {
				t.Errorf("clean %v, expiry %v", a.Clean, a.Expiry)
			}
			if r.e.patience != 0 {
				t.Errorf("silence ends the connection after %v", r.e.patience)
			}
		})
	}
}

// MQTT 3.1 §3.2: the return codes, each for its cause.
func TestReturnCodesOfThree(t *testing.T) {
	const (
		good    = `100f 0006 "MQIsdp" 03 02 003c 0001 "c"`
		nameFor = `101f 0006 "MQIsdp" 03 c2 003c 0001 "c" 0005 "alice" 0007 "`
	)
	for _, c := range []struct {
		code      byte
		cause     string
		in        string
		strangers bool  // may not come in
		refuse    error // of the core
	}{
		{0, "let in", good, false, nil},
		{1, "another level", `100f 0006 "MQIsdp" 02 02 003c 0001 "c"`, false, nil},
		{1, "level 4 under the old name", `100f 0006 "MQIsdp" 04 02 003c 0001 "c"`, false, nil},
		{2, "no client id", `100e 0006 "MQIsdp" 03 02 003c 0000`, false, nil},
		{2, "client id that is no UTF-8", `100f 0006 "MQIsdp" 03 02 003c 0001 ff`, false, nil},
		{3, "the journal cannot be written", good, false, core.ErrUnavailable},
		{3, "the hub is stopping", good, false, core.ErrStopped},
		{3, "a limit is reached", good, false, core.ErrQuota},
		{4, "wrong password", nameFor + `letmein"`, false, nil},
		{5, "strangers are not let in", good, true, nil},
		{5, "the account was removed", good, false, core.ErrEnded},
	} {
		t.Run(fmt.Sprint(c.code, " ", c.cause), func(t *testing.T) {
			opt := testOptions()
			opt.Anonymous = !c.strangers
			r := newRig(t, opt)
			r.hub.refuse = c.refuse
			r.expect("CONNECT", r.in(fromHex(t, c.in)), fmt.Sprintf("200200%02x", c.code))
			if r.link.closed != (c.code != 0) {
				t.Errorf("ended: %v", r.link.closed)
			}
		})
	}
}

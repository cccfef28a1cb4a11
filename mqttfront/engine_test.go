package mqttfront

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pushhub/core"
	"pushhub/core/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func (r *rig) expect(what string, got []byte, want string) {
	r.t.Helper()
	if want = strings.ReplaceAll(want, " ", ""); toHex(got) != want {
		r.t.Fatalf("%s: got %x, want %s (%v)", what, got, want, r.err)
	}
}

// flushed runs one call of the core and returns what it made the engine write.
func (r *rig) flushed(call func(b *core.Batch)) []byte {
	var b core.Batch
	call(&b)
	b.Flush()
	out := r.link.out
	r.link.out = nil
	return out
}

func TestAnswersLeaveInTheOrderOfThePublications(t *testing.T) {
	r := newRig(t, testOptions()).connected(4)
	s := r.hub.session
	s.pending = true
	r.expect("while nothing is stored", r.in(fromHex(t, "32050001610001 34050001610002 32050001610003")), "")
	r.expect("the third is stored", r.flushed(func(b *core.Batch) { r.e.Stored(b, s.tokens[2], nil) }), "")
	r.expect("the second is stored", r.flushed(func(b *core.Batch) { r.e.Stored(b, s.tokens[1], nil) }), "")
	r.expect("the first is stored", r.flushed(func(b *core.Batch) { r.e.Stored(b, s.tokens[0], nil) }),
		"40020001 50020002 40020003")
}

func TestOverTheReceiveMaximum(t *testing.T) {
	const five = "32050001610001 32050001610002 32050001610003 32050001610004 32050001610005"
	t.Run("MQTT 3 is not read from until an answer has left", func(t *testing.T) {
		r := newRig(t, testOptions()).connected(4)
		s := r.hub.session
		s.pending = true
		r.expect("five", r.in(fromHex(t, five)), "")
		if !errors.Is(r.err, wire.ErrPause) || len(s.tokens) != 4 {
			t.Fatalf("after %d publications: %v, want a pause after 4", len(s.tokens), r.err)
		}
		r.expect("one is stored", r.flushed(func(b *core.Batch) { r.e.Stored(b, s.tokens[0], nil) }), "40020001")
		if r.link.resumed.Load() == 0 {
			t.Fatal("input was not resumed")
		}
		r.in(nil)
		if len(s.tokens) != 5 || len(r.rest) != 0 {
			t.Fatalf("%d publications, %d bytes left", len(s.tokens), len(r.rest))
		}
	})
	t.Run("an answer makes room even while it cannot be written", func(t *testing.T) {
		r := newRig(t, testOptions()).connected(4)
		s := r.hub.session
		s.pending = true
		r.in(fromHex(t, five))
		r.link.clogged = true
		r.flushed(func(b *core.Batch) { r.e.Stored(b, s.tokens[0], nil) })
		if r.link.resumed.Load() == 0 {
			t.Fatal("input was not resumed")
		}
	})
	t.Run("MQTT 5 is disconnected", func(t *testing.T) {
		r := newRig(t, testOptions()).connected(5)
		r.hub.session.pending = true
		var in strings.Builder
		for i := range 5 {
			fmt.Fprintf(&in, "3206000161%04x00", i+1)
		}
		out := r.inHex(in.String())
		if !strings.HasPrefix(out, "e0") || out[4:6] != "93" || !r.link.closed {
			t.Fatalf("got %s, want DISCONNECT 0x93", out)
		}
	})
	t.Run("in MQTT 5 a QoS 2 publication counts until PUBCOMP", func(t *testing.T) {
		r := newRig(t, testOptions()).connected(5)
		for i := range 4 {
			r.inHex(fmt.Sprintf("3406000161%04x00", i+1))
		}
		r.expect("released", r.in(fromHex(t, "62020001")), "70020001")
		r.expect("another", r.in(fromHex(t, "3406000161000900")), "50020009")
		if out := r.inHex("3406000161000a00"); !strings.HasPrefix(out, "e0") {
			t.Fatalf("got %s, want DISCONNECT", out)
		}
	})
}

func TestBusyJournalIsTriedAgain(t *testing.T) {
	r := newRig(t, testOptions()).connected(4)
	s := r.hub.session
	s.publish = core.ErrBusy
	r.expect("refused", r.in(fromHex(t, "32050001610001 c000")), "")
	if !errors.Is(r.err, wire.ErrPause) {
		t.Fatalf("Input returned %v, want a pause", r.err)
	}
	s.publish = nil
	if err := r.e.Tick(time.Now()); err != nil || r.link.resumed.Load() != 1 {
		t.Fatalf("Tick: %v; resumed %d times", err, r.link.resumed.Load())
	}
	r.expect("tried again", r.in(nil), "d000 40020001")
}

func TestErrorsOfStored(t *testing.T) {
	for _, c := range []struct {
		version int
		err     error
		out     string
		ends    bool
	}{
		{4, core.ErrForbidden, "40020001", false},
		{4, core.ErrUnwanted, "40020001", false},
		{5, core.ErrUnwanted, "4003000187", false},
		{5, core.ErrBlocked, "4003000187", false},
		{4, core.ErrUnavailable, "", true}, // not acknowledged: the client keeps it
		{5, core.ErrUnavailable, `4033 0001 83 2f 1f002c "the hub cannot store it, or does not do this"`, false}, // PUBACK has no 0x88,
		{5, core.ErrBusy, `4040 0001 97 3c 1f0039 "a limit is reached, or the hub is behind: try again later"`, false},
		{5, core.ErrQuota, `4040 0001 97 3c 1f0039 "a limit is reached, or the hub is behind: try again later"`, false},
		{5, errors.New("what"), "4003000180", false},
	} {
		t.Run(fmt.Sprint(c.version, c.err), func(t *testing.T) {
			r := newRig(t, testOptions()).connected(c.version)
			s := r.hub.session
			s.pending = true
			frame := "3205000161 0001"
			if c.version == 5 {
				frame = "3206000161 000100"
			}
			r.in(fromHex(t, frame))
			out := r.flushed(func(b *core.Batch) { r.e.Stored(b, s.tokens[0], c.err) })
			if toHex(out) != toHex(fromHex(t, c.out)) || r.link.closed != c.ends {
				t.Fatalf("got %x, ended %v", out, r.link.closed)
			}
		})
	}
}

func TestTheCoreAnswersLate(t *testing.T) {
	r := newRig(t, testOptions())
	r.hub.hold = true
	login := "101c00044d51545404c2003c0001630005616c6963650006736563726574"
	r.expect("CONNECT with all that follows", r.in(fromHex(t, login+"c000 8206000100016101 c000")), "")
	for i, want := range []string{"", "20020000 d000", "9003000101 d000"} {
		if len(r.hub.held) != 1 {
			t.Fatalf("step %d: the core has %d things to answer", i, len(r.hub.held))
		}
		r.hub.release()
		r.expect(fmt.Sprint("step ", i), r.in(nil), want)
	}
	if got := r.hub.attached.Address.String(); got != "alice/c" {
		t.Errorf("attached as %s", got)
	}
}

func TestTakeoverAndShutdown(t *testing.T) {
	for _, c := range []struct {
		version int
		reason  error
		out     string
	}{
		{4, core.ErrTakenOver, ""},
		{5, core.ErrTakenOver, "8e"},
		{5, core.ErrStopped, "8b"},
		{5, core.ErrEnded, "98"},
	} {
		r := newRig(t, testOptions()).connected(c.version)
		out := toHex(r.flushed(func(b *core.Batch) { r.e.Close(b, c.reason) }))
		if (c.out == "" && out != "") || (c.out != "" && (!strings.HasPrefix(out, "e0") || out[4:6] != c.out)) {
			t.Errorf("%d, %v: got %s", c.version, c.reason, out)
		}
		if !r.link.closed || !errors.Is(r.link.cause, c.reason) {
			t.Errorf("%d, %v: closed %v because of %v", c.version, c.reason, r.link.closed, r.link.cause)
		}
	}
}

func TestWills(t *testing.T) {
	for _, c := range []struct {
		name     string
		last     string
		version  int
		graceful bool
	}{
		{"lost", "", 4, false},
		{"DISCONNECT", "e000", 4, true},
		{"DISCONNECT of 5", "e000", 5, true},
		{"DISCONNECT of 5, normal", "e00100", 5, true},
		{"DISCONNECT with will", "e00104", 5, false},
		{"malformed", "0000", 4, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, testOptions()).connected(c.version)
			r.inHex(c.last)
			r.flushed(func(b *core.Batch) { r.e.Closed(b, wire.ErrClosed) })
			if got := r.hub.session.detached; !slices.Equal(got, []bool{c.graceful}) {
				t.Fatalf("detached %v, want once, graceful %v", got, c.graceful)
			}
		})
	}
}

func TestAttachThatComesAfterTheConnectionHasGone(t *testing.T) {
	r := newRig(t, testOptions())
	r.hub.hold = true
	r.inHex(connects[4])
	r.flushed(func(b *core.Batch) { r.e.Closed(b, wire.ErrClosed) })
	r.hub.release()
	r.e.front.work.Wait()
	if got := r.hub.session.detached; !slices.Equal(got, []bool{false}) {
		t.Fatalf("detached %v, want once", got)
	}
}

func TestKeepalive(t *testing.T) {
	opt := testOptions()
	opt.MaxKeepalive = 30 * time.Second
	for _, c := range []struct {
		version int
		silent  time.Duration
		ends    bool
	}{
		{4, 89 * time.Second, false},
		{4, 91 * time.Second, true},
		{5, 44 * time.Second, false},
		{5, 46 * time.Second, true}, // lowered from 60 s
	} {
		r := newRig(t, opt).connected(c.version)
		r.link.last = time.Now()
		if err := r.e.Tick(r.link.last.Add(c.silent)); err != nil || r.link.closed != c.ends {
			t.Errorf("version %d, silent for %v: ended %v, %v", c.version, c.silent, r.link.closed, err)
		}
	}
	r := newRig(t, testOptions())
	_ = r.e.Tick(time.Now().Add(11 * time.Second))
	if !r.link.closed {
		t.Error("a connection without CONNECT lives on")
	}
}

func TestGreetingOfFiveIsToldWhatDiffers(t *testing.T) {
	opt := testOptions()
	opt.MaxKeepalive, opt.SessionExpiryMax = 30*time.Second, time.Hour
	r := newRig(t, opt)
	out := r.inHex("10 12 0004 4d515454 05 02 003c 05 11 ffffffff 0000")
	for _, want := range []string{"1100000e10", "13001e", "12001a" + toHex([]byte(r.e.clientID))} {
		if !strings.Contains(out, want) {
			t.Errorf("CONNACK %s lacks %s", out, want)
		}
	}
	if got := r.hub.attached; got.Expiry != time.Hour || !got.Clean || got.Window != 256 {
		t.Errorf("attached with %+v", got)
	}
	r.inHex("e0 07 00 05 11 00000005")
	if got := r.hub.session.expiry; got != 5*time.Second {
		t.Errorf("DISCONNECT left an expiry of %v", got)
	}
}

func TestPersistentSessionsOfThreeExpire(t *testing.T) {
	for flags, want := range map[string]time.Duration{"00": time.Hour, "02": 0} {
		opt := testOptions()
		opt.SessionExpiryMax = time.Hour
		r := newRig(t, opt)
		r.hub.present = true
		r.expect("CONNECT", r.in(fromHex(t, "10 0d 0004 4d515454 04 "+flags+" 003c 0001 63")), "20020100")
		if got := r.hub.attached; got.Expiry != want || got.Clean != (flags == "02") {
			t.Errorf("flags %s: expiry %v, clean %v", flags, got.Expiry, got.Clean)
		}
	}
}

func TestClientThatDoesNotReadIsNotReadFrom(t *testing.T) {
	r := newRig(t, testOptions()).connected(4)
	r.link.clogged = true
	pings := fromHex(t, strings.Repeat("c000", 5000))
	r.in(pings)
	r.in(nil)
	if !errors.Is(r.err, wire.ErrPause) {
		t.Fatalf("with %d bytes queued Input returned %v", len(r.link.queue), r.err)
	}
	r.link.clogged = false
	r.link.take(len(r.link.queue))
	if r.link.resumed.Load() == 0 {
		t.Fatal("input was not resumed")
	}
}

func TestPropertiesIn(t *testing.T) {
	r := newRig(t, testOptions()).connected(5)
	r.in(fromHex(t, "30 27 0001 61 22 0101 0200000e10 03000174 08000172 0900020102 2600016b000176 2600016b000177 79"))
	want := []string{`publish a q0 rfalse #0 "y"`, "  t|r|||0102|[{k v} {k w}]|true"}
	if got := r.hub.session.log; !slices.Equal(got, want) {
		t.Fatalf("got %q (%v), want %q", got, r.err, want)
	}
	if left := r.e.msg.Expires - time.Now().UnixMilli(); left < 3590_000 || left > 3600_000 {
		t.Errorf("expires in %d ms", left)
	}
}

func TestEachPublicationGoesToItsOwnTopic(t *testing.T) {
	r := newRig(t, testOptions()).connected(5)
	r.in(fromHex(t, "300500026162 00  300500026162 00  300500026163 00  300800026164 03230001  300500026162 00  300600000323 0001"))
	var topics []string
	for _, line := range r.hub.session.log {
		topics = append(topics, strings.Fields(line)[1])
	}
	if want := []string{"ab", "ab", "ac", "ad", "ab", "ad"}; !slices.Equal(topics, want) {
		t.Fatalf("published to %v, want %v (%v)", topics, want, r.err)
	}
}

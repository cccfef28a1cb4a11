package mqttfront

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pushhub/core"
)

func TestDraining(t *testing.T) {
	const (
		b     = `"b"`
		text  = `1f0012 "use another server"`
		moved = `1f000c "server moved"`
	)
	for _, c := range []struct {
		name    string
		version int
		props   string
		opt     Options
		live    string // to a connection that is there
		connack string // to one that comes
	}{
		{"MQTT 5", 5, "", Options{}, "e01b 9c 19 1c0001" + b + text, "201c 00 9c 19 1c0001" + b + text},
		{"MQTT 5, for good", 5, "", Options{Moved: true}, "e015 9d 13 1c0001" + b + moved, "2016 00 9d 13 1c0001" + b + moved},
		{"MQTT 5, only the reference fits", 5, "27 00000013", Options{}, "e006 9c 04 1c0001" + b, "2007 00 9c 04 1c0001" + b},
		{"MQTT 3.1.1", 4, "", Options{}, "", "2002 0003"},
		{"MQTT 3.1", 3, "", Options{}, "", "2002 0003"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := testOptions()
			opt.Moved = c.opt.Moved
			there := newRig(t, opt)
			connect := connects[c.version]
			if c.props != "" {
				connect = connect5(c.props)
			}
			there.inHex(connect)
			if there.hub.session == nil {
				t.Fatalf("no session: %v", there.err)
			}
			done := make(chan error, 1)
			f := there.e.front
			go func() { done <- f.Drain(t.Context(), "b") }()
			for f.draining.Load() == nil {
				select {
				case err := <-done:
					t.Fatalf("Drain returned %v while a client was there", err)
				default:
				}
			}
			_ = there.e.Tick(time.Now())
			there.expect("the live connection", there.link.out, toHex(fromHex(t, c.live)))
			if !there.link.closed || there.link.cause == nil {
				t.Error("the live connection goes on")
			}
			there.flushed(func(b *core.Batch) { there.e.Closed(b, there.link.cause) })
			if err := <-done; err != nil {
				t.Errorf("Drain: %v", err)
			}
			if got := there.hub.session.detached; !slices.Equal(got, []bool{false}) {
				t.Errorf("detached %v", got)
			}
			late := newRig(t, opt)
			late.e.front = f
			late.expect("a new connection", late.in(fromHex(t, connect)), toHex(fromHex(t, c.connack)))
			if !late.link.closed || late.hub.session != nil {
				t.Error("the new connection got a session")
			}
		})
	}
}

func TestDrainEndsWithItsContext(t *testing.T) {
	r := newRig(t, testOptions()).connected(4)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.e.front.Drain(ctx, "b"); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 clients") {
		t.Errorf("Drain: %v", err)
	}
}

func TestShutdownTellsWhereToGo(t *testing.T) {
	for _, c := range []struct {
		opt     Options
		drained bool
		want    error
		code    byte
	}{
		{Options{}, false, core.ErrStopped, 0x8B},
		{Options{Redirect: "b"}, false, nil, 0x9C},
		{Options{Redirect: "b", Moved: true}, false, nil, 0x9D},
		{Options{}, true, nil, 0x9C},
		{Options{Redirect: "a"}, true, nil, 0x9C},
	} {
		f := &Front{opt: c.opt.withDefaults()}
		if c.drained {
			f.draining.Store(f.opt.redirect("b"))
		}
		err := f.stopping()
		if c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.opt, err)
		}
		if got := disconnectCode(err).Code; got != c.code {
			t.Errorf("redirect %q: code %#x, want %#x", c.opt.Redirect, got, c.code)
		}
		var to *redirect
		if errors.As(err, &to) != (c.want == nil) || to != nil && to.server != "b" {
			t.Errorf("redirect %q: %v", c.opt.Redirect, err)
		}
	}
}

func TestResponseInformation(t *testing.T) {
	const alice = "0005 616c696365 0006 736563726574"
	for _, c := range []struct{ name, connect, want string }{
		{"asked for", "10 1f 0004 4d515454 05 c2 003c 02 1901 0001 63" + alice, `1a000d "$inbox/alice/"`},
		{"not wanted", "10 1f 0004 4d515454 05 c2 003c 02 1900 0001 63" + alice, ""},
		{"not asked for", "10 1d 0004 4d515454 05 c2 003c 00 0001 63" + alice, ""},
		{"asked for by nobody", connect5("1901"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := newRig(t, testOptions()).inHex(c.connect)
			if !strings.HasPrefix(out, "20") || out[6:8] != "00" {
				t.Fatalf("CONNACK %s", out)
			}
			if c.want != "" != strings.Contains(out, toHex([]byte("$inbox"))) || !strings.Contains(out, toHex(fromHex(t, c.want))) {
				t.Errorf("CONNACK %s, want %s in it", out, c.want)
			}
		})
	}
}

func TestClientThatTakesNoCONNACK(t *testing.T) {
	r := newRig(t, testOptions())
	r.expect("CONNECT", r.in(fromHex(t, connect5("27 0000000f"))), "2003 00 95 00")
	if !r.link.closed || r.hub.session != nil {
		t.Error("it got a session")
	}
	r = newRig(t, testOptions())
	r.expect("a packet of four bytes at most", r.in(fromHex(t, connect5("27 00000004"))), "")
	if !r.link.closed {
		t.Error("the connection goes on")
	}
}

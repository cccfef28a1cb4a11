package presence

import (
	"testing"

	"pgregory.net/rapid"
)

// The states of RFC 6121 appendix A.1.
var (
	none          = State{}
	nonePendOut   = State{Ask: true}
	nonePendIn    = State{PendingIn: true}
	nonePendInOut = State{Ask: true, PendingIn: true}
	to            = State{To: true}
	toPendIn      = State{To: true, PendingIn: true}
	from          = State{From: true}
	fromPendOut   = State{From: true, Ask: true}
	both          = State{To: true, From: true}
)

func TestOutbound(t *testing.T) { // RFC 6121 appendix A.2
	for _, c := range []struct {
		kind    Kind
		was     State
		want    State
		deliver bool
	}{
		{Subscribe, none, nonePendOut, true},
		{Subscribe, nonePendOut, nonePendOut, true},
		{Subscribe, nonePendIn, nonePendInOut, true},
		{Subscribe, to, to, true},
		{Subscribe, from, fromPendOut, true},
		{Unsubscribe, nonePendOut, none, true},
		{Unsubscribe, nonePendInOut, nonePendIn, true},
		{Unsubscribe, to, none, true},
		{Unsubscribe, toPendIn, nonePendIn, true},
		{Unsubscribe, both, from, true},
		{Subscribed, nonePendIn, from, true},
		{Subscribed, nonePendInOut, fromPendOut, true},
		{Subscribed, toPendIn, both, true},
		{Subscribed, from, from, false},
		{Subscribed, none, State{Approved: true}, false},
		{Unsubscribed, nonePendIn, none, true},
		{Unsubscribed, none, none, false},
		{Unsubscribed, from, none, true},
		{Unsubscribed, both, to, true},
		{Unsubscribed, State{Approved: true}, none, false},
	} {
		got := Outbound(c.kind, c.was)
		if got.State != c.want || got.Deliver != c.deliver {
			t.Errorf("Outbound(%d, %+v) = %+v, want %+v, deliver %t", c.kind, c.was, got, c.want, c.deliver)
		}
	}
}

func TestInbound(t *testing.T) { // RFC 6121 appendix A.3
	for _, c := range []struct {
		kind    Kind
		was     State
		want    State
		deliver bool
		replies bool
	}{
		{Subscribe, none, nonePendIn, true, false},
		{Subscribe, nonePendIn, nonePendIn, false, false},
		{Subscribe, to, toPendIn, true, false},
		{Subscribe, from, from, false, true},
		{Subscribe, State{Approved: true}, from, false, true},
		{Unsubscribe, nonePendIn, none, false, false},
		{Unsubscribe, from, none, true, false},
		{Unsubscribe, both, to, true, false},
		{Unsubscribe, none, none, false, false},
		{Subscribed, nonePendOut, to, true, false},
		{Subscribed, fromPendOut, both, true, false},
		{Subscribed, none, none, false, false},
		{Unsubscribed, nonePendOut, none, true, false},
		{Unsubscribed, both, from, true, false},
		{Unsubscribed, none, none, false, false},
	} {
		got := Inbound(c.kind, c.was)
		if got.State != c.want || got.Deliver != c.deliver || got.Replies != c.replies {
			t.Errorf("Inbound(%d, %+v) = %+v, want %+v, deliver %t, replies %t", c.kind, c.was, got, c.want, c.deliver, c.replies)
		}
	}
}

// Two accounts that only ever talk through these steps agree on who sees whom.
func TestBothSidesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sides := [2]State{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			i := rapid.IntRange(0, 1).Draw(t, "who")
			kind := Kind(rapid.IntRange(int(Subscribe), int(Unsubscribed)).Draw(t, "kind"))
			out := Outbound(kind, sides[i])
			sides[i] = out.State
			if !out.Deliver {
				continue
			}
			in := Inbound(kind, sides[1-i])
			sides[1-i] = in.State
			if in.Replies {
				sides[i] = Inbound(in.Reply, sides[i]).State
			}
			for j := range sides {
				if sides[j].To && !sides[1-j].From {
					t.Fatalf("side %d sees what the other does not show: %+v", j, sides)
				}
			}
		}
	})
}

func TestDevices(t *testing.T) {
	var d Devices[int]
	d.Set("a", "x", 1)
	d.Set("a", "y", 2)
	if v, ok := d.Get("a", "y"); !ok || v != 2 || d.Count("a") != 2 {
		t.Error("a device that was set is not there")
	}
	sum := 0
	for _, v := range d.accounts["a"] {
		sum += v
	}
	if _, ok := d.Remove("a", "x"); !ok || sum != 3 || d.Count("a") != 1 {
		t.Error("removing a device")
	}
	if _, ok := d.Remove("a", "x"); ok {
		t.Error("a device was removed twice")
	}
}

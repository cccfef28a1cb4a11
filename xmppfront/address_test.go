package xmppfront

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

func TestAddresses(t *testing.T) {
	f, err := New(nil, Options{Domain: "Hub.example"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.server.Shutdown(t.Context(), nil) })
	tests := []struct {
		in   string
		want place
		addr core.Address
	}{
		{"", placeNone, core.Address{}},
		{"hub.example", placeServer, core.Address{}},
		{"hub.example/x", placeServer, core.Address{}},
		{"127.0.0.1", placeServer, core.Address{}},
		{"PubSub.hub.example", placePubSub, core.Address{}},
		{"Romeo@HUB.example", placeAccount, core.Address{Account: "romeo"}},
		{"romeo@127.0.0.1/a/b@c", placeAccount, core.Address{Account: "romeo", Resource: "a/b@c"}},
		{"romeo@hub.example/a%01b", placeAccount, core.Address{Account: "romeo", Resource: "a\x01b"}},
		{"romeo@elsewhere.example", placeRemote, core.Address{}},
		{"elsewhere.example", placeRemote, core.Address{}},
		{"@hub.example", placeBad, core.Address{}},
		{"romeo@", placeBad, core.Address{}},
		{"romeo@hub.example/", placeBad, core.Address{}},
		{"ro meo@hub.example", placeBad, core.Address{}},
		{"#@hub.example", placeBad, core.Address{}},
		{"a/b@hub.example", placeRemote, core.Address{}},
		{strings.Repeat("x", 4000), placeBad, core.Address{}},
	}
	for _, tt := range tests {
		if got := f.parse([]byte(tt.in)); got.place != tt.want || got.Address != tt.addr {
			t.Errorf("parse(%q) = %+v, want %v %+v", tt.in, got, tt.want, tt.addr)
		}
	}
}

func TestResourcesSurviveTheWayThroughXMPP(t *testing.T) {
	for in, want := range map[string]string{
		"phone": "phone", "tokudu/5a": "tokudu/5a", "50%": "50%", "a%41": "a%2541", "\x00\x7f": "%00%7F",
		"é<&'": "é<&'", "\xff": "%FF", "\uffff": "%EF%BF%BF", "%%41": "%%2541",
	} {
		if got := resourceTo(in); got != want {
			t.Errorf("resourceTo(%q) = %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("%0Aa\x01é")), 0, 12, -1),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "resource")
		out := resourceTo(in)
		if !utf8.ValidString(out) || !framer.ValidText([]byte(out)) {
			t.Fatalf("%q became %q, which XML cannot carry", in, out)
		}
		if back := resourceFrom(out); back != in {
			t.Fatalf("%q became %q became %q", in, out, back)
		}
	})
}

// FuzzPeer: what is put on a block list comes back as it can be put there again.
func FuzzPeer(f *testing.F) {
	for _, s := range []string{
		"romeo@hub.example", "Romeo@HUB.example/a%2Fb", "hub.example", "hub.example/x", "localhost", "evil.example/%41",
		"x@evil.example", "x@evil.example/%41/@", "pubsub.hub.example", "@", "/", "a@b@c",
		"hub.example.", "romeo@hub.example./x", "evil.example..",
	} {
		f.Add(s)
	}
	front := &Front{opt: Options{Domain: "hub.example"}, pubsub: "pubsub.hub.example"}
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := front.peer([]byte(s))
		if !ok {
			return
		}
		if a.Account == "" {
			t.Fatalf("%q is nobody", s)
		}
		if again, ok := front.peer([]byte(front.peerJID(a))); !ok || again != a {
			t.Fatalf("%q is %q, shown as %q, which is %q, %t", s, a, front.peerJID(a), again, ok)
		}
	})
}

package auth

import (
	"crypto/rand"
	"reflect"
	"testing"
)

func TestBlocks(t *testing.T) {
	cases := []struct {
		blocked           Peer
		account, resource string
		want              bool
	}{
		{Peer{Account: "bob"}, "bob", "", true},
		{Peer{Account: "bob"}, "bob", "phone", true},
		{Peer{Account: "bob"}, "bobby", "", false},
		{Peer{"bob", "phone"}, "bob", "phone", true},
		{Peer{"bob", "phone"}, "bob", "tablet", false},
		{Peer{"bob", "phone"}, "bob", "", false},
		{Peer{Account: Everybody}, "bob", "phone", true},
		{Peer{Account: Everybody}, "alice", "phone", false},
		{Peer{Account: Everybody}, "bob@other.example", "", false},
		{Peer{Account: "@other.example"}, "bob", "", false},
		{Peer{Everybody, "phone"}, "bob", "phone", false},
		{Peer{Account: "bob@other.example"}, "bob@other.example", "x", true},
		{Peer{Account: "alice"}, "alice", "", false},
	}
	for _, c := range cases {
		a := Account{Name: "alice", Blocked: peerSet([]Peer{c.blocked})}
		if got := a.Blocks(c.account, c.resource); got != c.want {
			t.Errorf("%v blocks %s/%s: %t, want %t", c.blocked, c.account, c.resource, got, c.want)
		}
	}
	if (&Account{Name: "alice"}).Blocks("bob", "") {
		t.Error("who blocks nobody blocks bob")
	}
}

func TestBlocksDoesNotAllocate(t *testing.T) {
	a := Account{Name: "alice", Blocked: peerSet([]Peer{{Account: "bob"}, {"carol", "phone"}, {Account: "@other.example"}})}
	if n := testing.AllocsPerRun(100, func() { _ = a.Blocks("dave", "phone") || a.BlocksSomeDevice("dave") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestBlockedPeersAreStored(t *testing.T) {
	a, err := NewAccount("alice", "secret", 0, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.Blocked = peerSet([]Peer{{"carol", "phone"}, {Account: "bob"}, {Account: Everybody}})
	row, err := EncodeAccount(a)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeAccount(row)
	if err != nil || !reflect.DeepEqual(a, back) {
		t.Errorf("%+v became %+v, %v", a, back, err)
	}
	if want := []Peer{{Account: Everybody}, {Account: "bob"}, {"carol", "phone"}}; !reflect.DeepEqual(back.BlockedPeers(), want) {
		t.Errorf("listed as %v", back.BlockedPeers())
	}
}

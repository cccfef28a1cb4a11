package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestAccountRoundTrip(t *testing.T) {
	a, err := NewAccount("Alice", "secret", 1_700_000_000_123, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.Contacts["bob@hub.example"] = Contact{Name: "Bob", Groups: []string{"friends", "work"}, To: true, From: true}
	a.Contacts["carol@hub.example"] = Contact{Ask: true, PendingIn: true, Approved: true}
	row, err := EncodeAccount(a)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeAccount(row)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, back) {
		t.Errorf("%+v became %+v", a, back)
	}
	if strings.Contains(string(row), "secret") {
		t.Error("the row holds the password")
	}
}

func TestAccountHasAVerifierForEachMechanism(t *testing.T) {
	a, err := NewAccount("alice", "secret", 0, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, mechanism := range []string{SHA1, SHA256} {
		if v, ok := a.Verifier(mechanism); !ok || v.Mechanism != mechanism || !v.CheckPlain("secret") {
			t.Errorf("%s: %v, %v", mechanism, v, ok)
		}
	}
	if v, ok := a.PlainVerifier(); !ok || v.Mechanism != SHA1 {
		t.Errorf("plain logins are checked against %v", v)
	}
	if _, ok := (Account{}).PlainVerifier(); ok {
		t.Error("an account without verifiers has one")
	}
}

func TestSetPasswordKeepsTheOldOneOnError(t *testing.T) {
	a, _ := NewAccount("alice", "secret", 0, rand.Reader)
	if err := a.SetPassword("", rand.Reader); !errors.Is(err, ErrBadPassword) {
		t.Fatal(err)
	}
	if v, ok := a.PlainVerifier(); !ok || !v.CheckPlain("secret") {
		t.Error("the old password is gone")
	}
}

func TestDecodeAccountRefuses(t *testing.T) {
	text, _ := rfc7677.MarshalText()
	cases := []struct{ name, row, says string }{
		{"empty", "", "JSON"},
		{"not JSON", "{", "JSON"},
		{"no version", `{"name":"alice"}`, "version 0"},
		{"a newer version", `{"v":2,"name":"alice","tokens":[]}`, "version 2"},
		{"an unknown field", `{"v":1,"name":"alice","tokens":[]}`, "tokens"},
		{"no name", `{"v":1}`, "empty"},
		{"a name that is not normalised", `{"v":1,"name":"Alice"}`, "not normalised"},
		{"a bad verifier", `{"v":1,"name":"alice","verifiers":["x"]}`, "verifier"},
		{"two of a kind", fmt.Sprintf(`{"v":1,"name":"alice","verifiers":[%q,%q]}`, text, text), "two verifiers"},
		{"too large", strings.Repeat(" ", MaxAccountRow+1), "bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeAccount([]byte(c.row))
			if !errors.Is(err, ErrBadAccount) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want ErrBadAccount that says %q", err, c.says)
			}
		})
	}
}

func TestEncodeAccountRefusesARosterThatDoesNotFit(t *testing.T) {
	a := Account{Name: "alice", Contacts: map[string]Contact{"bob": {Name: strings.Repeat("x", MaxAccountRow)}}}
	if _, err := EncodeAccount(a); !errors.Is(err, ErrBadAccount) {
		t.Errorf("got %v", err)
	}
}

func TestContactSubscription(t *testing.T) {
	cases := map[string]Contact{"none": {}, "to": {To: true}, "from": {From: true}, "both": {To: true, From: true}}
	for want, c := range cases {
		if got := c.Subscription(); got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
}

func FuzzDecodeAccount(f *testing.F) {
	f.Add([]byte(`{"v":1,"name":"alice","created":5,"contacts":{"bob":{"to":true}}}`))
	f.Add([]byte(`{"v":1,"name":"alice","verifiers":[]}`))
	f.Add([]byte(`{"v":1,"name":"alice","blocked":[{"account":"bob"},{"account":"@","resource":"x"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeAccount(b)
		if err != nil {
			return
		}
		row, err := EncodeAccount(a)
		if err != nil {
			t.Skip("escaping may push a row over its limit")
		}
		if back, err := DecodeAccount(row); err != nil || back.Name != a.Name || len(back.Contacts) != len(a.Contacts) || len(back.Blocked) != len(a.Blocked) {
			t.Fatalf("%+v became %+v, %v", a, back, err)
		}
	})
}

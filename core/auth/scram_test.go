package auth

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

var testFakeKey = []byte("0123456789abcdef0123456789abcdef")

func onlyUser(name string, v Verifier) func(string) (Verifier, bool) {
	return func(user string) (Verifier, bool) { return v, user == name }
}

func hashOf(mechanism string) scram.HashGeneratorFcn {
	if mechanism == SHA1 {
		return scram.SHA1
	}
	return scram.SHA256
}

// login plays a whole exchange with a client that knows user and password.
func login(t *testing.T, s *SCRAM, mechanism, user, password, authzid string) error {
	t.Helper()
	client, err := hashOf(mechanism).NewClient(user, password, authzid)
	if err != nil {
		t.Fatal(err)
	}
	conv := client.NewConversation()
	msg, err := conv.Step("")
	for {
		if err != nil {
			t.Fatalf("client: %v", err)
		}
		out, done, serr := s.Step([]byte(msg))
		if serr != nil {
			return serr
		}
		msg, err = conv.Step(string(out))
		if done {
			if err != nil || !conv.Valid() {
				t.Fatalf("the client does not trust the server: %v", err)
			}
			return nil
		}
	}
}

func TestSCRAMLogin(t *testing.T) {
	cases := []struct {
		name, user, password, authzid string
		want                          error
	}{
		{"right", "alice", "pencil", "", nil},
		{"name in capitals", "ALICE", "pencil", "", nil},
		{"own name as authzid", "alice", "pencil", "alice", nil},
		{"own address as authzid", "alice", "pencil", "alice@hub.example", nil},
		{"wrong password", "alice", "pencil2", "", ErrNotAuthorized},
		{"unknown user", "bob", "pencil", "", ErrNotAuthorized},
		{"a name that cannot exist", "a/b", "pencil", "", ErrNotAuthorized},
		{"somebody else", "alice", "pencil", "bob", ErrAuthzID},
		{"elsewhere", "alice", "pencil", "alice@other.example", ErrAuthzID},
	}
	for _, mechanism := range []string{SHA1, SHA256} {
		v := newTestVerifier(t, mechanism, "pencil")
		for _, c := range cases {
			t.Run(mechanism+" "+c.name, func(t *testing.T) {
				s := NewSCRAM(mechanism, onlyUser("alice", v), rand.Reader, testFakeKey, "hub.example")
				err := login(t, s, mechanism, c.user, c.password, c.authzid)
				if !errors.Is(err, c.want) {
					t.Fatalf("got %v, want %v", err, c.want)
				}
				if want := map[bool]string{true: "alice", false: ""}[c.want == nil]; s.User() != want {
					t.Errorf("User() = %q, want %q", s.User(), want)
				}
			})
		}
	}
}

func TestSCRAMExampleOfTheRFC(t *testing.T) {
	// RFC 7677 §3, with the server's nonce fixed to bytes we know.
	random := bytes.Repeat([]byte{7}, nonceBytes)
	s := NewSCRAM(SHA256, onlyUser("user", rfc7677), bytes.NewReader(random), testFakeKey)
	out, done, err := s.Step([]byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))
	want := "r=rOprNGfwEbeRWgbNEkqO" + base64.StdEncoding.EncodeToString(random) + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	if err != nil || done || string(out) != want {
		t.Fatalf("got %q, %v, %v; want %q", out, done, err, want)
	}
}

func TestSCRAMAcceptsAClientThatCouldBindChannels(t *testing.T) {
	// RFC 5802 §6: y says that the client saw no -PLUS on offer, which is so.
	s := NewSCRAM(SHA256, onlyUser("user", rfc7677), rand.Reader, testFakeKey)
	if out, _, err := s.Step([]byte("y,,n=user,r=abc")); err != nil || !strings.HasPrefix(string(out), "r=abc") {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestFakeVerifierOpensNothing(t *testing.T) {
	for _, mechanism := range []string{SHA1, SHA256} {
		v := FakeVerifier(mechanism, "nobody", testFakeKey)
		if _, err := v.MarshalText(); err != nil {
			t.Errorf("%s: a check against it would be cut short: %v", mechanism, err)
		}
		if v.CheckPlain("pencil") {
			t.Errorf("%s: it opens", mechanism)
		}
	}
	if v := FakeVerifier("SCRAM-MD5", "nobody", testFakeKey); v.CheckPlain("x") {
		t.Error("a verifier without mechanism opens")
	}
}

func TestSCRAMRefusesFirstMessage(t *testing.T) {
	cases := []struct {
		name, in string
		want     error
	}{
		{"empty", "", ErrMalformed},
		{"channel binding", "p=tls-unique,,n=alice,r=abc", ErrMalformed},
		{"unknown channel binding", "p=moon,,n=alice,r=abc", ErrMalformed},
		{"no gs2 header", "n=alice,r=abc", ErrMalformed},
		{"empty name", "n,,n=,r=abc", ErrMalformed},
		{"bad escape in the name", "n,,n=a=zz,r=abc", ErrMalformed},
		{"mandatory extension", "n,,m=x,n=alice,r=abc", ErrMalformed},
		{"empty nonce", "n,,n=alice,r=", ErrMalformed},
		{"nonce with a control character", "n,,n=alice,r=a\x01b", ErrMalformed},
		{"bad UTF-8", "n,,n=\xff,r=abc", ErrMalformed},
		{"too long", "n,,n=alice,r=" + strings.Repeat("a", maxSCRAM), ErrMalformed},
		{"somebody else", "n,a=bob,n=alice,r=abc", ErrAuthzID},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := NewSCRAM(SHA256, onlyUser("alice", rfc7677), rand.Reader, testFakeKey)
			if _, done, err := s.Step([]byte(c.in)); done || !errors.Is(err, c.want) {
				t.Fatalf("got %v, %v; want %v", done, err, c.want)
			}
			if _, done, err := s.Step([]byte("n,,n=alice,r=abc")); done || !errors.Is(err, ErrMalformed) {
				t.Errorf("goes on after an error: %v, %v", done, err)
			}
		})
	}
}

func TestSCRAMRefusesFinalMessage(t *testing.T) {
	proof := base64.StdEncoding.EncodeToString(make([]byte, 32))
	cases := []struct {
		name, in string // NONCE is replaced by the nonce agreed on
		want     error
	}{
		{"empty", "", ErrMalformed},
		{"wrong proof", "c=biws,r=NONCE,p=" + proof, ErrNotAuthorized},
		{"short proof", "c=biws,r=NONCE,p=AAAA", ErrMalformed},
		{"no proof", "c=biws,r=NONCE", ErrMalformed},
		{"proof is not base64", "c=biws,r=NONCE,p=!", ErrMalformed},
		{"another nonce", "c=biws,r=NONCEx,p=" + proof, ErrMalformed},
		{"another gs2 header", "c=eSws,r=NONCE,p=" + proof, ErrNotAuthorized},
	}
	for _, c := range cases {
		for _, user := range []string{"alice", "nobody"} {
			t.Run(c.name+" by "+user, func(t *testing.T) {
				s := NewSCRAM(SHA256, onlyUser("alice", rfc7677), rand.Reader, testFakeKey)
				out, _, err := s.Step([]byte("n,,n=" + user + ",r=abc"))
				if err != nil {
					t.Fatal(err)
				}
				nonce, _, _ := strings.Cut(strings.TrimPrefix(string(out), "r="), ",")
				_, done, err := s.Step([]byte(strings.ReplaceAll(c.in, "NONCE", nonce)))
				if done || !errors.Is(err, c.want) || s.User() != "" {
					t.Errorf("got %v, %v, user %q; want %v", done, err, s.User(), c.want)
				}
			})
		}
	}
}

func TestSCRAMUnknownUserLooksLikeAKnownOne(t *testing.T) {
	salt := func(user string, key []byte) string {
		s := NewSCRAM(SHA256, onlyUser("alice", rfc7677), rand.Reader, key)
		out, _, err := s.Step([]byte("n,,n=" + user + ",r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(out), ",")
		return rest
	}
	if salt("bob", testFakeKey) != salt("BOB", testFakeKey) {
		t.Error("the fake salt changes between attempts or spellings")
	}
	if salt("bob", testFakeKey) == salt("carol", testFakeKey) {
		t.Error("two unknown users share a salt")
	}
	if salt("bob", testFakeKey) == salt("bob", bytes.Repeat([]byte{1}, 32)) {
		t.Error("the fake salt does not depend on the key")
	}
	if len(salt("bob", testFakeKey)) != len("s=W22ZaJ0SNY7soEsUEjb6gQ==,i=10000") {
		t.Errorf("the fake salt has another length: %s", salt("bob", testFakeKey))
	}
}

func TestSCRAMRefusesAVerifierOfAnotherMechanism(t *testing.T) {
	s := NewSCRAM(SHA1, onlyUser("user", rfc7677), rand.Reader, testFakeKey)
	if out, _, err := s.Step([]byte("n,,n=user,r=abc")); err != nil || strings.Contains(string(out), "W22ZaJ0SNY7soEsUEjb6gQ==") {
		t.Errorf("its salt is shown: %q, %v", out, err)
	}
	s = NewSCRAM(SHA1, onlyUser("user", rfc7677), rand.Reader, testFakeKey)
	if err := login(t, s, SHA1, "user", "pencil", ""); !errors.Is(err, ErrNotAuthorized) {
		t.Errorf("got %v", err)
	}
}

func TestSCRAMNeedsAMechanismAndAKey(t *testing.T) {
	s := NewSCRAM("SCRAM-MD5", onlyUser("user", rfc7677), rand.Reader, testFakeKey)
	if _, _, err := s.Step([]byte("n,,n=user,r=abc")); !errors.Is(err, ErrMechanism) {
		t.Errorf("unknown mechanism: %v", err)
	}
	s = NewSCRAM(SHA256, onlyUser("user", rfc7677), rand.Reader, nil)
	if _, _, err := s.Step([]byte("n,,n=user,r=abc")); err == nil {
		t.Error("works without a key for unknown users")
	}
}

func FuzzSCRAM(f *testing.F) {
	f.Add([]byte("n,,n=user,r=abc"), []byte("c=biws,r=abc,p=AAAA"))
	f.Add([]byte("y,a=user,n=user,r=abc,x=y"), []byte("c=,r=,p="))
	f.Add([]byte("p=tls-exporter,,n=user,r=abc"), []byte("c=cD10bHMtZXhwb3J0ZXIsLGRhdGE=,r=abc,p=AAAA"))
	f.Fuzz(func(t *testing.T, first, final []byte) {
		for _, mechanism := range []string{SHA256, SHA256Plus} {
			s := NewSCRAM(mechanism, onlyUser("user", rfc7677), rand.Reader, testFakeKey)
			s.Bind([]Binding{{BindingExporter, []byte("data")}})
			_, _, err := s.Step(first)
			if bound := bytes.HasPrefix(first, []byte("p=tls-exporter,")); err == nil && bound != (mechanism == SHA256Plus) {
				t.Fatalf("%s took %q", mechanism, first)
			}
			if _, done, _ := s.Step(final); done || s.User() != "" {
				t.Fatal("logged in without the password")
			}
		}
	})
}

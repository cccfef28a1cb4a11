package auth

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// rfc7677 is the example of RFC 7677 §3: user "user", password "pencil".
var rfc7677 = mustParse("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" +
	"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")

func mustParse(s string) Verifier {
	v, err := ParseVerifier(s)
	if err != nil {
		panic(err)
	}
	return v
}

func newTestVerifier(t testing.TB, mechanism, password string) Verifier {
	t.Helper()
	v, err := NewVerifier(mechanism, password, rand.Reader, MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerifierOfTheRFC(t *testing.T) {
	if !rfc7677.CheckPlain("pencil") {
		t.Error("the example's password is refused")
	}
	if rfc7677.CheckPlain("pencil ") || rfc7677.CheckPlain("") || rfc7677.CheckPlain("Pencil") {
		t.Error("another password is accepted")
	}
}

func TestVerifierChecksPreparedPasswords(t *testing.T) {
	cases := []struct{ name, set, login string }{
		{"plain", "correct horse", "correct horse"},
		{"soft hyphen is dropped", "pass\u00adword", "password"},
		{"no-break space is a space", "a\u00a0b", "a b"},
		{"compatibility form", "\u2168", "IX"},
		{"emoji, which SASLprep does not know", "🐎🔋", "🐎🔋"},
	}
	for _, mechanism := range []string{SHA1, SHA256} {
		for _, c := range cases {
			t.Run(mechanism+" "+c.name, func(t *testing.T) {
				v := newTestVerifier(t, mechanism, c.set)
				if !v.CheckPlain(c.login) {
					t.Error("refused")
				}
				if v.CheckPlain(c.login + "x") {
					t.Error("a longer password is accepted")
				}
			})
		}
	}
}

func TestNewVerifierDefaults(t *testing.T) {
	for mechanism, want := range map[string]int{SHA1: DefaultIterationsSHA1, SHA256: DefaultIterationsSHA256} {
		v, err := NewVerifier(mechanism, "secret", rand.Reader, 0)
		if err != nil || v.Iterations != want || len(v.Salt) != saltBytes {
			t.Errorf("%s: %v, %d bytes of salt, %v", mechanism, v, len(v.Salt), err)
		}
	}
}

func TestNewVerifierRefuses(t *testing.T) {
	broken := errors.New("no entropy")
	cases := []struct {
		name, mechanism, password string
		rand                      io.Reader
		iterations                int
		want                      error
	}{
		{"unknown mechanism", "SCRAM-MD5", "x", rand.Reader, 0, ErrMechanism},
		{"empty password", SHA256, "", rand.Reader, 0, ErrBadPassword},
		{"long password", SHA256, strings.Repeat("x", MaxPassword+1), rand.Reader, 0, ErrBadPassword},
		{"control character", SHA256, "a\x07b", rand.Reader, 0, ErrBadPassword},
		{"bad UTF-8", SHA256, "a\xff", rand.Reader, 0, ErrBadPassword},
		{"too few iterations", SHA1, "x", rand.Reader, 4095, ErrBadVerifier},
		{"too many iterations", SHA1, "x", rand.Reader, MaxIterations + 1, ErrBadVerifier},
		{"negative iterations", SHA1, "x", rand.Reader, -1, ErrBadVerifier},
		{"no randomness", SHA1, "x", iotest.ErrReader(broken), 0, broken},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewVerifier(c.mechanism, c.password, c.rand, c.iterations)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err != nil && len(c.password) > 1 && strings.Contains(err.Error(), c.password) {
				t.Error("the error quotes the password")
			}
		})
	}
}

func TestParseVerifierRefuses(t *testing.T) {
	key := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	cases := []struct{ name, text string }{
		{"empty", ""},
		{"two parts", "SCRAM-SHA-256$4096:" + key(16)},
		{"unknown mechanism", "SCRAM-SHA-512$4096:" + key(16) + "$" + key(64) + ":" + key(64)},
		{"iterations are no number", "SCRAM-SHA-1$many:" + key(16) + "$" + key(20) + ":" + key(20)},
		{"iterations with a sign", "SCRAM-SHA-1$+4096:" + key(16) + "$" + key(20) + ":" + key(20)},
		{"too few iterations", "SCRAM-SHA-1$1:" + key(16) + "$" + key(20) + ":" + key(20)},
		{"endless iterations", "SCRAM-SHA-1$2000000000:" + key(16) + "$" + key(20) + ":" + key(20)},
		{"no salt", "SCRAM-SHA-1$4096:$" + key(20) + ":" + key(20)},
		{"key of the other hash", "SCRAM-SHA-1$4096:" + key(16) + "$" + key(32) + ":" + key(32)},
		{"missing server key", "SCRAM-SHA-1$4096:" + key(16) + "$" + key(20)},
		{"line break in base64", "SCRAM-SHA-1$4096:\n" + key(16) + "$" + key(20) + ":" + key(20)},
		{"not base64", "SCRAM-SHA-1$4096:" + key(16) + "$!!:" + key(20)},
		{"too long", strings.Repeat("x", maxVerifier+1)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if v, err := ParseVerifier(c.text); !errors.Is(err, ErrBadVerifier) {
				t.Errorf("got %v, %v; want ErrBadVerifier", v, err)
			}
		})
	}
}

func TestVerifierPrintsNoKeys(t *testing.T) {
	for _, format := range []string{"%v", "%+v", "%s"} {
		if got := fmt.Sprintf(format, rfc7677); got != "SCRAM-SHA-256 verifier (4096 iterations)" {
			t.Errorf("%s prints %q", format, got)
		}
	}
}

func FuzzParseVerifier(f *testing.F) {
	text, _ := rfc7677.MarshalText()
	f.Add(string(text))
	f.Add("SCRAM-SHA-1$4096:AAAAAAAAAAA=$AAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("$:$:")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVerifier(s)
		if err != nil {
			return
		}
		back, err := v.MarshalText()
		if err != nil || string(back) != s {
			t.Fatalf("%q reads, but writes %q, %v", s, back, err)
		}
	})
}

func BenchmarkCheckPlain(b *testing.B) {
	for _, mechanism := range []string{SHA1, SHA256} {
		b.Run(mechanism, func(b *testing.B) {
			v, err := NewVerifier(mechanism, "secret", rand.Reader, 0)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				v.CheckPlain("secret")
			}
		})
	}
}

package auth

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/text/secure/precis"
)

func TestNormalize(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"plain", "alice", "alice"},
		{"case is folded", "Alice.Smith-7", "alice.smith-7"},
		{"wide letters become narrow", "ａｌｉｃｅ", "alice"},
		{"composed", "e\u0301mile", "\u00e9mile"},
		{"other scripts", "ИВАН", "иван"},
		{"symbols that are allowed", "a!%*=b", "a!%*=b"},
		{"dollar inside", "a$b", "a$b"},
		{"longest", strings.Repeat("x", 255), strings.Repeat("x", 255)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Normalize(c.in)
			if err != nil || got != c.want {
				t.Fatalf("Normalize(%q) = %q, %v; want %q", c.in, got, err, c.want)
			}
		})
	}
}

func TestNormalizeRefuses(t *testing.T) {
	cases := []struct{ name, in, says string }{
		{"empty", "", "empty"},
		{"too long", strings.Repeat("x", 256), "256 bytes"},
		{"far too long", strings.Repeat("X", 1<<20), "bytes long"},
		{"slash", "a/b", "'/'"},
		{"at", "a@b", "'@'"},
		{"wide at", "a＠b", "'@'"},
		{"quote", `a"b`, "XMPP"},
		{"colon", "a:b", "':'"},
		{"single-level wildcard", "a+b", "wildcard"},
		{"multi-level wildcard", "#", "wildcard"},
		{"leading dollar", "$alice", "begins with $"},
		{"space", "a b", "user names"},
		{"control", "a\x00b", "user names"},
		{"bad UTF-8", "a\xff", "user names"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Normalize(c.in)
			if !errors.Is(err, ErrBadName) {
				t.Fatalf("Normalize(%q) = %q, %v; want ErrBadName", c.in, got, err)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not say %q", err, c.says)
			}
		})
	}
}

func TestAuthzIs(t *testing.T) {
	cases := []struct {
		authzid string
		want    bool
	}{
		{"", true},
		{"alice", true},
		{"ALICE", true},
		{"alice@hub.example", true},
		{"alice@HUB.example", true},
		{"bob", false},
		{"bob@hub.example", false},
		{"alice@other.example", false},
		{"alice@", false},
		{"@hub.example", false},
		{"alice@hub.example@hub.example", false},
	}
	for _, c := range cases {
		if got := AuthzIs(c.authzid, "alice", "hub.example"); got != c.want {
			t.Errorf("AuthzIs(%q) = %v, want %v", c.authzid, got, c.want)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"alice", "ALICE", "ａ", "e\u0301", "$x", "a/b", "İ", "ß", "\u1e9e", "אב"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Normalize(s)
		if plainName(s) {
			if want, perr := precis.UsernameCaseMapped.String(s); perr != nil || want != s {
				t.Fatalf("the short cut takes %q, PRECIS says %q, %v", s, want, perr)
			}
		}
		if err != nil {
			return
		}
		if got == "" || len(got) > MaxName || strings.ContainsAny(got, "/+#@") || got[0] == '$' {
			t.Fatalf("Normalize(%q) = %q", s, got)
		}
		if again, err := Normalize(got); err != nil || again != got {
			t.Fatalf("not a fixed point: %q -> %q -> %q, %v", s, got, again, err)
		}
	})
}

package auth

import (
	"errors"
	"strings"
	"testing"
)

func TestParsePlain(t *testing.T) {
	cases := []struct{ name, in, authzid, user, password string }{
		{"usual", "\x00tim\x00tanstaaftanstaaf", "", "tim", "tanstaaftanstaaf"},
		{"with authzid", "Ursel\x00Kurt\x00xipj3plmq", "Ursel", "Kurt", "xipj3plmq"},
		{"other scripts", "\x00иван\x00пароль 🐎", "", "иван", "пароль 🐎"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			authzid, user, password, err := ParsePlain([]byte(c.in))
			if err != nil || authzid != c.authzid || user != c.user || password != c.password {
				t.Errorf("got %q %q %q %v", authzid, user, password, err)
			}
		})
	}
}

func TestParsePlainRefuses(t *testing.T) {
	cases := []struct{ name, in string }{
		{"empty", ""},
		{"one field", "tim"},
		{"two fields", "tim\x00secret"},
		{"four fields", "\x00tim\x00sec\x00ret"},
		{"no user", "\x00\x00secret"},
		{"no password", "\x00tim\x00"},
		{"bad UTF-8", "\x00tim\x00\xff"},
		{"too long", "\x00tim\x00" + strings.Repeat("x", maxPlain)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, _, _, err := ParsePlain([]byte(c.in)); !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzParsePlain(f *testing.F) {
	f.Add([]byte("a\x00b\x00c"))
	f.Add([]byte("\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		authzid, user, password, err := ParsePlain(b)
		if err != nil {
			return
		}
		if user == "" || password == "" || authzid+"\x00"+user+"\x00"+password != string(b) {
			t.Fatalf("%q gave %q %q %q", b, authzid, user, password)
		}
	})
}

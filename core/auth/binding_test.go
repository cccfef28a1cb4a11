package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/xdg-go/scram"
)

func TestEndPointBindingHashesByTheSignature(t *testing.T) {
	raw := []byte("a certificate")
	short, middle, long := sha256.Sum256(raw), sha512.Sum384(raw), sha512.Sum512(raw)
	for _, row := range []struct {
		algorithm x509.SignatureAlgorithm
		want      []byte // nil: there is no such binding
	}{
		{x509.MD5WithRSA, short[:]},
		{x509.SHA1WithRSA, short[:]},
		{x509.ECDSAWithSHA1, short[:]},
		{x509.SHA256WithRSA, short[:]},
		{x509.ECDSAWithSHA256, short[:]},
		{x509.SHA384WithRSAPSS, middle[:]},
		{x509.ECDSAWithSHA384, middle[:]},
		{x509.SHA512WithRSA, long[:]},
		{x509.PureEd25519, nil},
		{x509.UnknownSignatureAlgorithm, nil},
	} {
		got := Bindings(&tls.ConnectionState{Version: tls.VersionTLS12}, &x509.Certificate{Raw: raw, SignatureAlgorithm: row.algorithm})
		switch {
		case row.want == nil && len(got) == 0:
		case row.want == nil || len(got) != 1 || got[0].Type != BindingEndPoint || !bytes.Equal(got[0].Data, row.want):
			t.Errorf("%v: %+v, want %x", row.algorithm, got, row.want)
		}
	}
	if got := Bindings(nil, nil); got != nil {
		t.Errorf("without TLS: %+v", got)
	}
}

func TestSCRAMBoundToItsChannel(t *testing.T) {
	ours := []Binding{{BindingExporter, []byte("exported")}, {BindingEndPoint, []byte("hashed")}}
	of := func(kind, data string) *scram.ChannelBinding {
		return &scram.ChannelBinding{Type: scram.ChannelBindingType(kind), Data: []byte(data)}
	}
	for _, row := range []struct {
		name      string
		mechanism string
		offered   []Binding
		theirs    *scram.ChannelBinding // nil: they do not bind
		plain     bool                  // they could, and think that we cannot
		want      error
	}{
		{"exporter", SHA256Plus, ours, of(BindingExporter, "exported"), false, nil},
		{"end point", SHA1Plus, ours, of(BindingEndPoint, "hashed"), false, nil},
		{"another channel's", SHA256Plus, ours, of(BindingExporter, "relayed"), false, ErrNotAuthorized},
		{"the data of another type", SHA256Plus, ours, of(BindingExporter, "hashed"), false, ErrNotAuthorized},
		{"a type that is not there", SHA256Plus, ours, of("tls-unique", "finished"), false, ErrMalformed},
		{"-PLUS without binding", SHA256Plus, ours, nil, false, ErrMalformed},
		{"-PLUS that was not offered", SHA256Plus, nil, of(BindingExporter, "exported"), false, ErrMechanism},
		{"binding without -PLUS", SHA256, ours, of(BindingExporter, "exported"), false, ErrMalformed},
		{"a client that cannot", SHA256, ours, nil, false, nil},
		{"-PLUS taken out of the offer", SHA256, ours, nil, true, ErrNotAuthorized},
		{"-PLUS not offered", SHA256, nil, nil, true, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			base, hash := SHA256, scram.SHA256
			if row.mechanism == SHA1Plus {
				base, hash = SHA1, scram.SHA1
			}
			s := NewSCRAM(row.mechanism, onlyUser("alice", newTestVerifier(t, base, "pencil")), rand.Reader, testFakeKey)
			s.Bind(row.offered)
			client, err := hash.NewClient("alice", "pencil", "")
			if err != nil {
				t.Fatal(err)
			}
			conv := client.NewConversation()
			switch {
			case row.theirs != nil:
				conv = client.NewConversationWithChannelBinding(*row.theirs)
			case row.plain:
				conv = client.NewConversationAdvertisingChannelBinding()
			}
			first, err := conv.Step("")
			if err != nil {
				t.Fatal(err)
			}
			out, _, err := s.Step([]byte(first))
			if err == nil {
				var final string
				if final, err = conv.Step(string(out)); err != nil {
					t.Fatal(err)
				}
				_, _, err = s.Step([]byte(final))
			}
			if !errors.Is(err, row.want) || s.User() != map[bool]string{true: "alice"}[row.want == nil] {
				t.Errorf("got %v and user %q, want %v", err, s.User(), row.want)
			}
		})
	}
}

// Of a message that was relayed, the flag cannot be changed either: the proof covers it.
func TestSCRAMProofCoversTheBindingFlag(t *testing.T) {
	s := NewSCRAM(SHA256, onlyUser("alice", newTestVerifier(t, SHA256, "pencil")), rand.Reader, testFakeKey)
	s.Bind([]Binding{{BindingExporter, []byte("exported")}})
	client, err := scram.SHA256.NewClient("alice", "pencil", "")
	if err != nil {
		t.Fatal(err)
	}
	conv := client.NewConversationAdvertisingChannelBinding()
	first, _ := conv.Step("")
	out, _, err := s.Step(append([]byte("n"), first[1:]...)) // the man in the middle hides the y
	if err != nil {
		t.Fatal(err)
	}
	final, err := conv.Step(string(out))
	if err != nil {
		t.Fatal(err)
	}
	if _, done, err := s.Step([]byte(final)); done || !errors.Is(err, ErrNotAuthorized) {
		t.Errorf("done %v, %v", done, err)
	}
}

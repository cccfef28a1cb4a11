package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/scram"
)

const (
	maxSCRAM    = 4096 // bytes of one client message
	nonceBytes  = 18   // of the server's part, before base64
	minFakeKey  = 16   // bytes
	fakeSaltTag = "salt"
	fakeKeyTag  = "key"
)

// SCRAM is the server's side of one SCRAM login, RFC 5802 and RFC 7677, as a
// state machine: feed it each client message, send what it returns. It is for one
// login and not safe for concurrent use.
type SCRAM struct {
	mechanism string // without -PLUS
	plus      bool
	bindings  []Binding
	lookup    func(user string) (Verifier, bool)
	rand      io.Reader
	fakeKey   []byte
	domains   []string

	state scramState
	conv  *scram.ServerConversation
	user  string // normalised, as claimed
	known bool   // lookup found a verifier for user
}

type scramState int

const (
	scramFirst scramState = iota // waits for client-first-message
	scramFinal                   // waits for client-final-message
	scramDone                    // the proof was right
	scramOver                    // the login was refused
)

// NewSCRAM begins a login by mechanism [SHA1] or [SHA256], or, after [SCRAM.Bind],
// [SHA1Plus] or [SHA256Plus]. lookup receives a normalised name and returns the
// account's verifier for that mechanism without -PLUS.
// fakeKey is a secret of at least 16 bytes, the same on every node and across
// restarts: a user who does not exist is shown a salt derived from it, always
// the same one, and so cannot be told from one who does. domains are those
// for which user@domain is accepted as the user's own authzid.
func NewSCRAM(mechanism string, lookup func(user string) (Verifier, bool), rand io.Reader, fakeKey []byte, domains ...string) *SCRAM {
	mechanism, plus := strings.CutSuffix(mechanism, plusSuffix)
	return &SCRAM{mechanism: mechanism, plus: plus, lookup: lookup, rand: rand, fakeKey: fakeKey, domains: domains}
}

// Bind says, before the first Step, what the client's connection can be bound to:
// the client has been offered the -PLUS mechanisms, whichever it chose.
func (s *SCRAM) Bind(bindings []Binding) { s.bindings = bindings }

// Step takes one client message. It returns the server's answer and, once the
// login has succeeded, done. Errors wrap [ErrMalformed], [ErrNotAuthorized],
// [ErrAuthzID] or [ErrMechanism], or are those of rand; the login is then
// over, and out may hold the server-error of RFC 5802 §7 ("e=...") for
// protocols that send it.
func (s *SCRAM) Step(in []byte) (out []byte, done bool, err error) {
	state := s.state
	s.state = scramOver
	if len(in) > maxSCRAM {
		return nil, false, fmt.Errorf("%w: SCRAM message of %d bytes, at most %d are read", ErrMalformed, len(in), maxSCRAM)
	}
	if !utf8.Valid(in) {
		return nil, false, fmt.Errorf("%w: SCRAM message is not valid UTF-8", ErrMalformed)
	}
	switch state {
	case scramFirst:
		out, err = s.first(string(in))
		if err == nil {
			s.state = scramFinal
		}
		return out, false, err
	case scramFinal:
		out, err = s.final(string(in))
		if err == nil {
			s.state = scramDone
		}
		return out, err == nil, err
	case scramDone, scramOver:
	}
	return nil, false, fmt.Errorf("%w: the SCRAM exchange is already over", ErrMalformed)
}

// User is the normalised name of who logged in, empty until Step has returned
// done.
func (s *SCRAM) User() string {
	if s.state != scramDone {
		return ""
	}
	return s.user
}

// Claimed is who wants to log in, normalised where the name allows it, once that
// is known and the proof is awaited; empty before and after.
func (s *SCRAM) Claimed() string {
	if s.state != scramFinal {
		return ""
	}
	return s.user
}

func (s *SCRAM) first(in string) ([]byte, error) {
	nonce, err := s.nonce()
	if err != nil {
		return nil, err
	}
	server, err := s.server()
	if err != nil {
		return nil, err
	}
	refused, err := s.converse(server.WithNonceGenerator(func() string { return nonce }), in)
	if err != nil {
		return []byte(refused), err
	}
	out, err := s.conv.Step(in)
	if err != nil {
		return []byte(out), fmt.Errorf("%w: SCRAM client-first-message: %w", ErrMalformed, err)
	}
	if !goodNonce(out, nonce) {
		return []byte(scram.ErrOtherError), fmt.Errorf("%w: the SCRAM client nonce is empty or not printable", ErrMalformed)
	}
	if !AuthzIs(s.conv.AuthzID(), s.user, s.domains...) {
		return []byte(scram.ErrOtherError), fmt.Errorf("%w: authzid %q, user %q", ErrAuthzID, s.conv.AuthzID(), s.user)
	}
	return []byte(out), nil
}

// converse begins the conversation that the client's gs2-cbind-flag calls for:
// p=, y or n. RFC 5802 §6
func (s *SCRAM) converse(server *scram.Server, in string) (refused string, err error) {
	kind, bound := strings.CutPrefix(in, "p=")
	switch {
	case bound != s.plus: // p= belongs to -PLUS alone, and the other way round
		return scram.ErrChannelBindingNotSupported, fmt.Errorf("%w: channel binding belongs to the -PLUS mechanisms", ErrMalformed)
	case bound:
		kind, _, _ = strings.Cut(kind, ",")
		i := slices.IndexFunc(s.bindings, func(b Binding) bool { return b.Type == kind })
		if i < 0 {
			return scram.ErrUnsupportedChannelBindingType, fmt.Errorf("%w: the connection has no such channel binding", ErrMalformed)
		}
		s.conv = server.NewConversationWithChannelBindingRequired(scram.ChannelBinding{
			Type: scram.ChannelBindingType(kind), Data: s.bindings[i].Data,
		})
		return "", nil
	case strings.HasPrefix(in, "y") && len(s.bindings) > 0:
		// Somebody in between has taken -PLUS out of what we offered.
		return scram.ErrServerDoesSupportChannelBinding, fmt.Errorf("%w: the client was not shown the -PLUS mechanisms", ErrNotAuthorized)
	}
	s.conv = server.NewConversation()
	return "", nil
}

func (s *SCRAM) final(in string) ([]byte, error) {
	out, err := s.conv.Step(in)
	if err == nil && s.known && s.conv.Valid() {
		return []byte(out), nil
	}
	if err == nil || out == scram.ErrInvalidProof || out == scram.ErrChannelBindingsDontMatch {
		return []byte(scram.ErrInvalidProof), ErrNotAuthorized
	}
	return []byte(scram.ErrOtherError), fmt.Errorf("%w: SCRAM client-final-message: %w", ErrMalformed, err)
}

func (s *SCRAM) server() (*scram.Server, error) {
	if len(s.fakeKey) < minFakeKey {
		return nil, fmt.Errorf("the key for unknown users has %d bytes, want at least %d", len(s.fakeKey), minFakeKey)
	}
	if s.plus && len(s.bindings) == 0 {
		return nil, fmt.Errorf("%w: %q needs channel binding", ErrMechanism, s.mechanism+plusSuffix)
	}
	switch s.mechanism {
	case SHA1:
		return scram.SHA1.NewServer(s.credentials)
	case SHA256:
		return scram.SHA256.NewServer(s.credentials)
	}
	return nil, fmt.Errorf("%w: %q", ErrMechanism, s.mechanism)
}

// credentials finds the claimed user's verifier, or invents one.
func (s *SCRAM) credentials(claimed string) (scram.StoredCredentials, error) {
	if claimed == "" {
		return scram.StoredCredentials{}, errors.New("the user name is empty")
	}
	v := FakeVerifier(s.mechanism, claimed, s.fakeKey)
	s.user = claimed
	if name, err := Normalize(claimed); err == nil {
		s.user = name
		v = FakeVerifier(s.mechanism, name, s.fakeKey)
		found, ok := s.lookup(name)
		if ok && found.Mechanism == s.mechanism && found.check() == nil {
			v, s.known = found, true
		}
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(v.Salt), Iters: v.Iterations},
		StoredKey:  v.StoredKey,
		ServerKey:  v.ServerKey,
	}, nil
}

// FakeVerifier is the verifier of a user who does not exist: a stable salt of
// the usual length, the usual iterations, and keys that no password leads to.
// It is all zero for an unknown mechanism. A plain login of an unknown user is
// checked against one too, so that the refusal takes as long as any other.
// fakeKey is as for [NewSCRAM].
func FakeVerifier(mechanism, user string, fakeKey []byte) Verifier {
	h := newHash(mechanism)
	if h == nil {
		return Verifier{}
	}
	tagged := func(tag string) []byte {
		return mac(sha256.New, fakeKey, tag+"\x00"+mechanism+"\x00"+user)
	}
	key := tagged(fakeKeyTag)[:h().Size()]
	return Verifier{
		Mechanism:  mechanism,
		Iterations: defaultIterations(mechanism),
		Salt:       tagged(fakeSaltTag)[:saltBytes],
		StoredKey:  key,
		ServerKey:  key,
	}
}

func (s *SCRAM) nonce() (string, error) {
	var b [nonceBytes]byte
	if _, err := io.ReadFull(s.rand, b[:]); err != nil {
		return "", fmt.Errorf("reading a random nonce: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b[:]), nil
}

// goodNonce checks the client's part of "r=<client><server>,..." as RFC 5802
// §7 has it: one or more printable characters but the comma.
func goodNonce(serverFirst, server string) bool {
	both, _, _ := strings.Cut(strings.TrimPrefix(serverFirst, "r="), ",")
	client := strings.TrimSuffix(both, server)
	if client == "" {
		return false
	}
	return strings.IndexFunc(client, func(r rune) bool { return r < '!' || r > '~' }) < 0
}

package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
)

// The SASL mechanisms that a verifier can serve.
const (
	SHA1   = "SCRAM-SHA-1"   // RFC 5802
	SHA256 = "SCRAM-SHA-256" // RFC 7677
)

// Iteration counts of new verifiers. RFC 5802 §5.1 and RFC 7677 §4 both ask
// for at least 4096. SHA-1 stays at that floor: only old clients use it and
// many of them are phones that stretch the key in interpreted code. SHA-256
// takes 10000: a few milliseconds once for each login of a client or of this
// server, which [Remembered] then spares.
const (
	DefaultIterationsSHA1   = 4096
	DefaultIterationsSHA256 = 10000

	// MinIterations is the floor for every verifier, stored or new.
	MinIterations = 4096
	// MaxIterations bounds what one login may cost: about a second.
	MaxIterations = 1_000_000
)

const (
	saltBytes    = 16
	minSaltBytes = 8
	maxSaltBytes = 64
	maxVerifier  = 512 // bytes of the text form
)

// Verifier is what is kept of a password: enough to check a SCRAM proof or a
// plain login, not enough to log in with (RFC 5802 §9). It serves one
// mechanism. Treat it as read-only.
type Verifier struct {
	Mechanism  string // SHA1 or SHA256
	Iterations int    // rounds of PBKDF2
	Salt       []byte
	StoredKey  []byte
	ServerKey  []byte
}

// NewVerifier makes a verifier for the mechanism with a fresh salt from rand.
// iterations 0 takes the mechanism's default. Errors wrap [ErrMechanism],
// [ErrBadPassword], [ErrBadVerifier] (iterations out of range), or are those
// of rand.
func NewVerifier(mechanism, password string, rand io.Reader, iterations int) (Verifier, error) {
	if newHash(mechanism) == nil {
		return Verifier{}, fmt.Errorf("%w: %q", ErrMechanism, mechanism)
	}
	if iterations == 0 {
		iterations = defaultIterations(mechanism)
	}
	if err := checkIterations(iterations); err != nil {
		return Verifier{}, err
	}
	prepared, err := preparePassword(password)
	if err != nil {
		return Verifier{}, err
	}
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return Verifier{}, fmt.Errorf("reading a random salt: %w", err)
	}
	v := Verifier{Mechanism: mechanism, Iterations: iterations, Salt: salt}
	v.StoredKey, v.ServerKey, err = v.derive(prepared)
	return v, err
}

// CheckPlain reports whether password is the one the verifier was made from.
// The comparison takes constant time; the call costs Iterations rounds of
// PBKDF2, see [Remembered].
func (v Verifier) CheckPlain(password string) bool {
	if v.check() != nil {
		return false
	}
	prepared, err := preparePassword(password)
	if err != nil {
		return false
	}
	stored, _, err := v.derive(prepared)
	return err == nil && hmac.Equal(stored, v.StoredKey)
}

// derive computes the two stored keys of a prepared password, RFC 5802 §3.
func (v Verifier) derive(prepared string) (storedKey, serverKey []byte, err error) {
	h := newHash(v.Mechanism)
	salted, err := pbkdf2.Key(h, prepared, v.Salt, v.Iterations, h().Size())
	if err != nil {
		return nil, nil, fmt.Errorf("stretching the password: %w", err)
	}
	digest := h()
	digest.Write(mac(h, salted, "Client Key"))
	return digest.Sum(nil), mac(h, salted, "Server Key"), nil
}

// String names the verifier without its keys, so that none reaches a log.
func (v Verifier) String() string {
	return fmt.Sprintf("%s verifier (%d iterations)", v.Mechanism, v.Iterations)
}

// MarshalText writes the RFC 5803 form:
// SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, in base64.
func (v Verifier) MarshalText() ([]byte, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	b64 := base64.StdEncoding
	b := make([]byte, 0, 160)
	b = append(b, v.Mechanism...)
	b = append(b, '$')
	b = strconv.AppendInt(b, int64(v.Iterations), 10)
	b = append(b, ':')
	b = b64.AppendEncode(b, v.Salt)
	b = append(b, '$')
	b = b64.AppendEncode(b, v.StoredKey)
	b = append(b, ':')
	return b64.AppendEncode(b, v.ServerKey), nil
}

// UnmarshalText is [ParseVerifier] for encoders.
func (v *Verifier) UnmarshalText(text []byte) error {
	parsed, err := ParseVerifier(string(text))
	if err != nil {
		return err
	}
	*v = parsed
	return nil
}

// ParseVerifier reads the form that MarshalText writes, and no other spelling
// of it. Errors wrap [ErrBadVerifier] and never quote a key.
func ParseVerifier(text string) (Verifier, error) {
	if len(text) > maxVerifier {
		return Verifier{}, fmt.Errorf("%w: it is longer than %d bytes", ErrBadVerifier, maxVerifier)
	}
	parts := strings.Split(text, "$")
	if len(parts) != 3 {
		return Verifier{}, fmt.Errorf("%w: want MECHANISM$ITERATIONS:SALT$STOREDKEY:SERVERKEY", ErrBadVerifier)
	}
	iterations, salt, _ := strings.Cut(parts[1], ":")
	stored, server, _ := strings.Cut(parts[2], ":")
	n, err := strconv.Atoi(iterations)
	if err != nil {
		return Verifier{}, fmt.Errorf("%w: the iteration count is not a number", ErrBadVerifier)
	}
	v := Verifier{Mechanism: parts[0], Iterations: n}
	for _, field := range []struct {
		name string
		text string
		into *[]byte
	}{{"salt", salt, &v.Salt}, {"stored key", stored, &v.StoredKey}, {"server key", server, &v.ServerKey}} {
		if *field.into, err = base64.StdEncoding.Strict().DecodeString(field.text); err != nil {
			return Verifier{}, fmt.Errorf("%w: the %s is not base64", ErrBadVerifier, field.name)
		}
	}
	if err := v.check(); err != nil {
		return Verifier{}, err
	}
	// One verifier has one text, so that texts can be compared.
	if canonical, _ := v.MarshalText(); string(canonical) != text {
		return Verifier{}, fmt.Errorf("%w: it is not written in its canonical form", ErrBadVerifier)
	}
	return v, nil
}

// check reports the first thing that makes v unusable.
func (v Verifier) check() error {
	h := newHash(v.Mechanism)
	if h == nil {
		return fmt.Errorf("%w: unknown mechanism %q", ErrBadVerifier, v.Mechanism)
	}
	if err := checkIterations(v.Iterations); err != nil {
		return err
	}
	if len(v.Salt) < minSaltBytes || len(v.Salt) > maxSaltBytes {
		return fmt.Errorf("%w: the salt has %d bytes, want %d to %d", ErrBadVerifier, len(v.Salt), minSaltBytes, maxSaltBytes)
	}
	if size := h().Size(); len(v.StoredKey) != size || len(v.ServerKey) != size {
		return fmt.Errorf("%w: a key of %s has %d bytes, not %d and %d", ErrBadVerifier, v.Mechanism, size, len(v.StoredKey), len(v.ServerKey))
	}
	return nil
}

func checkIterations(n int) error {
	if n < MinIterations || n > MaxIterations {
		return fmt.Errorf("%w: %d iterations, want %d to %d", ErrBadVerifier, n, MinIterations, MaxIterations)
	}
	return nil
}

// newHash returns the mechanism's hash, or nil for an unknown mechanism.
func newHash(mechanism string) func() hash.Hash {
	switch mechanism {
	case SHA1:
		return sha1.New
	case SHA256:
		return sha256.New
	}
	return nil
}

func defaultIterations(mechanism string) int {
	if mechanism == SHA1 {
		return DefaultIterationsSHA1
	}
	return DefaultIterationsSHA256
}

func mac(h func() hash.Hash, key []byte, text string) []byte {
	m := hmac.New(h, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

package auth

import "errors"

// The sentinels of this package. Each error returned wraps exactly one of
// them and adds, in words meant for a person, what is wrong.
var (
	// ErrBadName: the account name cannot be normalised or is not allowed.
	ErrBadName = errors.New("bad account name")
	// ErrBadPassword: the password is empty, too long or cannot be prepared.
	ErrBadPassword = errors.New("bad password")
	// ErrBadVerifier: a stored verifier does not parse or is out of range.
	ErrBadVerifier = errors.New("bad verifier")
	// ErrBadAccount: an account row does not decode or is out of range.
	ErrBadAccount = errors.New("bad account row")
	// ErrBadRule: an access rule does not parse.
	ErrBadRule = errors.New("bad access rule")
	// ErrMechanism: the SASL mechanism is not one this package speaks.
	ErrMechanism = errors.New("unknown SASL mechanism")
	// ErrMalformed: the peer's message does not follow the mechanism's grammar.
	ErrMalformed = errors.New("malformed login message")
	// ErrNotAuthorized: the user is unknown or the proof is wrong. The two are
	// never told apart.
	ErrNotAuthorized = errors.New("wrong user name or password")
	// ErrAuthzID: the peer asked to act for somebody else.
	ErrAuthzID = errors.New("may not act for another account")
	// ErrForbidden: the access rules refuse the topic or filter.
	ErrForbidden = errors.New("forbidden")
)

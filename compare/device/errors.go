package device

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrUnreachable: nothing answers at the address.
	ErrUnreachable = errors.New("not reachable")
	// ErrNotAuthorized: the server knows what is wanted, and refuses it to this user.
	ErrNotAuthorized = errors.New("not authorized")
	// ErrNoAnswer: the server did not answer in time.
	ErrNoAnswer = errors.New("no answer")
	// ErrClosed: the connection has ended, by either side.
	ErrClosed = errors.New("the connection is closed")
	// ErrProtocol: the server sent what its protocol does not allow there.
	ErrProtocol = errors.New("the server broke the protocol")
)

// Refusal is a "no" of the server. It wraps ErrNotAuthorized when that was the reason.
type Refusal struct {
	What   string // what was asked for: "connect", "publish to plant/1"
	Code   string // the server's answer in its protocol's terms: "0x87", "not-authorized"
	Text   string // what the server, or the standard, says about the code; may be empty
	Denied bool   // it was refused to this user, not to everybody
}

// Error implements error.
func (r *Refusal) Error() string {
	if r.Text == "" || r.Text == r.Code {
		return fmt.Sprintf("%s: the server answered %s", r.What, r.Code)
	}
	return fmt.Sprintf("%s: the server answered %s (%s)", r.What, r.Code, r.Text)
}

// Unwrap makes errors.Is(err, ErrNotAuthorized) true for a denial.
func (r *Refusal) Unwrap() error {
	if r.Denied {
		return ErrNotAuthorized
	}
	return nil
}

// deniedConditions are the XMPP conditions (stanza, SASL) that mean "not you".
const deniedConditions = " not-authorized forbidden registration-required account-disabled credentials-expired invalid-authzid "

func refused(what, condition, text string) *Refusal {
	return &Refusal{What: what, Code: condition, Text: text, Denied: strings.Contains(deniedConditions, " "+condition+" ")}
}

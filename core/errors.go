package core

import (
	"errors"
	"fmt"
)

// The errors that a front maps to its reason codes and stanza errors.
var (
	ErrBusy          = errors.New("the journal's queue is full")                    // 0x97, resource-constraint
	ErrGone          = errors.New("the journal no longer has it")                   // a counter
	ErrExists        = errors.New("it exists already")                              // conflict
	ErrNotFound      = errors.New("there is no such thing")                         // item-not-found
	ErrStopped       = errors.New("the hub is stopping")                            // 0x8B, system-shutdown
	ErrForbidden     = errors.New("not authorized")                                 // 0x87, forbidden
	ErrNotAuthorized = errors.New("the name or the password is wrong")              // 0x86, not-authorized
	ErrTakenOver     = errors.New("another connection took the session")            // 0x8E, conflict
	ErrEnded         = errors.New("the operator or the account's removal ended it") // 0x98, not-authorized
	ErrBadTopic      = errors.New("the topic or filter is not valid")               // 0x90 or 0x8F, jid-malformed
	ErrFull          = errors.New("the disk is full")                               // 0x97, resource-constraint
	ErrUnavailable   = errors.New("the journal cannot be written")                  // 0x88, internal-server-error
	ErrQuota         = errors.New("a limit of the session is reached")              // 0x97, policy-violation
	ErrPacketInUse   = errors.New("the packet identifier is in use")                // 0x91
	ErrUnsupported   = errors.New("the hub does not do this")                       // 0x83, feature-not-implemented

	// Of direct messages, both ErrForbidden.
	ErrBlocked  = fmt.Errorf("%w: the sender has blocked the receiver", ErrForbidden) // not-acceptable, XEP-0191
	ErrUnwanted = fmt.Errorf("%w: the receiver has blocked the sender", ErrForbidden) // service-unavailable
)

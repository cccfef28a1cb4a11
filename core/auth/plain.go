package auth

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// maxPlain bounds a PLAIN message: an address, a name and a password.
const maxPlain = 4096

// ParsePlain splits the message of SASL PLAIN, RFC 4616 §2:
// [authzid] NUL user NUL password. The user is as the client wrote it; see
// [Normalize] and [AuthzIs]. Errors wrap [ErrMalformed] and never quote the
// message.
func ParsePlain(b []byte) (authzid, user, password string, err error) {
	if len(b) > maxPlain {
		return "", "", "", fmt.Errorf("%w: PLAIN message of %d bytes, at most %d are read", ErrMalformed, len(b), maxPlain)
	}
	if !utf8.Valid(b) {
		return "", "", "", fmt.Errorf("%w: PLAIN message is not valid UTF-8", ErrMalformed)
	}
	parts := bytes.Split(b, []byte{0})
	if len(parts) != 3 {
		return "", "", "", fmt.Errorf("%w: PLAIN message has %d fields, want authzid, user and password", ErrMalformed, len(parts))
	}
	if len(parts[1]) == 0 {
		return "", "", "", fmt.Errorf("%w: PLAIN message has no user name", ErrMalformed)
	}
	if len(parts[2]) == 0 {
		return "", "", "", fmt.Errorf("%w: PLAIN message has no password", ErrMalformed)
	}
	return string(parts[0]), string(parts[1]), string(parts[2]), nil
}

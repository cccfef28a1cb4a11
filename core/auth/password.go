package auth

import (
	"fmt"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
	"golang.org/x/text/secure/precis"
)

// MaxPassword is the longest password accepted, in bytes of UTF-8.
const MaxPassword = 1024

// preparePassword brings a password to the form that is hashed. SCRAM clients
// prepare with SASLprep (RFC 5802 §5.1), which knows only Unicode 3.2 and so
// refuses emoji and newer scripts; those fall back to OpaqueString
// (RFC 8265 §4.2), which agrees with SASLprep on all but compatibility
// characters. Errors wrap [ErrBadPassword] and never quote the password.
func preparePassword(password string) (string, error) {
	if len(password) == 0 {
		return "", fmt.Errorf("%w: it is empty", ErrBadPassword)
	}
	if len(password) > MaxPassword {
		return "", fmt.Errorf("%w: it is longer than %d bytes", ErrBadPassword, MaxPassword)
	}
	if !utf8.ValidString(password) {
		return "", fmt.Errorf("%w: it is not valid UTF-8", ErrBadPassword)
	}
	if prepared, err := stringprep.SASLprep.Prepare(password); err == nil && prepared != "" {
		return prepared, nil
	}
	prepared, err := precis.OpaqueString.String(password)
	if err != nil || prepared == "" {
		return "", fmt.Errorf("%w: it holds a character that passwords may not have", ErrBadPassword)
	}
	return prepared, nil
}

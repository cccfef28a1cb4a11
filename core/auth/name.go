package auth

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/secure/precis"
)

// MaxName is the longest normalised account name, in bytes of UTF-8.
const MaxName = 255

// maxRawName bounds what is handed to PRECIS: mapping may shorten a name, so
// a little above MaxName is let in, but never an unbounded string.
const maxRawName = 4 * MaxName

// Normalize returns the one spelling of an account name. MQTT user names and
// XMPP localparts both pass here, so that one person is one account through
// either door. The result is a fixed point: Normalize(Normalize(x)) is
// Normalize(x). Errors wrap [ErrBadName].
func Normalize(name string) (string, error) {
	if plainName(name) {
		return name, nil
	}
	if len(name) == 0 {
		return "", fmt.Errorf("%w: it is empty", ErrBadName)
	}
	if len(name) > maxRawName {
		return "", fmt.Errorf("%w: it is %d bytes long, at most %d are allowed", ErrBadName, len(name), MaxName)
	}
	// RFC 7622 §3.3.1, RFC 8265 §3.3: UsernameCaseMapped.
	mapped, err := precis.UsernameCaseMapped.String(name)
	if err != nil {
		return "", fmt.Errorf("%w: %q holds a character or a mix of directions that user names may not have (%w)", ErrBadName, name, err)
	}
	if err := checkName(mapped); err != nil {
		return "", err
	}
	return mapped, nil
}

// plainName reports whether name is its own normal form without asking
// PRECIS: most device names are, and logins come in storms.
func plainName(name string) bool {
	if len(name) == 0 || len(name) > MaxName {
		return false
	}
	for i := range len(name) {
		c := name[i]
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
		if !plain {
			return false
		}
	}
	return true
}

// checkName applies what is refused after PRECIS mapping.
func checkName(name string) error {
	if len(name) == 0 {
		return fmt.Errorf("%w: it is empty", ErrBadName)
	}
	if len(name) > MaxName {
		return fmt.Errorf("%w: it is %d bytes long, at most %d are allowed", ErrBadName, len(name), MaxName)
	}
	// RFC 7622 §3.3.1: excluded from localparts. The slash would also add an
	// MQTT topic level.
	if i := strings.IndexAny(name, "\"&'/:<>@"); i >= 0 {
		return fmt.Errorf("%w: %q holds %q, which XMPP addresses may not have before the @", ErrBadName, name, name[i])
	}
	// An account is a topic level ($inbox/<account>/...), so it must never
	// read as a wildcard. [MQTT-4.7.1-1]
	if i := strings.IndexAny(name, "+#"); i >= 0 {
		return fmt.Errorf("%w: %q holds %q, which is an MQTT wildcard", ErrBadName, name, name[i])
	}
	if name[0] == '$' {
		return fmt.Errorf("%w: %q begins with $, which is kept for the server", ErrBadName, name)
	}
	return nil
}

// AuthzIs reports whether an authorization identity names the user who logs
// in: it is empty, the account name itself, or, for the given domains, its
// bare address account@domain (RFC 6120 §6.3.8). user is normalised.
func AuthzIs(authzid, user string, domains ...string) bool {
	if authzid == "" {
		return true
	}
	local, domain, bare := strings.Cut(authzid, "@")
	if bare && !slices.ContainsFunc(domains, func(d string) bool { return strings.EqualFold(d, domain) }) {
		return false
	}
	name, err := Normalize(local)
	return err == nil && name == user
}

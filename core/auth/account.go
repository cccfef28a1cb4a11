package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// MaxAccountRow is the largest encoded account, in bytes. It keeps a row with
// its key well inside one bus message of 1 MiB.
const MaxAccountRow = 512 << 10

// accountVersion is written in each row. It rises whenever an older reader
// would lose something by reading and rewriting the row.
const accountVersion = 1

// Account is one user: a name, what checks their password, and their roster.
type Account struct {
	Name      string             // normalised, see [Normalize]
	Verifiers []Verifier         // at most one for each mechanism; none: cannot log in by password
	Created   int64              // Unix time in milliseconds
	Contacts  map[string]Contact // the roster, by the contact's bare address; never nil once decoded
	Blocked   map[Peer]bool      // whom the user has blocked; all true, nil when that is nobody once decoded
}

// Contact is one roster item with its subscription state, RFC 6121 §2.1 and
// appendix A.
type Contact struct {
	Account   string   `json:"-"`                   // the contact's bare address: the key in Account.Contacts
	Name      string   `json:"name,omitempty"`      // what the user calls the contact
	Groups    []string `json:"groups,omitempty"`    // roster groups
	To        bool     `json:"to,omitempty"`        // the user sees the contact's presence
	From      bool     `json:"from,omitempty"`      // the contact sees the user's presence
	Ask       bool     `json:"ask,omitempty"`       // the user asked and waits: ask='subscribe'
	PendingIn bool     `json:"pendingIn,omitempty"` // the contact asked and waits
	Approved  bool     `json:"approved,omitempty"`  // pre-approved, RFC 6121 §3.4
	Listed    bool     `json:"listed,omitempty"`    // the user put it in the roster
}

// Subscription is the roster attribute: "none", "to", "from" or "both"
// (RFC 6121 §2.1.2.5).
func (c Contact) Subscription() string {
	switch {
	case c.To && c.From:
		return "both"
	case c.To:
		return "to"
	case c.From:
		return "from"
	}
	return "none"
}

// NewAccount makes an account with a verifier for each mechanism, at their
// default cost. created is Unix time in milliseconds. Errors are those of
// [Normalize] and [NewVerifier].
func NewAccount(name, password string, created int64, rand io.Reader) (Account, error) {
	normal, err := Normalize(name)
	if err != nil {
		return Account{}, err
	}
	a := Account{Name: normal, Created: created, Contacts: map[string]Contact{}}
	if err := a.SetPassword(password, rand); err != nil {
		return Account{}, err
	}
	return a, nil
}

// SetPassword replaces the verifiers. On an error the account is unchanged.
func (a *Account) SetPassword(password string, rand io.Reader) error {
	fresh := make([]Verifier, 0, 2)
	for _, mechanism := range []string{SHA256, SHA1} {
		v, err := NewVerifier(mechanism, password, rand, 0)
		if err != nil {
			return err
		}
		fresh = append(fresh, v)
	}
	a.Verifiers = fresh
	return nil
}

// Verifier returns the account's verifier for a mechanism.
func (a Account) Verifier(mechanism string) (Verifier, bool) {
	for _, v := range a.Verifiers {
		if v.Mechanism == mechanism {
			return v, true
		}
	}
	return Verifier{}, false
}

// PlainVerifier returns the verifier to check a plain login against: the one
// with the fewest iterations, since all of them come from one password and
// whoever stole the row would attack that one as well.
func (a Account) PlainVerifier() (Verifier, bool) {
	if len(a.Verifiers) == 0 {
		return Verifier{}, false
	}
	cheapest := a.Verifiers[0]
	for _, v := range a.Verifiers[1:] {
		if v.Iterations < cheapest.Iterations {
			cheapest = v
		}
	}
	return cheapest, true
}

// accountRow is the stored JSON.
type accountRow struct {
	Version   int                `json:"v"`
	Name      string             `json:"name"`
	Verifiers []Verifier         `json:"verifiers,omitempty"`
	Created   int64              `json:"created"`
	Contacts  map[string]Contact `json:"contacts,omitempty"`
	Blocked   []Peer             `json:"blocked,omitempty"` // a reader without it refuses the row
}

// EncodeAccount writes the row that [DecodeAccount] reads. Errors wrap
// [ErrBadAccount].
func EncodeAccount(a Account) ([]byte, error) {
	row := accountRow{Version: accountVersion, Name: a.Name, Verifiers: a.Verifiers, Created: a.Created, Contacts: a.Contacts, Blocked: a.BlockedPeers()}
	if err := row.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(row)
	if err != nil {
		return nil, fmt.Errorf("%w: encoding %q: %w", ErrBadAccount, a.Name, err)
	}
	if len(b) > MaxAccountRow {
		return nil, fmt.Errorf("%w: %q takes %d bytes, at most %d fit; its roster of %d contacts is too large",
			ErrBadAccount, a.Name, len(b), MaxAccountRow, len(a.Contacts))
	}
	return b, nil
}

// DecodeAccount reads a row. A row of a newer version, or with a field that
// this version does not know, is an error: rewriting it would lose data.
// Errors wrap [ErrBadAccount].
func DecodeAccount(b []byte) (Account, error) {
	if len(b) > MaxAccountRow {
		return Account{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrBadAccount, len(b), MaxAccountRow)
	}
	var head struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return Account{}, fmt.Errorf("%w: %w", ErrBadAccount, err)
	}
	if head.Version != accountVersion {
		return Account{}, fmt.Errorf("%w: it has version %d, this server reads version %d", ErrBadAccount, head.Version, accountVersion)
	}
	var row accountRow
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&row); err != nil {
		return Account{}, fmt.Errorf("%w: %w", ErrBadAccount, err)
	}
	if err := row.check(); err != nil {
		return Account{}, err
	}
	if row.Contacts == nil {
		row.Contacts = map[string]Contact{}
	}
	return Account{
		Name: row.Name, Verifiers: row.Verifiers, Created: row.Created, Contacts: row.Contacts, Blocked: peerSet(row.Blocked),
	}, nil
}

// check holds a row to what the rest of the server relies on.
func (r accountRow) check() error {
	normal, err := Normalize(r.Name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadAccount, err)
	}
	if normal != r.Name {
		return fmt.Errorf("%w: the name %q is not normalised, want %q", ErrBadAccount, r.Name, normal)
	}
	seen := map[string]bool{}
	for _, v := range r.Verifiers {
		if seen[v.Mechanism] {
			return fmt.Errorf("%w: %q has two verifiers for %s", ErrBadAccount, r.Name, v.Mechanism)
		}
		seen[v.Mechanism] = true
	}
	return nil
}

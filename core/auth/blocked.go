package auth

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Everybody, as the account of a [Peer], stands for all accounts of this server.
// With a name behind it, it stands for the domain of that name.
const Everybody = "@"

// Peer is whom an account may block: an account with all its devices (named as in
// the roster), one of its devices, or a domain, see [Everybody].
type Peer struct {
	Account  string `json:"account"`
	Resource string `json:"resource,omitempty"` // "": whatever it is
}

// Blocks reports whether the account has blocked another, or the one device of it
// that resource names. Nobody blocks themselves. It does not allocate.
func (a *Account) Blocks(account, resource string) bool {
	if len(a.Blocked) == 0 || account == a.Name {
		return false
	}
	if a.Blocked[Peer{Account: account}] || resource != "" && a.Blocked[Peer{account, resource}] {
		return true
	}
	return a.Blocked[Peer{Account: Everybody}] && !strings.Contains(account, "@")
}

// BlocksSomeDevice reports whether the account has blocked single devices of another.
func (a *Account) BlocksSomeDevice(account string) bool {
	for p := range a.Blocked {
		if p.Account == account && p.Resource != "" {
			return true
		}
	}
	return false
}

// BlockedPeers lists whom the account has blocked, in order.
func (a *Account) BlockedPeers() []Peer {
	return slices.SortedFunc(maps.Keys(a.Blocked), func(p, q Peer) int {
		return cmp.Or(strings.Compare(p.Account, q.Account), strings.Compare(p.Resource, q.Resource))
	})
}

// peerSet is what BlockedPeers lists as a set; nil when nobody is blocked.
func peerSet(peers []Peer) map[Peer]bool {
	if len(peers) == 0 {
		return nil
	}
	set := make(map[Peer]bool, len(peers))
	for _, p := range peers {
		set[p] = true
	}
	return set
}

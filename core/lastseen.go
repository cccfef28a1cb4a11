package core

import (
	"fmt"
	"time"
)

// MayWatch reports whether an account may see another's presence, and what tells
// as much. Nobody may see that of an account that does not exist.
func (r *Router) MayWatch(viewer, account string) bool {
	return r.accounts.exists(account) && r.accounts.mayWatch(viewer, account)
}

// LastSeen is how long ago the last of an account's devices went; 0 while one is
// there. ErrForbidden: the viewer may not know.
//
// Of devices that take what comes for their account the hub keeps it; of others
// it is known until the hub stops.
func (r *Router) LastSeen(viewer, account string) (time.Duration, error) {
	if !r.MayWatch(viewer, account) {
		return 0, fmt.Errorf("%w: %s does not see %s", ErrForbidden, viewer, account)
	}
	r.people.Lock()
	here, at := r.people.devices.Count(account) > 0, r.people.left[account]
	r.people.Unlock()
	if s := r.session(Address{Account: account}); s != nil {
		s.mu.Lock()
		at = max(at, s.state.Detached)
		s.mu.Unlock()
	}
	if here || at == 0 {
		return 0, nil
	}
	return max(0, time.Duration(r.now()-at)*time.Millisecond), nil
}

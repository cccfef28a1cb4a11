package core

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"pushhub/core/auth"
	"pushhub/core/journal"
	"pushhub/core/session"
)

// Anonymous is the account of MQTT clients without a user name. It has no inbox,
// no roster and no presence, and nobody can register it.
const Anonymous = "anonymous"

// Contact is one entry of an account's roster.
type Contact = auth.Contact

// accounts are all the accounts, in memory; each change is stored before it shows.
type accounts struct {
	change sync.Mutex // held while a change is stored, so that changes do not cross
	slots  chan struct{}
	known  *auth.Remembered
	tries  *auth.Tries
	fake   []byte // keys the verifiers of accounts that do not exist

	rights   atomic.Uint64 // rises when somebody may receive more or less than before
	blocking atomic.Int64  // how many accounts block somebody

	mu sync.RWMutex // guards m; the accounts in it are replaced, never changed
	m  map[string]*auth.Account
}

func newAccounts(delay time.Duration) *accounts {
	known, err := auth.NewRemembered(rand.Reader, 1<<16)
	if err != nil {
		panic(err) // the system has no randomness
	}
	a := &accounts{m: map[string]*auth.Account{}, known: known, tries: auth.NewTries(delay), slots: make(chan struct{}, runtime.GOMAXPROCS(0)), fake: make([]byte, 32)}
	_, _ = rand.Read(a.fake) // it never fails: crypto/rand
	return a
}

func (a *accounts) load(row Row) error {
	acct, err := auth.DecodeAccount(row.Value)
	if err != nil {
		return err
	}
	a.set(acct.Name, &acct)
	return nil
}

func (a *accounts) get(name string) *auth.Account {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.m[name]
}

// verifier is what a plain login is checked against; that of an unknown account
// takes as long to fail as any other.
func (a *accounts) verifier(name string) (v auth.Verifier, ok bool) {
	if acct := a.get(name); acct != nil {
		v, ok = acct.PlainVerifier()
	}
	if !ok {
		v = auth.FakeVerifier(auth.SHA1, name, a.fake)
	}
	return v, ok
}

func (a *accounts) exists(name string) bool { return a.get(name) != nil }

func (a *accounts) set(name string, acct *auth.Account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rights.Add(1)
	if old := a.m[name]; old != nil && len(old.Blocked) > 0 {
		a.blocking.Add(-1)
	}
	if acct != nil && len(acct.Blocked) > 0 {
		a.blocking.Add(1)
	}
	if acct == nil {
		delete(a.m, name)
		return
	}
	a.m[name] = acct
}

// mayWatch reports whether an account may see another's presence.
func (a *accounts) mayWatch(watcher, account string) bool {
	if watcher == account {
		return true
	}
	acct := a.get(account)
	return acct != nil && acct.Contacts[watcher].From && !a.apart(Address{Account: watcher}, Address{Account: account})
}

// Account reports whether an account exists.
func (r *Router) Account(name string) bool { return r.accounts.exists(name) }

// AccountNames lists the accounts in no order.
func (r *Router) AccountNames() []string {
	r.accounts.mu.RLock()
	defer r.accounts.mu.RUnlock()
	names := make([]string, 0, len(r.accounts.m))
	for name := range r.accounts.m {
		names = append(names, name)
	}
	return names
}

// Vouched is the account of a client whose name somebody else has checked, such
// as who signs certificates. The error is ErrForbidden when there is no such account.
func (r *Router) Vouched(name string) (account string, err error) {
	account, err = auth.Normalize(name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	if !r.accounts.exists(account) {
		return "", fmt.Errorf("%w: there is no account %q", ErrForbidden, account)
	}
	return account, nil
}

// later runs costly or waiting work on its own goroutine, as many at once as there are processors.
func (r *Router) later(ctx context.Context, work func() error, failed func(error)) {
	go func() {
		select {
		case r.accounts.slots <- struct{}{}:
		case <-ctx.Done():
			failed(ctx.Err())
			return
		}
		err := work()
		<-r.accounts.slots
		if err != nil {
			failed(err)
		}
	}()
}

// Verifier finds what a SCRAM login of an account is checked against.
func (r *Router) Verifier(name, mechanism string) (auth.Verifier, bool) {
	account, err := auth.Normalize(name)
	if err != nil {
		return auth.Verifier{}, false
	}
	acct := r.accounts.get(account)
	if acct == nil {
		return auth.Verifier{}, false
	}
	return acct.Verifier(mechanism)
}

// Register creates an account and its inbox; done is called on another
// goroutine when both are durable. Errors: ErrExists, auth.ErrBadName, auth.ErrBadPassword.
func (r *Router) Register(name, password string, done func(account string, err error)) {
	r.later(context.Background(), func() error {
		acct, err := auth.NewAccount(name, password, r.now(), rand.Reader)
		if err != nil {
			return err
		}
		if acct.Name == Anonymous {
			return fmt.Errorf("%w: %q is the name of clients without one", ErrExists, Anonymous)
		}
		row, err := accountRow(&acct)
		if err != nil {
			return err
		}
		r.accounts.change.Lock()
		defer r.accounts.change.Unlock()
		if err := r.opt.Rows.Create(context.Background(), BucketAccounts, row); err != nil {
			return fmt.Errorf("creating the account %q: %w", acct.Name, err)
		}
		r.accounts.set(acct.Name, &acct)
		return r.openInbox(acct.Name, true, func(err error) { done(acct.Name, err) })
	}, func(err error) { done("", err) })
}

func accountRow(acct *auth.Account) (Row, error) {
	b, err := auth.EncodeAccount(*acct)
	return Row{Key: acct.Name, Value: b}, err
}

// openInbox gives an account its own session, which keeps messages to it while
// none of its devices is there; a fresh one holds nothing of an earlier account of
// that name. done is called when that is durable.
func (r *Router) openInbox(account string, fresh bool, done func(error)) error {
	addr := Address{Account: account}
	claim := journal.Record{Kind: journal.KindClaim, Body: appendClaim(nil, claim{clean: fresh})}
	if err := r.append(&claim, addr, nil, func(journal.Position, error) {}); err != nil {
		return err
	}
	sub := journal.Record{Kind: journal.KindSub, Body: session.AppendSub(nil, InboxFilter(account), session.Options{QoS: 1})}
	return r.append(&sub, addr, nil, func(_ journal.Position, err error) {
		r.changed()
		done(err)
	})
}

// openInboxes mends accounts whose inbox was not opened before a crash, and
// notes for every session that its device is away.
func (r *Router) openInboxes() {
	now := r.now()
	for _, s := range r.durableSessions() {
		s.mu.Lock()
		if s.state.Detached == 0 {
			s.state.Detached = now
		}
		s.mu.Unlock()
	}
	for _, name := range r.AccountNames() {
		if s := r.session(Address{Account: name}); s != nil && s.has(InboxFilter(name)) {
			continue
		}
		err := r.openInbox(name, false, func(error) {})
		if err != nil {
			r.log.Error("opening an inbox", "account", name, "err", err)
		}
	}
}

// ChangePassword sets an account's password. Errors: ErrNotFound, auth.ErrBadPassword.
func (r *Router) ChangePassword(account, password string, done func(err error)) {
	r.later(context.Background(), func() error {
		err := r.changeAccount(account, func(acct *auth.Account) error { return acct.SetPassword(password, rand.Reader) })
		if err == nil {
			done(nil)
		}
		return err
	}, done)
}

// changeAccount stores a changed copy of an account, then shows it.
func (r *Router) changeAccount(account string, change func(*auth.Account) error) error {
	r.accounts.change.Lock()
	defer r.accounts.change.Unlock()
	old := r.accounts.get(account)
	if old == nil {
		return fmt.Errorf("%w: there is no account %q", ErrNotFound, account)
	}
	acct := *old
	acct.Contacts = maps.Clone(old.Contacts)
	if acct.Contacts == nil {
		acct.Contacts = map[string]Contact{}
	}
	if err := change(&acct); err != nil {
		return err
	}
	row, err := accountRow(&acct)
	if err != nil {
		return err
	}
	if err := r.opt.Rows.Put(context.Background(), BucketAccounts, []Row{row}); err != nil {
		return fmt.Errorf("storing the account %q: %w", account, err)
	}
	r.accounts.set(account, &acct)
	r.changed()
	return nil
}

// RemoveAccount deletes an account, closes its devices and forgets its sessions.
func (r *Router) RemoveAccount(account string, done func(err error)) {
	r.later(context.Background(), func() error {
		if err := r.removeAccount(account); err != nil {
			return err
		}
		r.people.Lock()
		delete(r.people.left, account)
		r.people.Unlock()
		if err := r.forgetContact(account); err != nil {
			return err
		}
		var b Batch
		r.mu.RLock()
		var sessions []*Session
		for addr, s := range r.sessions {
			if addr.Account == account {
				sessions = append(sessions, s)
			}
		}
		r.mu.RUnlock()
		var failed []error
		for _, s := range sessions {
			s.close(&b, ErrEnded)
			if s.durable {
				failed = append(failed, r.append(&journal.Record{Kind: journal.KindEnd}, s.addr, nil, func(journal.Position, error) {}))
			}
		}
		b.Flush()
		if err := errors.Join(failed...); err != nil {
			return err
		}
		var own Batch
		r.barrier(&own, func(_ *Batch, err error) { done(err) })
		return nil
	}, done)
}

// forgetContact takes an account that is gone out of every roster: whoever gets
// its name next is somebody else.
func (r *Router) forgetContact(account string) error {
	for _, name := range r.AccountNames() {
		acct := r.accounts.get(name)
		if acct == nil {
			continue
		}
		if _, ok := acct.Contacts[account]; !ok {
			continue
		}
		err := r.changeAccount(name, func(acct *auth.Account) error {
			delete(acct.Contacts, account)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Router) removeAccount(account string) error {
	r.accounts.change.Lock()
	defer r.accounts.change.Unlock()
	if !r.accounts.exists(account) {
		return fmt.Errorf("%w: there is no account %q", ErrNotFound, account)
	}
	rows := append(r.documentRows(account), Row{Key: account}) // last: cut short, it is there to be removed again
	if err := r.opt.Rows.Put(context.Background(), BucketAccounts, rows); err != nil {
		return fmt.Errorf("deleting the account %q: %w", account, err)
	}
	r.documents.set(account, nil)
	r.accounts.set(account, nil)
	r.changed()
	return nil
}

package core

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"pushhub/core/auth"
)

// Login checks a name and a password that came from an address (see wire.Conn.From),
// and calls done with the account, on another goroutine. The error is
// ErrNotAuthorized; ErrQuota for one who has been wrong too often; or ctx's.
func (r *Router) Login(ctx context.Context, from netip.Addr, name, password string, done func(account string, err error)) {
	account, err := auth.Normalize(name)
	if err != nil {
		r.later(ctx, func() error { return fmt.Errorf("%w: %w", ErrNotAuthorized, err) }, func(err error) { done("", err) })
		return
	}
	l := login{r, from, account, password, done}
	l.start(ctx, l.begin)
}

// A login is one check of a password.
type login struct {
	r                 *Router
	from              netip.Addr
	account, password string
	done              func(account string, err error)
}

func (l login) start(ctx context.Context, work func(ctx context.Context) error) {
	l.r.later(ctx, func() error { return work(ctx) }, func(err error) { l.done("", err) })
}

// begin checks, or waits first. Whether it must is asked here, where few run at
// once, so that a flood of tries does not pass before the first has failed.
func (l login) begin(ctx context.Context) error {
	wait, err := l.r.Try(l.from, l.account)
	if err != nil {
		return err
	}
	if wait == 0 {
		return l.check(ctx)
	}
	go func() { // it gives its place to others meanwhile
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
			l.start(ctx, l.check)
		case <-ctx.Done():
			l.done("", ctx.Err())
		}
	}()
	return nil
}

func (l login) check(context.Context) error {
	accounts := l.r.accounts
	v, ok := accounts.verifier(l.account)
	ok = accounts.known.Check(l.account, v, l.password) && ok
	l.r.Tried(l.from, l.account, ok)
	if !ok {
		return ErrNotAuthorized
	}
	l.done(l.account, nil)
	return nil
}

// Try is asked before a front checks a login by itself: how long to wait before,
// or ErrQuota. What came of it must be told to Tried.
func (r *Router) Try(from netip.Addr, account string) (wait time.Duration, err error) {
	wait, ok := r.accounts.tries.Begin(from, account, time.Now())
	switch {
	case !ok:
		r.Counters.LoginsOverTried.Add(1)
		return 0, fmt.Errorf("%w: too many wrong passwords", ErrQuota)
	case wait > 0:
		r.Counters.LoginsDelayed.Add(1)
	}
	return wait, nil
}

// Tried notes whether the login was good.
func (r *Router) Tried(from netip.Addr, account string, good bool) {
	if good {
		r.accounts.tries.Passed(from, account)
	} else {
		r.accounts.tries.Failed(from, account, time.Now())
	}
}

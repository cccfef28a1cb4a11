package xmppfront

import (
	"errors"

	"pushhub/core"
	"pushhub/core/auth"
)

const nsRegister = "jabber:iq:register"

// registerEarly makes an account for who has none yet. XEP-0077 §3.1
func (e *engine) registerEarly(b *core.Batch, q *query) {
	switch {
	case !e.front.opt.Registration:
		e.refuse(b, q.answer, notAllowed) // XEP-0077 §3.1.1: not offered
		return
	case !e.showsPassword():
		e.refuse(b, q.answer, notAcceptable.says("registration needs TLS"))
		return
	case q.get:
		e.result(b, q.answer, []byte("<query xmlns='"+nsRegister+"'>"+
			"<instructions>Choose a user name and a password.</instructions><username/><password/></query>"))
		return
	}
	fields := formOf(q.child)
	user, password := e.localUser(fields["username"]), fields["password"]
	if user == "" || password == "" {
		e.refuse(b, q.answer, notAcceptable) // XEP-0077 §3.1.1: required information is missing
		return
	}
	a := q.answer
	done := e.await()
	e.front.router.Register(user, password, func(_ string, err error) {
		done(func(b *core.Batch) { e.registered(b, a, err) })
	})
}

func (e *engine) registered(b *core.Batch, a answer, err error) {
	if err == nil {
		e.front.counts.registrations.Add(1)
		e.result(b, a, nil)
	} else {
		e.refuse(b, a, registerFault(err))
	}
	// A connection is for one account; more are a flood.
	if e.attempts++; e.attempts >= maxAttempts {
		e.fail(b, errAttempts)
	}
}

func registerFault(err error) fault {
	switch {
	case errors.Is(err, core.ErrExists):
		return conflict // 409, which androidpn looks for; XEP-0077 §3.1.1
	case errors.Is(err, core.ErrForbidden), errors.Is(err, core.ErrUnsupported):
		return notAllowed
	case errors.Is(err, auth.ErrBadName):
		return notAcceptable.says("this user name cannot be used")
	case errors.Is(err, auth.ErrBadPassword):
		return notAcceptable.says("this password cannot be used")
	}
	return faultOf(err)
}

// registerLate changes the password of the account, or removes it. XEP-0077 §3.2, §3.3
func (e *engine) registerLate(b *core.Batch, q *query) {
	if q.get {
		p := []byte("<query xmlns='" + nsRegister + "'><registered/>")
		p = textElement(p, "username", e.account)
		e.result(b, q.answer, append(p, "<password/></query>"...))
		return
	}
	for c := range q.child.Children {
		if string(c.Name) == "remove" && string(c.Space) == nsRegister {
			e.unregister(b, q)
			return
		}
	}
	fields := formOf(q.child)
	name, err := auth.Normalize(e.localUser(fields["username"]))
	switch {
	case fields["username"] == "" || fields["password"] == "":
		e.refuse(b, q.answer, badRequest)
		return
	case err != nil || name != e.account:
		e.refuse(b, q.answer, notAllowed.says("this is not your account"))
		return
	case !e.showsPassword():
		e.refuse(b, q.answer, notAuthorized.says("a new password needs TLS")) // XEP-0077 §3.3
		return
	}
	a := q.answer
	done := e.await()
	e.front.router.ChangePassword(e.account, fields["password"], func(err error) {
		done(func(b *core.Batch) {
			if err != nil {
				e.refuse(b, a, registerFault(err))
				return
			}
			e.result(b, a, nil)
		})
	})
}

// unregister removes the account. The answer goes out first: the core then ends
// every stream of the account, this one too.
func (e *engine) unregister(b *core.Batch, q *query) {
	n := 0
	for range q.child.Children {
		n++
	}
	if n != 1 { // XEP-0077 §3.2.1
		e.refuse(b, q.answer, badRequest)
		return
	}
	e.result(b, q.answer, nil)
	done := e.await()
	e.front.router.RemoveAccount(e.account, func(err error) {
		done(func(b *core.Batch) {
			if err != nil {
				e.front.opt.Log.Error("removing an account at its own wish", "session", e.self.String(), "err", err)
				e.fail(b, errorWith{err, "the account could not be removed"})
				return
			}
			e.fail(b, errorWith{core.ErrEnded, "the account is removed"})
		})
	})
}

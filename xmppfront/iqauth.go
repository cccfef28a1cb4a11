package xmppfront

import (
	"pushhub/core"
	"pushhub/core/auth"
	"pushhub/xmppfront/framer"
)

const nsIQAuth = "jabber:iq:auth"

// iqAuth is the login of before SASL, XEP-0078: the only one that androidpn's
// client knows. There is no bind and no new stream after it.
//
// deviates: <digest/> is not offered, since it needs the plain password kept;
// clients then send <password/> (XEP-0078 §3.1).
func (e *engine) iqAuth(b *core.Batch, q *query) {
	if !e.showsPassword() {
		e.refuse(b, q.answer, notAcceptable.says("this login needs TLS"))
		return
	}
	fields := formOf(q.child)
	if q.get {
		p := []byte("<query xmlns='" + nsIQAuth + "'>")
		p = textElement(p, "username", fields["username"])
		e.result(b, q.answer, append(p, "<password/><resource/></query>"...))
		return
	}
	user, password := e.localUser(fields["username"]), fields["password"]
	if user == "" || password == "" || fields["resource"] == "" {
		e.refuse(b, q.answer, notAcceptable) // XEP-0078 §3.4: 406
		return
	}
	resource, err := newResource(fields["resource"])
	if err != nil {
		e.refuse(b, q.answer, notAcceptable)
		return
	}
	name, err := auth.Normalize(user)
	if err != nil {
		e.iqAuthFailed(b, q.answer)
		return
	}
	a := q.answer
	e.login(name, password, func(b *core.Batch, account string, err error) {
		if err != nil && saslCondition(err) != saslNotAuthorized {
			e.refuse(b, a, faultOf(err))
			e.failedLogin(b)
			return
		}
		if err != nil {
			e.iqAuthFailed(b, a)
			return
		}
		e.iqAuthBind(b, a, account, resource)
	})
}

// iqAuthFailed answers a wrong name or password with the code 401 that old
// clients look for. XEP-0078 §3.4
func (e *engine) iqAuthFailed(b *core.Batch, a answer) {
	e.refuse(b, a, notAuthorized)
	e.failedLogin(b)
}

func (e *engine) iqAuthBind(b *core.Batch, a answer, account, resource string) {
	e.account = account
	e.front.counts.logins.Add(1)
	e.attach(b, resource, nil, func(b *core.Batch, err error) {
		if err != nil {
			e.account = ""
			e.refuse(b, a, faultOf(err))
			return
		}
		e.result(b, a, nil)
	})
}

// formOf reads the fields of a legacy query: the text of its children, at most
// 1023 bytes each.
func formOf(query framer.Element) map[string]string {
	fields := make(map[string]string, 4)
	for c := range query.Children {
		if len(c.Inner) <= maxField && len(fields) < 16 {
			fields[string(c.Name)] = string(framer.Unescape(nil, c.Inner))
		}
	}
	return fields
}

const maxField = 1023

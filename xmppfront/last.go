package xmppfront

import (
	"strconv"
	"time"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

const nsLast = "jabber:iq:last" // XEP-0012

// last tells how long the server has been up, or how long ago an account was
// last seen. XEP-0012 §3, §5
func (e *engine) last(b *core.Batch, q *query) {
	var since time.Duration
	var err error
	switch {
	case !q.get:
		e.refuse(b, q.answer, badRequest)
		return
	case q.to.place == placeServer:
		since = e.front.now().Sub(e.front.started)
	case q.to.place == placeAccount:
		since, err = e.front.router.LastSeen(e.account, q.to.Account)
	}
	if err != nil {
		e.refuse(b, q.answer, faultOf(err))
		return
	}
	p := attr([]byte("<query xmlns='"+nsLast+"'"), "seconds", strconv.FormatInt(int64(since/time.Second), 10))
	e.result(b, q.answer, append(p, "/>"...))
}

// hidesLast reports whether an IQ asks a device for its last activity on behalf
// of who may not see its presence: it is not passed on. XEP-0012 §4
func (e *engine) hidesLast(s *framer.Stanza, to address) bool {
	if t := string(s.Type); t != "get" && t != "set" || e.front.router.MayWatch(e.account, to.Account) {
		return false
	}
	for c := range s.Children {
		if string(c.Space) == nsLast {
			return true
		}
	}
	return false
}

// contactIQ takes a request to another account, which its server answers: only
// who may see its presence is told anything. XEP-0030 §8, RFC 6121 §8.5.2.1.3
func (e *engine) contactIQ(b *core.Batch, q *query) {
	space := string(q.child.Space)
	seen := e.front.router.MayWatch(e.account, q.to.Account)
	switch {
	case space == nsLast:
		e.last(b, q)
	case space == nsDiscoInfo && seen:
		e.discoInfo(b, q)
	case space == nsDiscoItems && seen:
		e.discoItems(b, q)
	default:
		e.refuse(b, q.answer, unavailable)
	}
}

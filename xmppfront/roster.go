package xmppfront

import (
	"strconv"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/roster"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

const nsRoster = roster.NS

const (
	maxContactName = 1023 // bytes
	maxGroups      = 32   // of one contact
)

// roster answers a request for the roster, or changes it. RFC 6121 §2
func (e *engine) roster(b *core.Batch, q *query) {
	switch {
	case q.to.place == placeServer && !q.get: // the roster belongs to the account
		e.refuse(b, q.answer, notAllowed)
	case q.get:
		e.rosterGet(b, q)
	default:
		e.rosterSet(b, q)
	}
}

// rosterGet sends the roster. RFC 6121 §2.1.4
func (e *engine) rosterGet(b *core.Batch, q *query) {
	e.mu.Lock()
	e.interested = true // RFC 6121 §2.2
	e.mu.Unlock()
	p := []byte("<query xmlns='" + nsRoster + "'>")
	for _, c := range e.front.router.Roster(e.account) {
		p = e.front.appendItem(p, c, false)
	}
	e.result(b, q.answer, append(p, "</query>"...))
}

// appendItem writes one contact. RFC 6121 §2.1.2
func (f *Front) appendItem(p []byte, c core.Contact, removed bool) []byte {
	p = attr(append(p, "<item"...), "jid", f.jid(core.Address{Account: c.Account}))
	if removed {
		return append(p, " subscription='remove'/>"...)
	}
	if c.Name != "" {
		p = attr(p, "name", c.Name)
	}
	p = attr(p, "subscription", c.Subscription())
	if c.Ask {
		p = append(p, " ask='subscribe'"...)
	}
	if c.Approved {
		p = append(p, " approved='true'"...)
	}
	if len(c.Groups) == 0 {
		return append(p, "/>"...)
	}
	p = append(p, '>')
	for _, g := range c.Groups {
		p = textElement(p, "group", g)
	}
	return append(p, "</item>"...)
}

// rosterSet adds, changes or removes one contact. RFC 6121 §2.1.5, §2.3 to §2.5
func (e *engine) rosterSet(b *core.Batch, q *query) {
	var item framer.Element
	n := 0
	for c := range q.child.Children {
		item = c
		n++
	}
	if n != 1 || string(item.Name) != "item" {
		e.refuse(b, q.answer, badRequest) // RFC 6121 §2.3.3
		return
	}
	to, _ := item.Attr("jid")
	contact, ok := e.contact(to)
	if !ok {
		e.refuse(b, q.answer, badRequest)
		return
	}
	if contact == e.account {
		e.refuse(b, q.answer, notAllowed) // RFC 6121 §2.3.3
		return
	}
	finish := e.answerLater(q.answer)
	if sub, _ := item.Attr("subscription"); string(sub) == "remove" {
		e.front.router.RemoveContact(e.account, contact, finish)
		return
	}
	name, _ := item.Attr("name")
	groups, err := groupsOf(item)
	if err != nil || len(name) > maxContactName {
		finish(notAcceptable) // RFC 6121 §2.3.3
		return
	}
	e.front.router.SetContact(e.account, contact, string(name), groups, finish)
}

func groupsOf(item framer.Element) ([]string, error) {
	var groups []string
	for c := range item.Children {
		if string(c.Name) != "group" {
			continue
		}
		g := string(framer.Unescape(nil, c.Inner))
		if g == "" || len(g) > maxContactName || len(groups) == maxGroups {
			return nil, notAcceptable
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// contact is the roster's name for a bare address: the account, or the whole
// address where another domain is meant.
func (e *engine) contact(to []byte) (string, bool) {
	a := e.front.parse(to)
	switch a.place {
	case placeAccount:
		return a.Account, true
	case placeRemote:
		j, err := jid.Parse(string(to))
		if err != nil || j.Localpart() == "" {
			return "", false
		}
		return j.Bare().String(), true
	}
	return "", false
}

// pushRoster tells the client of a changed contact. RFC 6121 §2.1.6
func (e *engine) pushRoster(b *core.Batch, n *core.RosterPush) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.interested {
		return
	}
	e.pushes++
	p := append([]byte("<iq type='set' id='push-"), strconv.FormatUint(e.pushes, 10)...)
	p = append(append(append(p, "' to='"...), e.full...), "'><query xmlns='"+nsRoster+"'>"...)
	p = e.front.appendItem(p, n.Contact, n.Removed)
	e.send(b, len(p)+16, sent{keep: keepMust}, append(p, "</query></iq>"...))
}

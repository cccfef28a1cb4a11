package xmppfront

import (
	"strconv"
	"strings"

	"mellium.im/xmpp/jid"

	"pushhub/core"
)

const nsBlocking = "urn:xmpp:blocking"

// isBlocked is for what goes to somebody whom its sender has blocked. XEP-0191 §3.3
var isBlocked = unacceptable.with("<blocked xmlns='" + nsBlocking + ":errors'/>")

// blocking shows the account's block list, or changes it. XEP-0191 §3
func (e *engine) blocking(b *core.Batch, q *query) {
	name := string(q.child.Name)
	switch {
	case q.to.place == placeServer: // it is the account's
		e.refuse(b, q.answer, unavailable)
	case q.get && name == "blocklist":
		e.mu.Lock()
		e.blocklist = true
		e.mu.Unlock()
		p := []byte("<blocklist xmlns='" + nsBlocking + "'>")
		p = e.front.appendPeers(p, e.front.router.Blocked(e.account))
		e.result(b, q.answer, append(p, "</blocklist>"...))
	case !q.get && (name == "block" || name == "unblock"):
		e.setBlocked(b, q, name == "block")
	default:
		e.refuse(b, q.answer, badRequest)
	}
}

// setBlocked blocks peers, or unblocks them: all when none is named. XEP-0191 §3.3 to §3.5
func (e *engine) setBlocked(b *core.Batch, q *query, block bool) {
	var peers []core.Address
	for c := range q.child.Children {
		who, ok := c.Attr("jid")
		if !ok || string(c.Name) != "item" || string(c.Space) != nsBlocking {
			e.refuse(b, q.answer, badRequest)
			return
		}
		peer, ok := e.front.peer(who)
		if !ok {
			e.refuse(b, q.answer, jidMalformed)
			return
		}
		if block && peer.Account == e.account {
			e.refuse(b, q.answer, notAllowed.says("nobody blocks themselves"))
			return
		}
		peers = append(peers, peer)
	}
	switch {
	case !block:
		e.front.router.Unblock(e.account, peers, e.answerLater(q.answer))
	case len(peers) == 0: // XEP-0191 §3.3
		e.refuse(b, q.answer, badRequest)
	default:
		e.front.router.Block(e.account, peers, e.answerLater(q.answer))
	}
}

// peer is the core's name for whom a JID of a block list means. XEP-0191 §6
//
// deviates: the domain of the hub means all its accounts, but one above it does not.
func (f *Front) peer(who []byte) (core.Address, bool) {
	a := f.parse(who)
	switch a.place {
	case placeAccount:
		return a.Address, true
	case placeNone, placeBad:
		return core.Address{}, false
	}
	j, err := jid.Parse(string(who))
	if err != nil {
		return core.Address{}, false
	}
	canonical := j.String()
	if again, err := jid.Parse(canonical); err != nil || !again.Equal(j) {
		return core.Address{}, false // such as two dots behind a domain, of which one is taken off
	}
	switch a = f.parse([]byte(canonical)); a.place { // a dot behind our own
	case placeAccount:
		return a.Address, true
	case placeServer:
		return core.Address{Account: core.Everybody, Resource: j.Resourcepart()}, true
	case placeNone, placeBad:
		return core.Address{}, false
	}
	return core.Address{Account: j.Localpart() + core.Everybody + j.Domainpart(), Resource: j.Resourcepart()}, true
}

// peerJID undoes peer.
func (f *Front) peerJID(a core.Address) string {
	s, domain := strings.CutPrefix(a.Account, core.Everybody)
	switch {
	case !strings.Contains(a.Account, "@"):
		return f.jid(a)
	case domain && s == "":
		s = f.opt.Domain
	}
	if a.Resource == "" {
		return s
	}
	return s + "/" + a.Resource
}

func (f *Front) appendPeers(p []byte, peers []core.Address) []byte {
	for _, peer := range peers {
		p = append(attr(append(p, "<item"...), "jid", f.peerJID(peer)), "/>"...)
	}
	return p
}

// pushBlocks tells the client of a changed block list, when it asked for that. XEP-0191 §3.3
func (e *engine) pushBlocks(b *core.Batch, n *core.BlockPush) {
	name := "block"
	if n.Removed {
		name = "unblock"
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.blocklist {
		return
	}
	e.pushes++
	p := append([]byte("<iq type='set' id='push-"), strconv.FormatUint(e.pushes, 10)...)
	p = append(append(append(p, "' to='"...), e.full...), "'><"+name+" xmlns='"+nsBlocking+"'>"...)
	p = e.front.appendPeers(p, n.Peers)
	e.send(b, len(p)+16, sent{keep: keepMust}, append(p, "</"+name+"></iq>"...))
}

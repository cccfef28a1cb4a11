package xmppfront

import (
	"pushhub/core"
	"pushhub/xmppfront/framer"
)

const nsPrivate = "jabber:iq:private"

// maxPrivate bounds one answer, and what one request stores: a name may be long,
// and asked for often.
const maxPrivate = 512 << 10

// privateName is the name of the document that an element is stored as.
func privateName(c framer.Element) string {
	return nsPrivate + " " + string(c.Space) + " " + string(c.Name)
}

// private keeps XML for the account, one element of each name and namespace. XEP-0049 §2
func (e *engine) private(b *core.Batch, q *query) {
	switch {
	case q.to.place == placeServer: // it is the account's; XEP-0049 §3
		e.refuse(b, q.answer, forbidden)
	case string(q.child.Name) != "query":
		e.refuse(b, q.answer, badRequest)
	case q.get:
		e.privateGet(b, q)
	default:
		e.privateSet(b, q)
	}
}

// privateGet sends what is kept of the elements that are named; of what is not,
// an empty element.
func (e *engine) privateGet(b *core.Batch, q *query) {
	p := []byte("<query xmlns='" + nsPrivate + "'>")
	var space []byte
	n := 0
	for c := range q.child.Children {
		if n > 0 && string(c.Space) != string(space) || !ownSpace(c) {
			e.refuse(b, q.answer, notAcceptable.says("ask for elements of one namespace, not this protocol's own"))
			return
		}
		space = c.Space
		if n++; len(p) > maxPrivate {
			e.refuse(b, q.answer, overPolicy.says("ask for less at once"))
			return
		}
		if kept := e.front.router.Document(e.account, privateName(c)); kept != nil {
			p = append(p, kept...)
			continue
		}
		p = append(attr(append(append(p, '<'), c.Name...), "xmlns", string(c.Space)), "/>"...)
	}
	if n == 0 {
		e.refuse(b, q.answer, badRequest)
		return
	}
	e.result(b, q.answer, append(p, "</query>"...))
}

// privateSet keeps elements, each as it is; an empty one takes the place of what
// was kept.
func (e *engine) privateSet(b *core.Batch, q *query) {
	var docs []core.Document
	size := 0
	for c := range q.child.Children {
		if size > maxPrivate {
			e.refuse(b, q.answer, overPolicy.says("store less at once"))
			return
		}
		if !ownSpace(c) {
			docs = nil
			break
		}
		doc := core.Document{Name: privateName(c)}
		if !c.Empty() {
			doc.Content = c.AppendStandalone(nil)
		}
		docs = append(docs, doc)
		size += len(doc.Name) + len(doc.Content)
	}
	if len(docs) == 0 {
		e.refuse(b, q.answer, notAcceptable.says("each element has a namespace of its own"))
		return
	}
	e.front.router.SetDocuments(e.account, docs, e.answerLater(q.answer))
}

// ownSpace reports whether an element has a namespace that is not the query's, and
// that can be declared.
func ownSpace(c framer.Element) bool {
	space := string(c.Space)
	return space != "" && space != nsPrivate && space != framer.NSXML
}

package xmppfront

import (
	"pushhub/core"
)

const nsVCard = "vcard-temp"

// maxVCard bounds a vCard, which others are sent as often as they ask.
const maxVCard = 128 << 10

// vcard shows the account's own vCard, or keeps another. XEP-0054 §3
func (e *engine) vcard(b *core.Batch, q *query) {
	switch {
	case string(q.child.Name) != "vCard":
		e.refuse(b, q.answer, badRequest)
	case q.to.place == placeServer && q.get:
		e.refuse(b, q.answer, itemNotFound)
	case q.to.place == placeServer:
		e.refuse(b, q.answer, forbidden)
	case q.get:
		kept := e.front.router.Document(e.account, nsVCard)
		if kept == nil {
			kept = []byte("<vCard xmlns='" + nsVCard + "'/>") // XEP-0054 §3.1
		}
		e.result(b, q.answer, kept)
	default:
		e.setVCard(b, q)
	}
}

// setVCard keeps a vCard as it is. XEP-0054 §3.2
func (e *engine) setVCard(b *core.Batch, q *query) {
	doc := core.Document{Name: nsVCard}
	if !q.child.Empty() {
		doc.Content = q.child.AppendStandalone(nil)
	}
	if len(doc.Content) > maxVCard {
		e.refuse(b, q.answer, overPolicy.says("a vCard has at most 128 KiB"))
		return
	}
	e.front.router.SetDocuments(e.account, []core.Document{doc}, e.answerLater(q.answer))
}

// vcardOf shows another account's vCard to whoever may write to that account,
// which is everybody. Whether an account exists that has none is not told. XEP-0054 §3.3
func (e *engine) vcardOf(b *core.Batch, q *query) {
	if !q.get {
		e.refuse(b, q.answer, forbidden) // XEP-0054 §3.2
		return
	}
	kept := e.front.router.Document(q.to.Account, nsVCard)
	if kept == nil {
		e.refuse(b, q.answer, unavailable)
		return
	}
	e.result(b, q.answer, kept)
}

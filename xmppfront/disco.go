package xmppfront

import (
	"mellium.im/xmpp/delay"
	"mellium.im/xmpp/disco"

	"pushhub/core"
	"pushhub/core/topic"
)

const (
	nsDiscoInfo  = disco.NSInfo
	nsDiscoItems = disco.NSItems
)

// serverFeatures are what the server itself does. XEP-0030 §3.1
var serverFeatures = []string{
	nsDiscoInfo, nsDiscoItems, nsPing, nsVersion, nsTime, delay.NS, "urn:xmpp:json:0", nsPrivate, nsVCard, nsBlocking,
}

// serviceFeatures are what pubsub.<domain> does; XEP-0060 §10.
var serviceFeatures = []string{
	nsDiscoInfo, nsDiscoItems, nsPing, nsVersion, nsPubSub,
	nsPubSub + "#access-open", nsPubSub + "#auto-create", nsPubSub + "#create-nodes", nsPubSub + "#delete-nodes",
	nsPubSub + "#item-ids", nsPubSub + "#last-published", nsPubSub + "#persistent-items", nsPubSub + "#publish",
	nsPubSub + "#publish-options", nsPubSub + "#retract-items", nsPubSub + "#retrieve-items",
	nsPubSub + "#retrieve-subscriptions", nsPubSub + "#subscribe",
}

// discoInfo tells what the server does, or what the account is. XEP-0030 §3
func (e *engine) discoInfo(b *core.Batch, q *query) {
	node, hasNode := q.child.Attr("node")
	switch {
	case !q.get:
		e.refuse(b, q.answer, badRequest)
	case hasNode && len(node) > 0:
		e.refuse(b, q.answer, itemNotFound) // XEP-0030 §7
	case q.to.place == placeServer:
		features := serverFeatures
		if e.front.opt.Registration {
			features = append([]string{nsRegister}, features...)
		}
		e.result(b, q.answer, infoOf("", "server", "im", "pushhub", features))
	default:
		e.result(b, q.answer, infoOf("", "account", "registered", "", []string{nsDiscoInfo, nsDiscoItems}))
	}
}

// discoItems lists the one service there is. XEP-0030 §4
func (e *engine) discoItems(b *core.Batch, q *query) {
	if !q.get {
		e.refuse(b, q.answer, badRequest)
		return
	}
	p := []byte("<query xmlns='" + nsDiscoItems + "'>")
	if q.to.place == placeServer {
		p = append(p, "<item"...)
		p = attr(p, "jid", e.front.pubsub)
		p = append(attr(p, "name", "Topics"), "/>"...)
	}
	e.result(b, q.answer, append(p, "</query>"...))
}

// serviceInfo tells what pubsub.<domain> does, or that a node is a leaf.
func (e *engine) serviceInfo(b *core.Batch, q *query) {
	node, hasNode := q.child.Attr("node")
	switch {
	case !q.get:
		e.refuse(b, q.answer, badRequest)
	case !hasNode || len(node) == 0:
		e.result(b, q.answer, infoOf("", "pubsub", "service", "pushhub", serviceFeatures))
	case topic.ValidateFilter(string(node)) != nil:
		e.refuse(b, q.answer, itemNotFound)
	default: // every topic is a node, whether or not something was published there
		e.result(b, q.answer, infoOf(string(node), "pubsub", "leaf", "", []string{nsPubSub}))
	}
}

// maxNodes bounds the nodes, and the items, that one answer lists.
const maxNodes = 256

// serviceItems lists the nodes with a last item, as far as the client may read
// them. XEP-0060 §5.2
func (e *engine) serviceItems(b *core.Batch, q *query) {
	if !q.get {
		e.refuse(b, q.answer, badRequest)
		return
	}
	node, _ := q.child.Attr("node")
	p := []byte("<query xmlns='" + nsDiscoItems + "'")
	filter := "#"
	if len(node) > 0 {
		p = attr(p, "node", node)
		filter = string(node)
	}
	p = append(p, '>')
	n := 0
	err := e.own.Retained(filter, func(m *core.Message) bool {
		p = attr(append(p, "<item"...), "jid", e.front.pubsub)
		if len(node) > 0 {
			p = attr(p, "name", itemID(m))
		} else {
			p = attr(p, "node", m.Topic)
		}
		p = append(p, "/>"...)
		n++
		return n < maxNodes
	})
	if err != nil {
		e.refuse(b, q.answer, pubsubFault(err))
		return
	}
	e.result(b, q.answer, append(p, "</query>"...))
}

// infoOf writes the answer to disco#info.
func infoOf(node, category, kind, name string, features []string) []byte {
	p := []byte("<query xmlns='" + nsDiscoInfo + "'")
	if node != "" {
		p = attr(p, "node", node)
	}
	p = append(p, "><identity"...)
	p = attr(attr(p, "category", category), "type", kind)
	if name != "" {
		p = attr(p, "name", name)
	}
	p = append(p, "/>"...)
	for _, f := range features {
		p = append(attr(append(p, "<feature"...), "var", f), "/>"...)
	}
	return append(p, "</query>"...)
}

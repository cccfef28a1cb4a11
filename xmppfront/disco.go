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
	nsDiscoInfo, nsDiscoItems, nsCaps, nsRoster, nsPing, nsVersion, nsTime, nsLast, nsCarbons, delay.NS, "msgoffline", "urn:xmpp:json:0", nsPrivate, nsVCard, nsBlocking,
}

// serverCapabilities are those and what the server is.
func serverCapabilities(opt Options) capabilities {
	features := serverFeatures
	if opt.Registration {
		features = append([]string{nsRegister}, features...)
	}
	return capabilities{"server", "im", "pushhub", features, serverInfo(opt.AdminAddresses)}
}

// accountCapabilities are what the server does for each account.
var accountCapabilities = capabilities{"account", "registered", "", []string{nsDiscoInfo, nsDiscoItems, nsLast}, nil}

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
	case q.to.place == placeServer && string(node) == capsNode+"#"+e.front.capsVersion: // XEP-0115 §6.2
		e.result(b, q.answer, infoOf(string(node), e.front.capabilities))
	case hasNode && len(node) > 0:
		e.refuse(b, q.answer, itemNotFound) // XEP-0030 §7
	case q.to.place == placeServer:
		e.result(b, q.answer, infoOf("", e.front.capabilities))
	default:
		e.result(b, q.answer, infoOf("", accountCapabilities))
	}
}

// discoItems lists the one service there is, or the devices of an account that
// are there. XEP-0030 §4, §8
func (e *engine) discoItems(b *core.Batch, q *query) {
	node, _ := q.child.Attr("node")
	switch {
	case !q.get:
		e.refuse(b, q.answer, badRequest)
		return
	case len(node) > 0:
		e.refuse(b, q.answer, itemNotFound) // XEP-0030 §7
		return
	}
	p := []byte("<query xmlns='" + nsDiscoItems + "'>")
	if q.to.place == placeServer {
		p = append(p, "<item"...)
		p = attr(p, "jid", e.front.pubsub)
		p = append(attr(p, "name", "Topics"), "/>"...)
		e.result(b, q.answer, append(p, "</query>"...))
		return
	}
	account := e.account // asked without an address
	if q.to.place == placeAccount {
		account = q.to.Account
	}
	devices := e.front.router.DevicesOf(account)
	for _, d := range devices[:min(len(devices), maxNodes)] {
		p = append(attr(append(p, "<item"...), "jid", e.front.jid(d.From)), "/>"...)
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
		e.result(b, q.answer, infoOf("", capabilities{"pubsub", "service", "pushhub", serviceFeatures, nil}))
	case topic.ValidateFilter(string(node)) != nil:
		e.refuse(b, q.answer, itemNotFound)
	default: // every topic is a node, whether or not something was published there
		e.result(b, q.answer, infoOf(string(node), capabilities{"pubsub", "leaf", "", []string{nsPubSub}, nil}))
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
func infoOf(node string, c capabilities) []byte {
	p := []byte("<query xmlns='" + nsDiscoInfo + "'")
	if node != "" {
		p = attr(p, "node", node)
	}
	p = append(p, "><identity"...)
	p = attr(attr(p, "category", c.category), "type", c.kind)
	if c.name != "" {
		p = attr(p, "name", c.name)
	}
	p = append(p, "/>"...)
	for _, f := range c.features {
		p = append(attr(append(p, "<feature"...), "var", f), "/>"...)
	}
	if c.form != nil {
		p = c.form.append(p)
	}
	return append(p, "</query>"...)
}

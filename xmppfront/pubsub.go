package xmppfront

import (
	"errors"
	"strconv"

	"mellium.im/xmpp/pubsub"

	"pushhub/core"
	"pushhub/core/topic"
	"pushhub/xmppfront/framer"
)

const (
	nsPubSub       = pubsub.NS
	nsPubSubOwner  = pubsub.NSOwner
	nsPubSubEvent  = pubsub.NSEvent
	nsPubSubErrors = pubsub.NSErrors
	nsForm         = "jabber:x:data"
)

// pubsubError is an error condition of XEP-0060 §12.
func pubsubError(c pubsub.Condition) string {
	return "<" + c.String() + " xmlns='" + nsPubSubErrors + "'/>"
}

// unsupported says which feature is missing. XEP-0060 §5.1 and others
func unsupported(f pubsub.Feature) fault {
	return notImplemented.with("<unsupported xmlns='" + nsPubSubErrors + "' feature='" + f.String() + "'/>")
}

var (
	nodeRequired    = badRequest.with(pubsubError(pubsub.CondNodeIDRequired))
	itemRequired    = badRequest.with(pubsubError(pubsub.CondItemRequired))
	payloadRequired = badRequest.with(pubsubError(pubsub.CondPayloadRequired))
	invalidPayload  = badRequest.with(pubsubError(pubsub.CondInvalidPayload))
	jidRequired     = badRequest.with(pubsubError(pubsub.CondJIDRequired))
	invalidJID      = badRequest.with(pubsubError(pubsub.CondInvalidJID))
	notSubscribed   = unexpected.with(pubsubError(pubsub.CondNotSubscribed))
)

// pubsubFault is the stanza error of a node operation: what cannot be a topic is
// a node that is not there.
func pubsubFault(err error) fault {
	if errors.Is(err, core.ErrBadTopic) {
		return itemNotFound
	}
	return faultOf(err)
}

// pubsub takes a request to pubsub.<domain>, where each topic is a leaf node.
// XEP-0060
func (e *engine) pubsub(b *core.Batch, q *query) {
	var act, extra framer.Element
	for c := range q.child.Children {
		if act.Name == nil {
			act = c
		} else if extra.Name == nil {
			extra = c
		}
	}
	owner := string(q.child.Space) == nsPubSubOwner
	if act.Name == nil || string(q.child.Name) != "pubsub" {
		e.refuse(b, q.answer, badRequest)
		return
	}
	err := e.pubsubAct(b, q, act, extra, owner)
	if err != nil {
		e.refuse(b, q.answer, pubsubFault(err))
	}
}

func (e *engine) pubsubAct(b *core.Batch, q *query, act, extra framer.Element, owner bool) error {
	name := string(act.Name)
	switch {
	case owner:
		return e.pubsubOwner(b, q, act)
	case q.get && name == "items":
		return e.items(b, q, act)
	case q.get && name == "subscriptions":
		return e.subscriptions(b, q, act)
	case q.get && name == "affiliations":
		return unsupported(pubsub.FeatureRetrieveAffiliations)
	case q.get:
		return notImplemented
	case name == "publish":
		return e.publishItem(b, q, act, extra)
	case name == "retract":
		return e.retract(b, q, act)
	case name == "subscribe":
		return e.subscribe(b, q, act)
	case name == "unsubscribe":
		return e.unsubscribe(b, q, act)
	case name == "create":
		return e.createNode(b, q, act)
	}
	return notImplemented
}

// nodeOf is the node that an action is about: a topic, or, with wild, a filter.
func nodeOf(act framer.Element, wild bool) (string, error) {
	node, _ := act.Attr("node")
	if len(node) == 0 {
		return "", nodeRequired
	}
	check := topic.ValidateName
	if wild {
		check = topic.ValidateFilter
	}
	if check(string(node)) != nil {
		return "", itemNotFound
	}
	return string(node), nil
}

// pubsubOwner takes the actions of a node's owner. XEP-0060 §8
//
// deviates: topics need no making and have no configuration of their own, so
// that configuring one succeeds and changes nothing.
func (e *engine) pubsubOwner(b *core.Batch, q *query, act framer.Element) error {
	node, err := nodeOf(act, false)
	if err != nil {
		return err
	}
	switch name := string(act.Name); {
	case q.get:
		return unsupported(pubsub.FeatureConfigNode)
	case name == "configure":
		e.result(b, q.answer, nil)
		return nil
	case name == "delete", name == "purge": // XEP-0060 §8.4, §8.5: nothing of the node is left
		return e.clear(b, q, node, "")
	}
	return notImplemented
}

// createNode has nothing to do. XEP-0060 §8.1
func (e *engine) createNode(b *core.Batch, q *query, act framer.Element) error {
	node, err := nodeOf(act, false)
	if errors.Is(err, nodeRequired) { // XEP-0060 §8.1.2: no instant nodes
		return notAcceptable.with(pubsubError(pubsub.CondNodeIDRequired))
	}
	if err != nil {
		return err
	}
	p := append(attr([]byte("<pubsub xmlns='"+nsPubSub+"'><create"), "node", node), "/></pubsub>"...)
	e.result(b, q.answer, p)
	return nil
}

// publishItem publishes to a topic. XEP-0060 §7.1
func (e *engine) publishItem(b *core.Batch, q *query, act, extra framer.Element) error {
	node, err := nodeOf(act, false)
	if err != nil {
		return err
	}
	var item, payload framer.Element
	items, payloads := 0, 0
	for c := range act.Children {
		item = c
		items++
	}
	if items != 1 || string(item.Name) != "item" { // XEP-0060 §7.1.3.3, §7.1.3.6
		return itemRequired
	}
	for c := range item.Children {
		payload = c
		payloads++
	}
	switch {
	case payloads == 0:
		return payloadRequired
	case payloads > 1:
		return invalidPayload
	}
	id, _ := item.Attr("id")
	e.msg.Reset()
	e.msg.ID, e.msg.QoS, e.msg.Retain = string(id), 1, persists(extra)
	if err := e.readItem(payload); err != nil {
		return err
	}
	e.front.counts.publishesIn.Add(1)
	e.pace.pay(e.size)
	p := attr([]byte("<pubsub xmlns='"+nsPubSub+"'><publish"), "node", node)
	p = attr(append(p, "><item"...), "id", itemID(&e.msg))
	return e.publish(b, []byte(node), publish{answer: q.answer, done: append(p, "/></publish></pubsub>"...)})
}

// readItem translates the payload of an item into e.msg.
func (e *engine) readItem(payload framer.Element) (err error) {
	m := &e.msg
	switch rankOf(payload) {
	case rankJSON, rankPayload:
		e.text, err = readPayload(e.text[:0], payload, m)
	case rankNone, rankBody: // XML that only its own kind understands is its own bytes
		e.text = payload.AppendStandalone(e.text[:0])
		m.ContentType, m.UTF8 = typeXML, true
		m.Native, m.NativeForm = e.text, core.NativeXMPP
	}
	m.Payload = e.text
	if len(m.Payload) == 0 {
		m.Retain = false // an empty retained message would clear the node [MQTT-3.3.1-6]
	}
	return err
}

// persists reads pubsub#persist_items of the publish options. XEP-0060 §7.1.5
//
// deviates: other options are passed over rather than refused as preconditions
// that are not met: access is decided by the hub's rules, not by nodes.
func persists(options framer.Element) bool {
	if string(options.Name) != "publish-options" {
		return true
	}
	for form := range options.Children {
		if string(form.Space) != nsForm {
			continue
		}
		for field := range form.Children {
			if name, _ := field.Attr("var"); string(name) != "pubsub#persist_items" {
				continue
			}
			for value := range field.Children {
				text := string(framer.Unescape(nil, value.Inner))
				return text != "0" && text != "false"
			}
		}
	}
	return true
}

// retract removes the last item of a topic. XEP-0060 §7.2
func (e *engine) retract(b *core.Batch, q *query, act framer.Element) error {
	node, err := nodeOf(act, false)
	if err != nil {
		return err
	}
	for item := range act.Children {
		id, ok := item.Attr("id")
		if string(item.Name) != "item" || !ok || len(id) == 0 {
			return itemRequired
		}
		wanted := string(id)
		found := false
		err := e.own.Retained(node, func(m *core.Message) bool {
			found = itemID(m) == wanted
			return false
		})
		if err != nil {
			return err
		}
		if !found {
			return itemNotFound
		}
		return e.clear(b, q, node, wanted)
	}
	return itemRequired
}

// clear publishes the empty retained message that removes a topic's last item. [MQTT-3.3.1-6]
func (e *engine) clear(b *core.Batch, q *query, node, id string) error {
	e.msg.Reset()
	e.msg.ID, e.msg.QoS, e.msg.Retain = id, 1, true
	rec := publish{answer: q.answer, done: []byte{}}
	return e.publish(b, []byte(node), rec)
}

// items lists the last items of the topics that a filter matches. XEP-0060 §6.5
//
// deviates: where the node is a filter with wildcards, an item's id is its topic.
func (e *engine) items(b *core.Batch, q *query, act framer.Element) error {
	node, err := nodeOf(act, true)
	if err != nil {
		return err
	}
	most := maxNodes
	if v, ok := act.Attr("max_items"); ok {
		n, err := strconv.Atoi(string(v))
		if err != nil || n < 1 {
			return badRequest
		}
		most = min(most, n)
	}
	wanted := map[string]bool{}
	for c := range act.Children {
		if id, ok := c.Attr("id"); ok && len(wanted) < maxNodes {
			wanted[string(id)] = true
		}
	}
	p := attr([]byte("<pubsub xmlns='"+nsPubSub+"'><items"), "node", node)
	p = append(p, '>')
	n := 0
	err = e.own.Retained(node, func(m *core.Message) bool {
		id := itemID(m)
		if topic.HasWildcard(node) {
			id = m.Topic
		}
		if len(wanted) > 0 && !wanted[id] {
			return true
		}
		p = e.front.appendItemNamed(p, m, id)
		n++
		return n < most && len(p) < e.front.opt.QueueBytes/2
	})
	if err != nil {
		return err
	}
	e.result(b, q.answer, append(p, "</items></pubsub>"...))
	return nil
}

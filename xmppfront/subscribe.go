package xmppfront

import (
	"errors"

	"mellium.im/xmpp/pubsub"

	"pushhub/core"
	"pushhub/core/topic"
	"pushhub/xmppfront/framer"
)

// subscriber is for whom a subscription is made: this device, for as long as it
// is connected, or (a bare JID) its account, for good. XEP-0060 §6.1.1
func (e *engine) subscriber(act framer.Element) (account bool, err error) {
	who, _ := act.Attr("jid")
	if len(who) == 0 {
		return false, jidRequired
	}
	a := e.front.parse(who)
	if a.place != placeAccount || a.Account != e.account || a.Resource != "" && a.Resource != e.self.Resource {
		return false, invalidJID // XEP-0060 §6.1.3.1
	}
	return a.Resource == "", nil
}

// on runs act with the attachment that a subscription belongs to. The account's
// own session is joined for as long as that takes, where the device has not
// joined it; no delivery is taken meanwhile.
func (e *engine) on(b *core.Batch, account bool, a answer, act func(b *core.Batch, att *core.Attachment, done func(error))) {
	finish := func(b *core.Batch, err error) {
		if err != nil {
			e.refuse(b, a, pubsubFault(err))
		}
	}
	run := func(b *core.Batch, att *core.Attachment, then func(b *core.Batch, err error)) {
		done := e.await()
		act(b, att, func(err error) { done(func(b *core.Batch) { then(b, err) }) })
	}
	switch {
	case !account:
		run(b, e.own, finish)
	case e.shared != nil:
		run(b, e.shared, finish)
	default:
		e.joinAccount(b, func(b *core.Batch, err error) {
			if err != nil {
				finish(b, err)
				return
			}
			run(b, e.shared, func(b *core.Batch, err error) {
				// What was turned away meanwhile is for the account's other devices.
				e.shared.Drained(b)
				e.closeInbox(b)
				finish(b, err)
			})
		})
	}
}

// subscribe adds a subscription to a topic, or to all that a filter matches. XEP-0060 §6.1
func (e *engine) subscribe(b *core.Batch, q *query, act framer.Element) error {
	node, err := nodeOf(act, true)
	if err != nil {
		return err
	}
	account, err := e.subscriber(act)
	if err != nil {
		return err
	}
	a := q.answer
	// RetainAsPublished tells a retracted item from an empty one.
	sub := core.Subscription{Filter: node, QoS: 1, RetainAsPublished: true}
	e.on(b, account, a, func(b *core.Batch, att *core.Attachment, done func(error)) {
		att.Subscribe(b, []core.Subscription{sub}, func(b *core.Batch, results []error) {
			if results[0] == nil {
				// Before the last items, which follow. XEP-0060 §6.1.2, §6.1.7
				e.result(b, a, e.appendSubscriptions(nil, account, []string{node}, false))
			}
			done(results[0])
		})
	})
	return nil
}

// unsubscribe removes a subscription. XEP-0060 §6.2
func (e *engine) unsubscribe(b *core.Batch, q *query, act framer.Element) error {
	node, err := nodeOf(act, true)
	if err != nil {
		return err
	}
	account, err := e.subscriber(act)
	if err != nil {
		return err
	}
	a := q.answer
	e.on(b, account, a, func(b *core.Batch, att *core.Attachment, done func(error)) {
		if account && node == core.InboxFilter(e.account) {
			done(notAllowed.says("the inbox stays open")) // the account would lose its messages
			return
		}
		att.Unsubscribe(b, []string{node}, func(b *core.Batch, results []error) {
			err := results[0]
			if errors.Is(err, core.ErrNotFound) {
				err = notSubscribed // XEP-0060 §6.2.3.2
			}
			if err == nil {
				e.result(b, a, nil)
			}
			done(err)
		})
	})
	return nil
}

// subscriptions lists what the device and its account are subscribed to. XEP-0060 §5.6
func (e *engine) subscriptions(b *core.Batch, q *query, act framer.Element) error {
	node, _ := act.Attr("node")
	only := string(node)
	if only != "" && topic.ValidateFilter(only) != nil {
		return itemNotFound
	}
	a := q.answer
	e.on(b, true, a, func(b *core.Batch, att *core.Attachment, done func(error)) {
		p := openNode("subscriptions", only)
		p = e.listed(p, false, e.own, only)
		p = e.listed(p, true, att, only)
		e.result(b, a, append(p, "</subscriptions></pubsub>"...))
		done(nil)
	})
	return nil
}

// openNode opens an answer about a node, or about all.
func openNode(name, node string) []byte {
	p := []byte("<pubsub xmlns='" + nsPubSub + "'><" + name)
	if node != "" {
		p = attr(p, "node", node)
	}
	return append(p, '>')
}

func (e *engine) listed(p []byte, account bool, att *core.Attachment, only string) []byte {
	var nodes []string
	for _, s := range att.Subscriptions() {
		if (only == "" || s.Filter == only) && s.Filter != core.InboxFilter(e.account) {
			nodes = append(nodes, s.Filter)
		}
	}
	return e.appendSubscriptions(p, account, nodes, true)
}

// appendSubscriptions writes subscriptions, within a list or as an answer of their own.
func (e *engine) appendSubscriptions(p []byte, account bool, nodes []string, list bool) []byte {
	if !list {
		p = append(p, "<pubsub xmlns='"+nsPubSub+"'>"...)
	}
	who := e.full
	if account {
		who = e.bare
	}
	for _, node := range nodes {
		p = attr(append(p, "<subscription"...), "node", node)
		p = append(append(append(p, " jid='"...), who...), '\'')
		p = attr(p, "subscription", pubsub.SubSubscribed.String())
		p = append(p, "/>"...)
	}
	if !list {
		p = append(p, "</pubsub>"...)
	}
	return p
}

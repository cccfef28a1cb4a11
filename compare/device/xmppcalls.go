package device

import (
	"context"
	"time"

	"pushhub/xmppfront/framer"
)

const nsPubsub = "http://jabber.org/protocol/pubsub"

// IQ sends a request and returns the answer. kind is get or set; an empty to is
// the account itself. A refusal is a *Refusal that begins with what.
func (x *XMPP) IQ(ctx context.Context, what, kind, to, inner string) (*framer.Stanza, error) {
	id := x.newID("q")
	b := attr(attr(attr([]byte("<iq"), "type", kind), "id", id), "to", to)
	return x.ask(ctx, what, id, string(append(b, ">"+inner+"</iq>"...)))
}

// Ping waits until the server has read all that was sent before. XEP-0199
func (x *XMPP) Ping(ctx context.Context) error {
	_, err := x.IQ(ctx, "ping", "get", x.user.Domain, "<ping xmlns='"+nsPing+"'/>")
	return err
}

// Presence says that the client is available (show is "" or as RFC 6121
// §4.7.2.1 lists, status is for people).
func (x *XMPP) Presence(show, status string) error {
	b := []byte("<presence>")
	if show != "" {
		b = text(b, "show", show)
	}
	if status != "" {
		b = text(b, "status", status)
	}
	return x.say(string(append(b, "</presence>"...)))
}

// PresenceTo sends presence of a type to one address: unavailable, subscribe,
// subscribed, unsubscribe, unsubscribed, probe.
func (x *XMPP) PresenceTo(to, kind string) error {
	b := attr(attr([]byte("<presence"), "to", to), "type", kind)
	return x.say(string(append(b, "/>"...)))
}

// Contact is a roster item.
type Contact struct{ JID, Name, Subscription string }

// Roster fetches the contacts; from then on changes arrive as events. RFC 6121 §2.2
func (x *XMPP) Roster(ctx context.Context) ([]Contact, error) {
	st, err := x.IQ(ctx, "fetch the roster", "get", "", "<query xmlns='"+nsRoster+"'/>")
	if err != nil {
		return nil, err
	}
	query, _ := child(st.Element, nsRoster, "query")
	return contactsOf(query), nil
}

func contactsOf(query framer.Element) []Contact {
	var list []Contact
	for item := range query.Children {
		jid, _ := item.Attr("jid")
		name, _ := item.Attr("name")
		subscription, _ := item.Attr("subscription")
		list = append(list, Contact{string(jid), string(name), string(subscription)})
	}
	return list
}

func (x *XMPP) rosterPush(iq *framer.Stanza, query framer.Element) {
	for _, c := range contactsOf(query) {
		x.deliver(Event{
			Kind: KindRoster, ID: string(iq.ID), Contact: c.JID, Type: c.Subscription, Received: time.Now(), XML: iq.Raw,
		})
	}
}

// SendMessage sends a message of a type ("" is normal) whose payload is the
// body when XML can carry it, else a container with the bytes. It returns the
// identifier, under which an error may come back. The server does not answer:
// Ping shows that it has read the message.
func (x *XMPP) SendMessage(to, kind string, payload []byte) (id string, err error) {
	id = x.newID("m")
	b := attr(attr(attr([]byte("<message"), "to", to), "type", kind), "id", id)
	b = append(b, '>')
	if framer.ValidText(payload) {
		b = text(b, "body", string(payload))
	} else {
		b = append(b, container(payload)...)
	}
	return id, x.say(string(append(b, "</message>"...)))
}

// pubsub is the address of the service that has the topics.
func (x *XMPP) pubsub() string { return "pubsub." + x.user.Domain }

// Subscribe subscribes to a node; its items then arrive as events. XEP-0060 §6.1
func (x *XMPP) Subscribe(ctx context.Context, node string) error {
	return x.subscription(ctx, "subscribe", node)
}

// Unsubscribe takes the subscription back. XEP-0060 §6.2
func (x *XMPP) Unsubscribe(ctx context.Context, node string) error {
	return x.subscription(ctx, "unsubscribe", node)
}

func (x *XMPP) subscription(ctx context.Context, verb, node string) error {
	b := attr([]byte("<pubsub xmlns='"+nsPubsub+"'><"+verb), "node", node)
	b = attr(b, "jid", x.jid)
	_, err := x.IQ(ctx, verb+" to "+node, "set", x.pubsub(), string(append(b, "/></pubsub>"...)))
	return err
}

// Publish publishes a payload on a node, and waits until the server has taken
// it. keep makes it the node's last item, which later subscribers are sent, as
// MQTT's retain flag does. XEP-0060 §7.1
func (x *XMPP) Publish(ctx context.Context, node string, payload []byte, keep bool) error {
	return x.PublishXML(ctx, node, string(container(payload)), keep)
}

// passing are the options of an item that is not kept. XEP-0060 §7.1.5
const passing = "<publish-options><x xmlns='jabber:x:data' type='submit'>" +
	"<field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>" +
	"<field var='pubsub#persist_items'><value>0</value></field></x></publish-options>"

// PublishXML is Publish of an XML element.
func (x *XMPP) PublishXML(ctx context.Context, node, element string, keep bool) error {
	b := attr([]byte("<pubsub xmlns='"+nsPubsub+"'><publish"), "node", node)
	b = append(b, "><item>"+element+"</item></publish>"...)
	if !keep {
		b = append(b, passing...)
	}
	b = append(b, "</pubsub>"...)
	_, err := x.IQ(ctx, "publish to "+node, "set", x.pubsub(), string(b))
	return err
}

// Items fetches what a node holds. XEP-0060 §6.5
func (x *XMPP) Items(ctx context.Context, node string) ([]Event, error) {
	b := attr([]byte("<pubsub xmlns='"+nsPubsub+"'><items"), "node", node)
	st, err := x.IQ(ctx, "fetch the items of "+node, "get", x.pubsub(), string(append(b, "/></pubsub>"...)))
	if err != nil {
		return nil, err
	}
	answer, _ := child(st.Element, nsPubsub, "pubsub")
	items, _ := child(answer, nsPubsub, "items")
	var events []Event
	for item := range items.Children {
		id, _ := item.Attr("id")
		events = append(events, Event{
			Kind: KindItem, Node: node, Item: string(id), Payload: payloadOf(item), Received: time.Now(), XML: item.Raw,
		})
	}
	return events, nil
}

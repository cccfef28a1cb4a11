package integration

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"pushhub/integration/hubtest"
)

// payloads are bytes that some careless translation would change.
var payloads = []struct {
	name  string
	bytes []byte
}{
	{"text", []byte("plain text")},
	{"text outside ASCII", []byte("Grüße, 世界, 🎉")},
	{"text with XML's own characters", []byte(`a < b && c > d "quoted" 'too' ]]>`)},
	{"white space at both ends", []byte("  \t spaced \n ")},
	{"line ends of all kinds", []byte("a\r\nb\rc\nd")},
	{"only white space", []byte(" \n ")},
	{"a character that XML forbids", []byte("bell \x07 and form feed \x0c")},
	{"a non-character", []byte("\uFFFE\uFFFF")},
	{"JSON", []byte(`{"a":[1,2.50,null,true],"b":"é\u00e9\n"}`)},
	{"JSON with odd spacing", []byte("{ \"a\" :\t1 }\r\n")},
	{"a JSON number", []byte("42")},
	{"binary with NULs", []byte{0, 1, 2, 0, 0xff, 0xfe, 0, 0x80}},
	{"bytes that are not UTF-8", []byte("caf\xe9")},
	{"XML", []byte(`<reading xmlns="urn:example:plant"><celsius>21</celsius></reading>`)},
	{"XML with a declaration", []byte(`<?xml version="1.0"?><a/>`)},
	{"broken XML", []byte(`<a><b></a>`)},
	{"something like base64", []byte("aGVsbG8=")},
	{"64 KiB", bytes.Repeat([]byte("0123456789abcdef"), 4096)},
}

func TestPayloadsReachXMPPUnchanged(t *testing.T) {
	t.Parallel()
	for _, xk := range xmppKinds {
		t.Run(xk.name, func(t *testing.T) {
			xk.need(t)
			h := hubtest.StartHub(t)
			h.AddUser("alice", "phone")
			x := xk.dial(t, h, xmppOptions{User: "alice", Resource: "desk"})
			m := connectPahoGo3(t, h, mqttOptions{User: "phone", Client: "phone-1"})
			for _, p := range payloads {
				t.Run(p.name, func(t *testing.T) {
					x := x.within(t)
					topic := "bytes/" + strings.ReplaceAll(p.name, " ", "-")
					x.subscribe(topic)
					m.Publish(mqttMessage{Topic: topic, Payload: p.bytes, QoS: 1})
					awaitItemOrXML(x, topic, p.bytes)

					m.Publish(mqttMessage{Topic: "$inbox/alice/phone", Payload: p.bytes, QoS: 1})
					x.awaitMessage("phone", p.bytes)
				})
			}
		})
	}
}

// awaitItemOrXML is awaitItem, except that XML may come as the item's own element.
func awaitItemOrXML(x *xmppClient, node string, payload []byte) {
	x.t.Helper()
	x.Find("item with the payload on "+node, func(e hubtest.Event) bool {
		for _, item := range e.Items {
			if item.Node != node || item.Payload == nil {
				continue
			}
			p := *item.Payload
			native := bytes.HasPrefix(payload, []byte("<"+p.Name+" ")) && p.Xmlns == "urn:example:plant" && len(p.Children) == 1
			if native || bytes.Equal(decode(p), payload) {
				return true
			}
		}
		return false
	})
}

// TestPayloadsReachMQTTUnchanged sends each payload from XMPP in the hub's own container.
func TestPayloadsReachMQTTUnchanged(t *testing.T) {
	t.Parallel()
	for _, xk := range xmppKinds {
		t.Run(xk.name, func(t *testing.T) {
			xk.need(t)
			h := hubtest.StartHub(t)
			h.AddUser("alice", "phone")
			x := xk.dial(t, h, xmppOptions{User: "alice", Resource: "desk"})
			m := connectPahoGo3(t, h, mqttOptions{User: "phone", Client: "phone-1"})
			m.Subscribe("bytes/#", 1)
			m.Subscribe("$inbox/phone/#", 1)
			for _, p := range payloads {
				t.Run(p.name, func(t *testing.T) {
					x, m := x.within(t), &pahoGo3{t: t, client: m.client, mail: m.mail}
					topic := "bytes/" + strings.ReplaceAll(p.name, " ", "-")
					x.publish(topic, inBase64(p.bytes))
					m.Await("item", exactly(topic, p.bytes))
					x.Must("send", hubtest.Command{"to": jid("phone"), "xml": inBase64(p.bytes)})
					m.Await("direct message", exactly("$inbox/phone/alice", p.bytes))
				})
			}
		})
	}
}

// inBase64 is the container for bytes of any kind.
func inBase64(b []byte) string {
	return `<payload xmlns="urn:pushhub:payload:0" encoding="base64">` + base64.StdEncoding.EncodeToString(b) + `</payload>`
}

func TestXMLItemsReachMQTTAsTheirBytes(t *testing.T) {
	t.Parallel()
	const reading = `<reading xmlns="urn:example:plant"><celsius unit="C">21 &amp; more</celsius></reading>`
	for _, xk := range xmppKinds {
		t.Run(xk.name, func(t *testing.T) {
			xk.need(t)
			h := hubtest.StartHub(t)
			h.AddUser("alice")
			m := connectPahoGo3(t, h, mqttOptions{Client: "anyone"})
			m.Subscribe("plant/reading", 1)
			x := xk.dial(t, h, xmppOptions{User: "alice", Resource: "desk"})
			x.publish("plant/reading", reading)
			got := m.Await("XML item", onTopic("plant/reading"))
			// xmpp.js and slixmpp write the attribute quotes in their own way.
			if plain := strings.ReplaceAll(string(got.Payload), "'", `"`); plain != reading {
				t.Errorf("got %s, want %s", plain, reading)
			}
		})
	}
}

func TestPayloadsRoundTripOverMQTT(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	sender := connectPahoGo3(t, h, mqttOptions{Client: "sender"})
	receiver := connectPahoGo5(t, h, mqttOptions{Client: "receiver"})
	receiver.Subscribe("bytes/#", 2)
	for _, p := range append(payloads, struct {
		name  string
		bytes []byte
	}{"empty", nil}) {
		topic := "bytes/" + strings.ReplaceAll(p.name, " ", "-")
		sender.Publish(mqttMessage{Topic: topic, Payload: p.bytes, QoS: 2})
		receiver.Await(p.name, exactly(topic, p.bytes))
	}
}

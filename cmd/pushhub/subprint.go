package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pushhub/compare/device"
)

// arrival is one line of sub --json. Topics are the hub's own addresses,
// whatever protocol brought the message.
type arrival struct {
	Proto  string  `json:"proto"`
	Kind   string  `json:"kind"` // message, presence
	Topic  string  `json:"topic"`
	From   string  `json:"from,omitempty"` // account, or account/device, where the protocol tells
	Text   *string `json:"payload,omitempty"`
	Bytes  *string `json:"payload_base64,omitempty"` // when the payload is no text
	QoS    *byte   `json:"qos,omitempty"`
	Retain bool    `json:"retain"`
	State  string  `json:"state,omitempty"`  // of a presence
	Show   string  `json:"show,omitempty"`   // likewise
	Status string  `json:"status,omitempty"` // likewise
	Time   string  `json:"time"`             // when it arrived: RFC 3339
}

// printer prints what arrives, and counts the messages.
type printer struct {
	out          io.Writer
	ready        func() // says that everything that is published from now on is printed
	json         bool
	user, self   string // account and full JID
	domain       string // XMPP domain of the hub
	came, wanted int
}

func (p *printer) message(m device.Message) error {
	a := arrival{Proto: protoMQTT, Kind: "message", Topic: m.Topic, QoS: &m.QoS, Retain: m.Retain, Time: stamp(m.Received)}
	if rest, ok := strings.CutPrefix(m.Topic, "$inbox/"); ok {
		_, a.From, _ = strings.Cut(rest, "/")
	}
	return p.print(a, m.Payload)
}

func (p *printer) event(e device.Event) error {
	// What the hub calls "bob/phone" is bob@its.domain/phone to XMPP; accounts of
	// other hubs keep their domain.
	bare, resource, full := strings.Cut(e.From, "/")
	account := strings.TrimSuffix(bare, "@"+p.domain)
	a := arrival{Proto: protoXMPP, Kind: "message", From: account, Time: stamp(e.Received)}
	if full {
		a.From += "/" + resource
	}
	switch e.Kind {
	case device.KindItem:
		a.Topic = e.Node
	case device.KindMessage:
		a.Topic = "$inbox/" + p.user + "/" + account
		if e.Type == "error" {
			return nil // nothing was sent that could be refused
		}
	case device.KindPresence:
		if e.From == p.self {
			return nil
		}
		a.Topic = "$presence/" + a.From
		return p.presence(a, e)
	default:
		return nil
	}
	return p.print(a, e.Payload)
}

func (p *printer) presence(a arrival, e device.Event) error {
	a.Kind, a.Show, a.Status = "presence", e.Show, e.Status
	switch e.Type {
	case "":
		a.State = "online"
	case "unavailable":
		a.State = "offline"
	default:
		a.State = e.Type // a request: subscribe, subscribed …
	}
	if p.json {
		return json.NewEncoder(p.out).Encode(a)
	}
	_, err := fmt.Fprintln(p.out, strings.Join(strings.Fields(a.Topic+" "+a.State+" "+readable([]byte(a.Show+" "+a.Status))), " "))
	return err
}

// print prints a message; errEnough when it was the last one wanted.
func (p *printer) print(a arrival, payload []byte) error {
	var err error
	if p.json {
		if utf8.Valid(payload) {
			text := string(payload)
			a.Text = &text
		} else {
			coded := base64.StdEncoding.EncodeToString(payload)
			a.Bytes = &coded
		}
		err = json.NewEncoder(p.out).Encode(a)
	} else {
		_, err = fmt.Fprintf(p.out, "%s %s\n", readable([]byte(a.Topic)), readable(payload))
	}
	if err != nil {
		return fmt.Errorf("printing a message: %w", err)
	}
	if p.came++; p.came == p.wanted {
		return errEnough
	}
	return nil
}

// readable keeps bytes of a stranger from steering the terminal.
func readable(b []byte) string {
	steers := func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }
	if !utf8.Valid(b) || strings.ContainsFunc(string(b), steers) {
		return "base64:" + base64.StdEncoding.EncodeToString(b)
	}
	return string(b)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

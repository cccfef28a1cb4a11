package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"pushhub/compare/device"
)

var errNotDelivered = errors.New("it did not arrive")

// news is something that a device got, in the hub's own terms, whatever
// protocol brought it.
type news struct {
	at       time.Time
	topic    string // "" of a notification
	payload  []byte
	state    string // of presence: online, offline
	show     string // likewise
	retain   bool
	qos      byte
	response string // MQTT 5
}

// A mailbox keeps what a device got. It holds as much as the demo sends, which
// is little.
type mailbox struct {
	owner, domain string
	pumps         sync.WaitGroup

	mu   sync.Mutex // guards what follows
	all  []news
	more chan struct{} // closed, and replaced, when something is added
}

func newMailbox(owner, domain string) *mailbox {
	return &mailbox{owner: owner, domain: domain, more: make(chan struct{})}
}

func (b *mailbox) takeMQTT(m *device.MQTT) {
	b.pumps.Go(func() {
		for msg := range m.Messages() {
			b.add(newsOfMQTT(msg))
		}
	})
}

func (b *mailbox) takeXMPP(events <-chan device.Event) {
	b.pumps.Go(func() {
		for e := range events {
			b.add(b.newsOfXMPP(e))
		}
	})
}

// wait waits until the device's connections have ended.
func (b *mailbox) wait() { b.pumps.Wait() }

func (b *mailbox) add(n news) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, n)
	close(b.more)
	b.more = make(chan struct{})
}

func (b *mailbox) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.all)
}

// await returns the first news from number from on that match.
func (b *mailbox) await(ctx context.Context, from int, match func(news) bool) (news, error) {
	for {
		b.mu.Lock()
		all, more := b.all, b.more
		b.mu.Unlock()
		for ; from < len(all); from++ {
			if match(all[from]) {
				return all[from], nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return news{at: time.Now()}, errNotDelivered
			}
			return news{}, ctx.Err()
		}
	}
}

func newsOfMQTT(m device.Message) news {
	n := news{at: m.Received, topic: m.Topic, payload: m.Payload, retain: m.Retain, qos: m.QoS, response: m.ResponseTopic}
	if strings.HasPrefix(m.Topic, "$presence/") {
		var p struct{ State, Show string }
		if json.Unmarshal(m.Payload, &p) == nil {
			n.state, n.show = p.State, p.Show
		}
	}
	return n
}

func (b *mailbox) newsOfXMPP(e device.Event) news {
	n := news{at: e.Received, payload: e.Payload}
	bare, resource, _ := strings.Cut(e.From, "/")
	account := strings.TrimSuffix(bare, "@"+b.domain)
	switch e.Kind {
	case device.KindItem:
		n.topic = e.Node
	case device.KindMessage:
		n.topic = "$inbox/" + b.owner + "/" + account
	case device.KindPresence:
		n.topic, n.show, n.state = "$presence/"+account+"/"+resource, e.Show, "online"
		if e.Type != "" {
			n.state = "offline"
		}
	case device.KindNotification, device.KindRoster:
	}
	return n
}

// The conditions that the script is made of.

func on(topic string, payload []byte) func(news) bool {
	return func(n news) bool { return n.topic == topic && bytes.Equal(n.payload, payload) }
}

func presence(device, state, show string) func(news) bool {
	return func(n news) bool { return n.topic == "$presence/"+device && n.state == state && n.show == show }
}

// notification has no sender on an androidpn wire.
func notification(text string) func(news) bool {
	return func(n news) bool { return n.topic == "" && string(n.payload) == text }
}

func with(match func(news) bool, more func(news) bool) func(news) bool {
	return func(n news) bool { return match(n) && more(n) }
}

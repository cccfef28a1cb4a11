package core_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// A device is a core.Device that writes down what it is told.
type device struct {
	mu     sync.Mutex
	cond   *sync.Cond
	got    []delivery
	stored map[uint64]error
	seen   []core.Notice
	closed error
	full   bool // refuses deliveries for want of room
	ack    bool // acknowledges at once, from its own goroutine
	acks   sync.WaitGroup
}

type delivery struct {
	core.Delivery
	Topic, Payload, From string
	Expires              int64
}

func newDevice() *device {
	d := &device{stored: map[uint64]error{}}
	d.cond = sync.NewCond(&d.mu)
	return d
}

func (d *device) Deliver(b *core.Batch, x core.Delivery) core.Outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.cond.Broadcast()
	if d.full {
		return core.Full
	}
	rec := delivery{Delivery: x}
	if x.Message != nil {
		rec.Expires = x.Message.Expires
		rec.Topic, rec.Payload, rec.From = x.Message.Topic, string(x.Message.Payload), x.Message.From.String()
	}
	d.got = append(d.got, rec)
	b.Touch(d)
	if d.ack && x.QoS > 0 {
		d.acks.Add(1)
		go d.acknowledge(x)
	}
	return core.Queued
}

func (d *device) acknowledge(x core.Delivery) {
	defer d.acks.Done()
	var b core.Batch
	if x.QoS == 2 && !x.Release {
		_ = x.To.Received(&b, x.Packet)
	} else {
		_ = x.To.Ack(&b, x.Packet)
	}
	b.Flush()
}

func (d *device) Stored(_ *core.Batch, token uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stored[token] = err
	d.cond.Broadcast()
}

func (d *device) Notice(_ *core.Batch, n core.Notice) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, n)
	d.cond.Broadcast()
}

func (d *device) Close(_ *core.Batch, reason error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = reason
	d.cond.Broadcast()
}

func (d *device) Flush() {}

// set changes how the device behaves.
func (d *device) set(change func(*device)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// until waits for a condition on the device.
func (d *device) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	timer := time.AfterFunc(patience, d.cond.Broadcast)
	defer timer.Stop()
	deadline := time.Now().Add(patience)
	d.mu.Lock()
	defer d.mu.Unlock()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: got %s, stored %v, notices %d, closed %v", what, d.list(), d.stored, len(d.seen), d.closed)
		}
		d.cond.Wait()
	}
}

func (d *device) list() string {
	s := ""
	for _, x := range d.got {
		s += fmt.Sprintf("[%s %q qos%d id%d dup%t retain%t rel%t]", x.Topic, x.Payload, x.QoS, x.Packet, x.Dup, x.Retain, x.Release)
	}
	return s
}

func (d *device) expect(t *testing.T, payloads ...string) []delivery {
	t.Helper()
	d.until(t, fmt.Sprint(payloads), func() bool { return len(d.got) >= len(payloads) })
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, p := range payloads {
		if d.got[i].Payload != p {
			t.Fatalf("delivery %d is %q, want %q; all: %s", i, d.got[i].Payload, p, d.list())
		}
	}
	return append([]delivery(nil), d.got...)
}

// A hub is a router on a store that outlives it.
type hub struct {
	*core.Router
	t    *testing.T
	stop func() // cleanly
	kill func() // whatever comes of it
}

func newHub(t *testing.T, store *bus.Memory) *hub {
	t.Helper()
	return newHubWith(t, store, core.Options{})
}

func newHubWith(t *testing.T, store *bus.Memory, opt core.Options) *hub {
	t.Helper()
	opt.Journal, opt.Rows = store.Journal(), store.Rows()
	if opt.Flush == 0 {
		opt.Flush = 5 * time.Millisecond
	}
	r := core.NewRouter(opt)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- r.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("the router did not start: %v", err)
	case <-time.After(patience):
		t.Fatal("the router did not become ready")
	}
	h := &hub{Router: r, t: t}
	end := sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	h.kill = func() { _ = end() }
	h.stop = func() {
		if err := end(); err != nil {
			t.Errorf("the router ended: %v", err)
		}
	}
	t.Cleanup(h.kill)
	return h
}

// client is a device on a session.
type client struct {
	*device
	*core.Attachment
	hub     *hub
	present bool
	token   uint64
}

func (h *hub) attach(req core.Attach) *client {
	h.t.Helper()
	c := &client{device: newDevice(), hub: h}
	req.Device = c.device
	type result struct {
		att     *core.Attachment
		present bool
		err     error
	}
	got := make(chan result, 1)
	var b core.Batch
	h.Attach(&b, req, func(_ *core.Batch, att *core.Attachment, present bool, err error) {
		got <- result{att, present, err}
	})
	res := <-got
	if res.err != nil {
		h.t.Fatalf("attaching %s: %v", req.Address, res.err)
	}
	c.Attachment, c.present = res.att, res.present
	return c
}

func clean(account, id string) core.Attach {
	return core.Attach{Address: core.Address{Account: account, Resource: id}, Clean: true, Protocol: "mqtt"}
}

func durable(account, id string) core.Attach {
	return core.Attach{Address: core.Address{Account: account, Resource: id}, Expiry: time.Hour, Protocol: "mqtt"}
}

func (c *client) subscribe(subs ...core.Subscription) {
	c.hub.t.Helper()
	done := make(chan []error, 1)
	var b core.Batch
	c.Subscribe(&b, subs, func(_ *core.Batch, errs []error) { done <- errs })
	b.Flush()
	for i, err := range <-done {
		if err != nil {
			c.hub.t.Fatalf("subscribing to %q: %v", subs[i].Filter, err)
		}
	}
}

// publish sends and waits until the hub has taken the message.
func (c *client) publish(topic, payload string, qos core.QoS, retain bool) {
	c.hub.t.Helper()
	c.publishAs(topic, payload, qos, retain, uint16(c.token+1))
}

func (c *client) publishAs(topic, payload string, qos core.QoS, retain bool, packet uint16) {
	c.hub.t.Helper()
	var b core.Batch
	rt, err := c.Route([]byte(topic))
	if err != nil {
		c.hub.t.Fatalf("routing %q: %v", topic, err)
	}
	c.token++
	token := c.token // never used for QoS 0: nothing follows
	m := &core.Message{Payload: []byte(payload), QoS: qos, Retain: retain}
	pending, err := c.Publish(&b, rt, m, packet, token)
	b.Flush()
	if err != nil {
		c.hub.t.Fatalf("publishing to %q: %v", topic, err)
	}
	if pending {
		c.wait(token)
	}
}

// mail sends a message to an account, for one of its devices or (resource empty) all.
func (c *client) mail(account, resource, payload string) {
	c.hub.t.Helper()
	var b core.Batch
	rt, err := c.Route([]byte(core.InboxTopic(account, c.Address().Account)))
	if err == nil {
		_, err = c.Publish(&b, rt, &core.Message{Payload: []byte(payload), QoS: 1, Resource: resource}, 0, 0)
	}
	if err != nil {
		c.hub.t.Fatal(err)
	}
}

func (c *client) wait(token uint64) {
	c.hub.t.Helper()
	c.until(c.hub.t, "an acknowledgement", func() bool { _, ok := c.stored[token]; return ok })
	if err := c.stored[token]; err != nil {
		c.hub.t.Fatalf("storing: %v", err)
	}
}

func (c *client) release(packet uint16) {
	c.hub.t.Helper()
	var b core.Batch
	c.token++
	pending, err := c.Release(&b, packet, c.token)
	if err != nil {
		c.hub.t.Fatalf("releasing %d: %v", packet, err)
	}
	if pending {
		c.wait(c.token)
	}
}

func (c *client) leave(graceful bool) {
	var b core.Batch
	c.Detach(&b, graceful)
	b.Flush()
}

func (h *hub) register(names ...string) {
	h.t.Helper()
	for _, name := range names {
		done := make(chan error, 1)
		h.Register(name, "secret", func(_ string, err error) { done <- err })
		if err := <-done; err != nil {
			h.t.Fatalf("registering %s: %v", name, err)
		}
	}
}

package xmppfront

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pushhub/bus"
	"pushhub/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub is a router on a memory bus, with a front that listens on a loopback port.
type hub struct {
	t      testing.TB
	router *core.Router
	front  *Front
	addr   string
	mem    *bus.Memory
	opt    Options
	own    core.Options
	killed atomic.Bool
}

func newHub(t testing.TB, opt Options) *hub {
	t.Helper()
	return hubOn(t, bus.NewMemory(), core.Options{}, opt)
}

// hubOn is a hub on what a store holds.
func hubOn(t testing.TB, mem *bus.Memory, own core.Options, opt Options) *hub {
	t.Helper()
	own.Journal, own.Rows = mem.Journal(), mem.Rows()
	router := core.NewRouter(own)
	ctx, cancel := context.WithCancel(context.Background())
	h := &hub{t: t, router: router, mem: mem, opt: opt, own: own}
	ready := make(chan struct{}) // closed by Run when the router may be used
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := router.Run(ctx, func() { close(ready) }); err != nil && !h.killed.Load() {
			t.Errorf("router: %v", err)
		}
	})
	<-ready
	if opt.Domain == "" {
		opt.Domain = "hub.example"
	}
	front, err := New(router, opt)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.front, h.addr = front, ln.Addr().String()
	wg.Go(func() { _ = front.Serve(ln) })
	t.Cleanup(func() {
		stop, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		if err := front.Shutdown(stop); err != nil && !h.killed.Load() {
			t.Errorf("shutdown: %v", err)
		}
		cancel()
		_ = mem.Close(stop)
		wg.Wait()
	})
	return h
}

// kill leaves the hub as a zombie that can store nothing any more, and starts
// another on what it has stored.
func (h *hub) kill() *hub {
	h.t.Helper()
	h.killed.Store(true)
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.mem.Close(now)
	return hubOn(h.t, h.mem.Reopen(), h.own, h.opt)
}

func (h *hub) account(name, password string) {
	h.t.Helper()
	done := make(chan error, 1)
	h.router.Register(name, password, func(_ string, err error) { done <- err })
	if err := <-done; err != nil {
		h.t.Fatalf("registering %s: %v", name, err)
	}
}

// device attaches a device of no protocol, as another front would.
func (h *hub) device(account, resource string) *device {
	h.t.Helper()
	d := &device{t: h.t, got: make(chan *core.Message, 1000)}
	var b core.Batch
	done := make(chan error, 1)
	h.router.Attach(&b, core.Attach{Address: core.Address{Account: account, Resource: resource}, Device: d, Clean: true, Protocol: "mqtt"},
		func(_ *core.Batch, att *core.Attachment, _ bool, err error) {
			d.att = att
			done <- err
		})
	b.Flush()
	if err := <-done; err != nil {
		h.t.Fatalf("attaching %s/%s: %v", account, resource, err)
	}
	h.t.Cleanup(func() {
		var b core.Batch
		d.att.Detach(&b, true)
		b.Flush()
	})
	return d
}

// device is a core.Device that takes everything.
type device struct {
	t   testing.TB
	att *core.Attachment
	got chan *core.Message // sent by Deliver, never closed
}

func (d *device) Deliver(_ *core.Batch, dl core.Delivery) core.Outcome {
	if dl.Message == nil {
		return core.Queued
	}
	m := dl.Message
	d.got <- &core.Message{
		Topic: m.Topic, Payload: append([]byte(nil), m.Payload...), ContentType: m.ContentType, ID: m.ID, From: m.From,
		Type: m.Type, Subject: m.Subject, Resource: m.Resource, Retain: m.Retain, QoS: dl.QoS,
	}
	return core.Queued
}
func (d *device) Stored(*core.Batch, uint64, error) {}
func (d *device) Notice(*core.Batch, core.Notice)   {}
func (d *device) Close(*core.Batch, error)          {}
func (d *device) Flush()                            {}

func (d *device) subscribe(filter string) {
	d.t.Helper()
	var b core.Batch
	done := make(chan error, 1)
	d.att.Subscribe(&b, []core.Subscription{{Filter: filter, QoS: 1}}, func(_ *core.Batch, errs []error) { done <- errs[0] })
	b.Flush()
	if err := <-done; err != nil {
		d.t.Fatalf("subscribing to %s: %v", filter, err)
	}
}

func (d *device) publish(m *core.Message) {
	d.t.Helper()
	topic := m.Topic
	rt, err := d.att.Route([]byte(topic))
	if err != nil {
		d.t.Fatalf("route to %s: %v", topic, err)
	}
	var b core.Batch
	if _, err := d.att.Publish(&b, rt, m, 0, 1); err != nil {
		d.t.Fatalf("publishing to %s: %v", topic, err)
	}
	b.Flush()
}

func (d *device) next() *core.Message {
	d.t.Helper()
	select {
	case m := <-d.got:
		return m
	case <-time.After(patience):
		d.t.Fatal("no message came")
		return nil
	}
}

// patience is how long a test waits for what must happen.
const patience = 5 * time.Second

// client is the other end of a stream.
type client struct {
	t    testing.TB
	conn net.Conn
	buf  []byte
	vars map[string]string
	drip bool // send each byte by itself
}

func (h *hub) dial() *client {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	return &client{t: h.t, conn: conn, vars: map[string]string{}}
}

func (c *client) send(text string) {
	c.t.Helper()
	for name, value := range c.vars {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	step := len(text)
	if c.drip {
		step = 1
	}
	for p := []byte(text); len(p) > 0; p = p[min(step, len(p)):] {
		if _, err := c.conn.Write(p[:min(step, len(p))]); err != nil {
			c.t.Fatalf("sending %q: %v", text, err)
		}
	}
}

const header = `<?xml version='1.0'?><stream:stream to='hub.example' xmlns='jabber:client' ` +
	`xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>`

// login opens a stream and binds a resource by SASL PLAIN.
func (h *hub) login(account, password, resource string) *client {
	h.t.Helper()
	c := h.stream(account, password)
	c.bind(account, resource)
	return c
}

// stream opens a stream and logs in.
func (h *hub) stream(account, password string) *client {
	h.t.Helper()
	c := h.dial()
	c.send(header)
	c.expect(`<?xml{}<stream:features>{}</stream:features>`)
	c.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>` + plainOf(account, password) + `</auth>`)
	c.expect(`<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>`)
	c.send(header)
	c.expect(`<?xml{}<stream:features>{}</stream:features>`)
	return c
}

func (c *client) bind(account, resource string) {
	c.t.Helper()
	c.send(`<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>` + resource + `</resource></bind></iq>`)
	c.expect(`<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>` + account + `@hub.example/` + resource + `</jid></bind></iq>`)
}

// available sends initial presence.
func (c *client) available() {
	c.t.Helper()
	c.send(`<presence/>`)
	c.expect(`<presence from='{}' to='{}'/>`)
}

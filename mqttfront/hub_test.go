package mqttfront

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pushhub/core"
	"pushhub/core/auth"
	"pushhub/core/topic"
)

// fakeHub is a hub that answers at once, or, when held, when the test says so. It
// hands every publication back to its sessions' devices when they are subscribed
// to the very topic.
type fakeHub struct {
	delay     time.Duration // of Try
	overTried error         // of Try
	tried     []string
	held      []func() // what waits for release
	hold      bool
	present   bool
	attached  core.Attach
	session   *fakeSession
	refuse    error // of Attach
}

func (h *fakeHub) later(f func()) {
	if h.hold {
		h.held = append(h.held, f)
		return
	}
	f()
}

func (h *fakeHub) release() {
	held := h.held
	h.held = nil
	for _, f := range held {
		f()
	}
}

// testVerifier is what alice's password is checked against by SCRAM.
var testVerifier = sync.OnceValue(func() auth.Verifier {
	v, err := auth.NewVerifier(auth.SHA256, "secret", rand.Reader, auth.DefaultIterationsSHA1)
	if err != nil {
		panic(err)
	}
	return v
})

func (h *fakeHub) Verifier(name, mechanism string) (auth.Verifier, bool) {
	if name != "alice" && name != "bob" || mechanism != auth.SHA256 {
		return auth.Verifier{}, false
	}
	return testVerifier(), true
}

func (h *fakeHub) Try(netip.Addr, string) (time.Duration, error) { return h.delay, h.overTried }

func (h *fakeHub) Tried(_ netip.Addr, account string, good bool) {
	h.tried = append(h.tried, fmt.Sprint(account, " ", good))
}

func (h *fakeHub) Login(_ context.Context, _ netip.Addr, name, password string, done func(string, error)) {
	h.later(func() {
		if name == "alice" && password == "secret" {
			done("alice", nil)
			return
		}
		done("", core.ErrNotAuthorized)
	})
}

func (h *fakeHub) Vouched(name string) (string, error) {
	if name == "alice" {
		return name, nil
	}
	return "", core.ErrForbidden
}

func (h *fakeHub) Attach(_ *core.Batch, a core.Attach, done func(*core.Batch, session, bool, error)) {
	h.later(func() {
		var b core.Batch
		defer b.Flush()
		h.attached = a
		if h.refuse != nil {
			done(&b, nil, false, h.refuse)
			return
		}
		if h.session == nil {
			h.session = &fakeSession{}
		}
		h.session.hub, h.session.device = h, a.Device
		done(&b, h.session, h.present, nil)
	})
}

// fakeSession notes what the engine asks of it.
type fakeSession struct {
	hub      *fakeHub
	device   core.Device
	log      []string
	quiet    bool // keep no log
	pending  bool // publications and releases are stored later, by the test
	tokens   []uint64
	publish  error // what Publish returns
	subs     []core.Subscription
	inFlight map[uint16]bool
	detached []bool
	drained  int
	expiry   time.Duration
	fanout   []core.Device

	onPublish func()
}

func (s *fakeSession) note(format string, args ...any) {
	if !s.quiet {
		s.log = append(s.log, fmt.Sprintf(format, args...))
	}
}

func (s *fakeSession) Route(name []byte) (*core.Route, error) {
	switch {
	case topic.ValidateNameBytes(name) != nil:
		return nil, core.ErrBadTopic
	case strings.HasPrefix(string(name), "secret"):
		return nil, core.ErrForbidden
	}
	return &core.Route{Topic: string(name)}, nil
}

func (s *fakeSession) Publish(b *core.Batch, rt *core.Route, m *core.Message, packet uint16, token uint64) (bool, error) {
	m.Topic = rt.Topic
	if s.onPublish != nil {
		s.onPublish()
	}
	for _, d := range s.fanout {
		d.Deliver(b, core.Delivery{Message: m})
	}
	if s.quiet && s.publish == nil && !s.pending {
		return false, nil
	}
	s.note("publish %s q%d r%v #%d %q", rt.Topic, m.QoS, m.Retain, packet, m.Payload)
	if m.ContentType+m.ResponseTopic+m.ID+m.Subject != "" || m.User != nil || m.Correlation != nil || m.UTF8 {
		s.note("  %s|%s|%s|%s|%x|%v|%v", m.ContentType, m.ResponseTopic, m.ID, m.Subject, m.Correlation, m.User, m.UTF8)
	}
	if s.publish != nil {
		return false, s.publish
	}
	if s.pending && m.QoS > 0 {
		s.tokens = append(s.tokens, token)
	}
	return s.pending && m.QoS > 0, nil
}

func (s *fakeSession) Release(_ *core.Batch, packet uint16, token uint64) (bool, error) {
	s.note("release #%d", packet)
	if packet == 0x99 {
		return false, core.ErrNotFound
	}
	if s.pending {
		s.tokens = append(s.tokens, token)
	}
	return s.pending, nil
}

func (s *fakeSession) Subscribe(b *core.Batch, subs []core.Subscription, done func(*core.Batch, []error)) {
	s.hub.later(func() {
		errs := make([]error, len(subs))
		for i, sub := range subs {
			s.note("subscribe %s q%d nl%v rap%v rh%d id%d", sub.Filter, sub.QoS, sub.NoLocal, sub.RetainAsPublished, sub.RetainHandling, sub.ID)
			if strings.HasPrefix(sub.Filter, "secret") {
				errs[i] = core.ErrForbidden
			}
		}
		s.subs = append(s.subs, subs...)
		done(b, errs)
		b.Flush()
	})
}

func (s *fakeSession) Unsubscribe(b *core.Batch, filters []string, done func(*core.Batch, []error)) {
	s.hub.later(func() {
		errs := make([]error, len(filters))
		for i, f := range filters {
			if strings.HasPrefix(f, "odd") {
				errs[i] = core.ErrUnsupported
				continue
			}
			if !slices.ContainsFunc(s.subs, func(sub core.Subscription) bool { return sub.Filter == f }) {
				errs[i] = core.ErrNotFound
			}
		}
		done(b, errs)
		b.Flush()
	})
}

func (s *fakeSession) Ack(_ *core.Batch, packet uint16) error {
	s.note("ack #%d", packet)
	if !s.inFlight[packet] {
		return core.ErrNotFound
	}
	delete(s.inFlight, packet)
	return nil
}

func (s *fakeSession) Received(b *core.Batch, packet uint16) error {
	s.note("received #%d", packet)
	if !s.inFlight[packet] {
		return core.ErrNotFound
	}
	s.device.Deliver(b, core.Delivery{Release: true, Packet: packet})
	return nil
}

func (s *fakeSession) Drained(*core.Batch)               { s.drained++ }
func (s *fakeSession) Detach(_ *core.Batch, gentle bool) { s.detached = append(s.detached, gentle) }
func (s *fakeSession) SetExpiry(d time.Duration)         { s.expiry = d }

// fakeLink is a link whose peer takes what is flushed, unless it is clogged.
type fakeLink struct {
	e       *engine
	bound   int
	clogged bool
	queue   []byte
	out     []byte
	dirty   bool
	closed  bool
	cause   error
	resumed atomic.Int64
	last    time.Time
	total   uint64
	batch   core.Batch
	tls     *tls.ConnectionState
	over    int // len(queue) at a Begin after the last packet; else -1
}

func (l *fakeLink) Begin(n int) ([]byte, bool) {
	if l.closed || (n > 0 && len(l.queue) > 0 && len(l.queue)+n > l.bound) {
		return nil, false
	}
	l.over = -1
	if l.e.ended.Load() {
		l.over = len(l.queue)
	}
	return l.queue, true
}

func (l *fakeLink) End(b []byte) bool {
	if l.over >= 0 && len(b) != l.over {
		panic("something was appended after the last packet")
	}
	first := !l.dirty
	l.queue, l.dirty = b, true
	return first
}

func (l *fakeLink) Queued() int { return len(l.queue) }

func (l *fakeLink) Flush() {
	l.dirty = false
	if l.clogged || len(l.queue) == 0 {
		return
	}
	l.take(len(l.queue))
}

// take is the peer reading n bytes.
func (l *fakeLink) take(n int) {
	l.out = append(l.out, l.queue[:n]...)
	l.queue = l.queue[:copy(l.queue, l.queue[n:])]
	l.total += uint64(n)
	l.e.Written(&l.batch, l.total)
	l.batch.Flush()
}

func (l *fakeLink) Close(cause error) {
	if l.closed {
		return
	}
	l.Flush()
	l.closed, l.cause = true, cause
}

func (l *fakeLink) Resume()                   { l.resumed.Add(1) }
func (l *fakeLink) LastInput() time.Time      { return l.last }
func (l *fakeLink) TLS() *tls.ConnectionState { return l.tls }
func (l *fakeLink) From() netip.Addr          { return netip.Addr{} }
func (l *fakeLink) RemoteAddr() net.Addr      { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1} }

// A rig is an engine with fakes on both sides.
type rig struct {
	t    testing.TB
	e    *engine
	hub  *fakeHub
	link *fakeLink
	rest []byte
	err  error // what Input returned last
}

var quietLog = slog.New(slog.DiscardHandler)

func testOptions() Options {
	return Options{
		Anonymous: true, Log: quietLog, MaxPacketSize: 4096, ReceiveMax: 4, QueueBytes: 4096,
		ScramKey: []byte("a key for tests!"),
	}
}

func newRig(t testing.TB, opt Options) *rig {
	h := &fakeHub{}
	f := &Front{hub: h, opt: opt.withDefaults()}
	l := &fakeLink{bound: f.opt.QueueBytes, last: time.Now()}
	e := newEngine(f, l, time.Now())
	l.e = e
	return &rig{t: t, e: e, hub: h, link: l}
}

// in gives the engine bytes as the transport would, and returns what came out.
func (r *rig) in(data []byte) []byte {
	r.rest = append(r.rest, data...)
	for !r.link.closed {
		var b core.Batch
		resumed := r.link.resumed.Load()
		n, err := r.e.Input(&b, r.rest)
		b.Flush()
		r.err = err
		r.rest = r.rest[n:]
		if r.link.resumed.Load() == resumed {
			break
		}
	}
	out := r.link.out
	r.link.out = nil
	return out
}

func (r *rig) inHex(s string) string { return toHex(r.in(fromHex(r.t, s))) }

// connected sends a CONNECT of that version and forgets the CONNACK.
func (r *rig) connected(version int) *rig {
	r.t.Helper()
	out := r.inHex(connects[version])
	if r.hub.session == nil || !strings.HasPrefix(out, "20") {
		r.t.Fatalf("CONNECT of version %d was answered by %s (%v)", version, out, r.err)
	}
	return r
}

// connects are CONNECTs of client "c" with a clean session.
var connects = map[int]string{
	3: "10 0f 0006 4d5149736470 03 02 003c 0001 63",
	4: "10 0d 0004 4d515454 04 02 003c 0001 63",
	5: "10 0e 0004 4d515454 05 02 003c 00 0001 63",
}

// fromHex reads hex digits, with white space as one likes, and "text" for itself.
func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	var all []byte
	for i, part := range strings.Split(s, `"`) {
		if i%2 == 1 {
			all = append(all, part...)
			continue
		}
		b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(part))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

func toHex(b []byte) string { return hex.EncodeToString(b) }

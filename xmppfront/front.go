package xmppfront

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pushhub/core"
	"pushhub/core/wire"
)

// What an Options field that is left zero stands for.
const (
	DefaultMaxStanza    = 256 << 10
	DefaultLoginTimeout = 30 * time.Second
	DefaultIdleTimeout  = 10 * time.Minute
	DefaultQueueBytes   = 1 << 20

	DefaultResumeTimeout = 5 * time.Minute
	DefaultAckTimeout    = 30 * time.Second

	// DefaultAndroidpn is the resource that the androidpn client always uses.
	DefaultAndroidpn = "AndroidpnClient"
)

// Options of a Front.
type Options struct {
	// Domain is the host part of every address; required. Aliases are further
	// names by which clients may call it. An IP literal and localhost always are.
	Domain  string
	Aliases []string

	// Registration lets anybody make an account in band (XEP-0077).
	Registration bool
	// PlainWithoutTLS offers logins that show the password to the network, and
	// registration, on connections without TLS.
	PlainWithoutTLS bool
	// ChannelBinding offers the SCRAM mechanisms with -PLUS where there is TLS. A
	// client that knows of channel binding, but of none that the connection has, is
	// refused then (RFC 5802 §6), and may turn to PLAIN.
	ChannelBinding bool
	// TLSRequired offers nothing but STARTTLS on connections without TLS.
	TLSRequired bool
	// TLS serves STARTTLS and ServeTLS; nil: there is none.
	TLS *tls.Config

	MaxStanza       int           // bytes of one stanza after login
	LoginTimeout    time.Duration // from the connection to the bound resource
	IdleTimeout     time.Duration // silence after which a client is pinged; negative: never
	MaxConns        int           // 0: unbounded
	ConnsPerAddress int           // from one address, see wire.Options; 0: unbounded
	ConnRate        int           // connections a second that are accepted; 0: unbounded
	// PublishRate and PublishBytes are how many messages and items, and bytes of
	// their stanzas, a second a client may send after the first second's worth. One that
	// sends more is not read from until it may again. 0: unbounded.
	PublishRate  int
	PublishBytes int
	QueueBytes   int // of a connection's out-queue

	ResumeTimeout time.Duration // how long a stream can be resumed (XEP-0198)
	AckTimeout    time.Duration // for a client to answer a request for an acknowledgement

	// ScramKey makes the salts of unknown users; the same on every node. Empty:
	// a random one.
	ScramKey []byte
	// Androidpn lists the resources whose devices take messages as androidpn
	// notifications; nil: DefaultAndroidpn.
	Androidpn []string
	// AdminAddresses are URIs of those who run the hub, for everybody (XEP-0157).
	AdminAddresses []string
	// Version is told to who asks for it (XEP-0092).
	Version string
	Log     *slog.Logger

	now func() time.Time // nil: time.Now
}

// A Front accepts XMPP clients for a router. Shutdown ends it.
type Front struct {
	router *core.Router
	opt    Options
	pubsub string // pubsub.<domain>
	server *wire.Server
	rand   io.Reader
	now    func() time.Time
	late   sync.WaitGroup // what must be undone after a connection has ended
	counts counters

	started      time.Time
	capabilities capabilities // of the server itself
	capsVersion  string       // of these

	streams streams // that can be resumed
}

// counters are what Stats reads; each counts since the start.
type counters struct {
	logins, badLogins, registrations  atomic.Uint64
	streamErrors, stanzaErrors        atomic.Uint64
	messagesIn, messagesOut           atomic.Uint64
	carbonsOut                        atomic.Uint64
	publishesIn, eventsOut            atomic.Uint64
	iqsIn, presencesIn                atomic.Uint64
	ignored, queueFull, notifications atomic.Uint64
	superseded                        atomic.Uint64
	resumed                           atomic.Uint64
	payloadIn, payloadOut             atomic.Uint64 // bytes
	paused                            atomic.Uint64
}

// Stats is a snapshot of a Front's counters.
type Stats struct {
	Conns         int    // connections now
	Refused       uint64 // connections over MaxConns
	BadHeaders    uint64 // connections without the PROXY header that was due
	Logins        uint64
	BadLogins     uint64
	Registrations uint64
	StreamErrors  uint64 // sent
	StanzaErrors  uint64 // sent
	MessagesIn    uint64 // <message/> stanzas taken
	MessagesOut   uint64 // direct messages delivered as <message/>
	CarbonsOut    uint64 // copies of those to other devices (XEP-0280)
	PublishesIn   uint64 // pubsub items taken
	EventsOut     uint64 // pubsub events delivered
	Notifications uint64 // androidpn notifications delivered
	IQsIn         uint64
	PresencesIn   uint64
	Ignored       uint64 // stanzas that are legal and have no effect here
	Resumed       uint64 // streams that went on with an earlier one
	QueueFull     uint64 // deliveries that found the out-queue full
	Superseded    uint64 // presences and chat states that gave way to newer ones while their client was inactive
}

// New makes a front without listeners. It returns an error when the options
// cannot work.
func New(router *core.Router, opt Options) (*Front, error) {
	if opt.Domain == "" {
		return nil, fmt.Errorf("xmppfront: no domain is given")
	}
	if err := defaults(&opt); err != nil {
		return nil, err
	}
	f := &Front{router: router, opt: opt, pubsub: "pubsub." + opt.Domain, rand: rand.Reader, now: opt.now}
	f.started, f.capabilities = f.now(), serverCapabilities(opt)
	f.capsVersion = f.capabilities.version()
	f.server = wire.NewServer(wire.Options{
		New:      func(c *wire.Conn) wire.Handler { return newEngine(f, c) },
		TLS:      opt.TLS,
		MaxConns: opt.MaxConns, ConnsPerAddress: opt.ConnsPerAddress, ConnRate: float64(opt.ConnRate),
		QueueBytes: opt.QueueBytes,
		Log:        opt.Log,
	})
	return f, nil
}

func defaults(opt *Options) error {
	opt.Domain = strings.ToLower(opt.Domain)
	if opt.MaxStanza <= 0 {
		opt.MaxStanza = DefaultMaxStanza
	}
	if opt.LoginTimeout <= 0 {
		opt.LoginTimeout = DefaultLoginTimeout
	}
	if opt.IdleTimeout == 0 {
		opt.IdleTimeout = DefaultIdleTimeout
	}
	if opt.QueueBytes <= 0 {
		opt.QueueBytes = DefaultQueueBytes
	}
	if opt.ResumeTimeout <= 0 {
		opt.ResumeTimeout = DefaultResumeTimeout
	}
	if opt.AckTimeout <= 0 {
		opt.AckTimeout = DefaultAckTimeout
	}
	if opt.Androidpn == nil {
		opt.Androidpn = []string{DefaultAndroidpn}
	}
	if opt.now == nil {
		opt.now = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.TLS != nil && len(opt.TLS.NextProtos) == 0 {
		opt.TLS = opt.TLS.Clone()
		opt.TLS.NextProtos = []string{"xmpp-client"} // XEP-0368 §4
	}
	if len(opt.ScramKey) > 0 {
		return nil
	}
	opt.ScramKey = make([]byte, 32)
	if _, err := rand.Read(opt.ScramKey); err != nil {
		return fmt.Errorf("xmppfront: making the key for unknown users: %w", err)
	}
	return nil
}

// Serve accepts clients on ln, which may use STARTTLS, until Shutdown.
func (f *Front) Serve(ln net.Listener) error { return f.server.Serve(ln) }

// ServeTLS accepts clients that begin with TLS (XEP-0368), until Shutdown.
func (f *Front) ServeTLS(ln net.Listener) error { return f.server.ServeTLS(ln) }

// ServeOpening accepts clients whose connections begin as told, until Shutdown.
func (f *Front) ServeOpening(ln net.Listener, how wire.Opening) error {
	return f.server.ServeOpening(ln, how)
}

// Shutdown tells each client that the hub is stopping, and waits for their
// connections to end. When ctx ends first it cuts them off and says so.
func (f *Front) Shutdown(ctx context.Context) error {
	err := f.server.Shutdown(ctx, func(h wire.Handler) {
		var b core.Batch
		h.(*engine).Close(&b, core.ErrStopped)
		b.Flush()
	})
	f.late.Wait()
	return err
}

// Stats reads the counters.
func (f *Front) Stats() Stats {
	c := &f.counts
	return Stats{
		Conns: f.server.Conns(), Refused: f.server.Refused(), BadHeaders: f.server.BadHeaders(),
		Logins: c.logins.Load(), BadLogins: c.badLogins.Load(), Registrations: c.registrations.Load(),
		StreamErrors: c.streamErrors.Load(), StanzaErrors: c.stanzaErrors.Load(),
		MessagesIn: c.messagesIn.Load(), MessagesOut: c.messagesOut.Load(), CarbonsOut: c.carbonsOut.Load(),
		PublishesIn: c.publishesIn.Load(), EventsOut: c.eventsOut.Load(),
		Notifications: c.notifications.Load(),
		IQsIn:         c.iqsIn.Load(), PresencesIn: c.presencesIn.Load(),
		Resumed: c.resumed.Load(), Ignored: c.ignored.Load(), QueueFull: c.queueFull.Load(),
		Superseded: c.superseded.Load(),
	}
}

// isHost tells whether clients may call this server name.
func (f *Front) isHost(name string) bool {
	if strings.EqualFold(name, f.opt.Domain) || strings.EqualFold(name, "localhost") {
		return true
	}
	if slices.ContainsFunc(f.opt.Aliases, func(a string) bool { return strings.EqualFold(a, name) }) {
		return true
	}
	// An androidpn app is built with the address of its server, as often as with a name.
	return net.ParseIP(strings.Trim(name, "[]")) != nil
}

// hosts are the names for which user@host is a user of this server.
func (f *Front) hosts(called string) []string {
	hosts := append([]string{f.opt.Domain}, f.opt.Aliases...)
	if called != "" {
		hosts = append(hosts, called)
	}
	return hosts
}

// isAndroidpn tells whether the device takes androidpn notifications.
func (f *Front) isAndroidpn(resource string) bool { return slices.Contains(f.opt.Androidpn, resource) }

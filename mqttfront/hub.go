package mqttfront

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"pushhub/core"
	"pushhub/core/auth"
)

// A hub is the core as an engine sees it before it has a session.
type hub interface {
	verifier
	Login(ctx context.Context, from netip.Addr, name, password string, done func(account string, err error))
	Vouched(name string) (account string, err error)
	Attach(b *core.Batch, a core.Attach, done func(b *core.Batch, s session, present bool, err error))
}

// A verifier is what an engine needs to check a login by itself.
type verifier interface {
	Verifier(name, mechanism string) (auth.Verifier, bool)
	Try(from netip.Addr, account string) (wait time.Duration, err error)
	Tried(from netip.Addr, account string, good bool)
}

// A session is a *core.Attachment; tests have a smaller one.
type session interface {
	publisher
	subscriber
	Detach(b *core.Batch, graceful bool)
	SetExpiry(d time.Duration)
}

type publisher interface {
	Route(topic []byte) (*core.Route, error)
	Publish(b *core.Batch, rt *core.Route, m *core.Message, packet uint16, token uint64) (pending bool, err error)
	Release(b *core.Batch, packet uint16, token uint64) (pending bool, err error)
}

type subscriber interface {
	Subscribe(b *core.Batch, subs []core.Subscription, done func(b *core.Batch, results []error))
	Unsubscribe(b *core.Batch, filters []string, done func(b *core.Batch, results []error))
	Ack(b *core.Batch, packet uint16) error
	Received(b *core.Batch, packet uint16) error
	Drained(b *core.Batch)
}

// routerHub is the hub that a *core.Router is.
type routerHub struct{ *core.Router }

func (h routerHub) Attach(b *core.Batch, a core.Attach, done func(*core.Batch, session, bool, error)) {
	h.Router.Attach(b, a, func(b *core.Batch, att *core.Attachment, present bool, err error) {
		if err != nil {
			done(b, nil, false, err)
			return
		}
		done(b, att, present, nil)
	})
}

// A link is a *wire.Conn; see there. Tests have one without a socket.
type link interface {
	outQueue
	remote
	Close(cause error)
	Resume()
	LastInput() time.Time
}

// A remote is who is at the other end, as far as the transport knows.
type remote interface {
	RemoteAddr() net.Addr
	From() netip.Addr
	TLS() *tls.ConnectionState // nil: there is none
}

type outQueue interface {
	Begin(n int) ([]byte, bool)
	End(b []byte) bool
	Queued() int
	Flush()
}

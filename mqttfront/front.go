package mqttfront

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
	"pushhub/core/wire"
)

// A Front serves MQTT on any number of listeners.
type Front struct {
	hub      hub
	opt      Options
	server   *wire.Server
	count    counters
	draining atomic.Pointer[redirect] // nil: no
	attached atomic.Int64             // connections that have a session
	work     sync.WaitGroup           // what outlives the connection that started it
}

// New makes a front for router. It holds a goroutine until Shutdown.
func New(router *core.Router, opt Options) *Front { return newFront(routerHub{router}, opt) }

func newFront(h hub, opt Options) *Front {
	f := &Front{hub: h, opt: opt.withDefaults()}
	f.server = wire.NewServer(wire.Options{
		New:      func(c *wire.Conn) wire.Handler { return f.newEngine(c) },
		TLS:      f.opt.TLS,
		MaxConns: f.opt.MaxConns, ConnsPerAddress: f.opt.ConnsPerAddress, ConnRate: float64(f.opt.ConnRate),
		QueueBytes: f.opt.QueueBytes,
		Log:        f.opt.Log,
	})
	return f
}

func (f *Front) newEngine(c link) *engine {
	return newEngine(f, c, time.Now())
}

// Serve accepts plain connections until Shutdown; it returns nil then.
func (f *Front) Serve(ln net.Listener) error { return f.server.Serve(ln) }

// ServeTLS accepts connections that begin with a TLS handshake.
func (f *Front) ServeTLS(ln net.Listener) error { return f.server.ServeTLS(ln) }

// Shutdown tells each client that the hub is stopping, or which server to use
// instead, and waits until all have
// been served; when ctx ends first, it cuts them off and returns an error.
func (f *Front) Shutdown(ctx context.Context) error {
	err := f.server.Shutdown(ctx, func(h wire.Handler) {
		if e, ok := h.(*engine); ok {
			var b core.Batch
			e.abort(&b, f.stopping())
			b.Flush()
		}
	})
	f.work.Wait()
	return err
}

// left counts the end of a connection, and logs the ends that somebody would want to explain.
func (f *Front) left(e *engine, attached bool, err error) {
	var wrong packets.Code
	switch {
	case errors.Is(err, errNotMQTT):
	case f.refusedUpgrade(e, err):
		return
	case !errors.As(err, &wrong), errors.Is(err, errKeepalive):
		return
	}
	if attached || e.version == 0 {
		f.count.malformed.Add(1)
	}
	f.opt.Log.Info("connection ended", "client", e.clientID, "remote", e.conn.RemoteAddr().String(), "err", err)
}

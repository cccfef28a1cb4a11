package bus

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

func memoryStores(testing.TB) stores {
	var m *Memory
	return stores{
		open: func(_ testing.TB, o Options) node {
			if m == nil {
				m = NewMemory()
				m.journal.lane.limits = o.withDefaults().limits()
				m.journal.lane.limits.patience = 0
				return m
			}
			return m.Reopen()
		},
		remove: func(_ testing.TB, n node, upTo uint64) { n.(*Memory).Remove(upTo) },
		inject: func(_ testing.TB, n node, frame []byte) {
			m := n.(*Memory)
			m.log.mu.Lock()
			defer m.log.mu.Unlock()
			m.log.store(m.journal.log.(*memLane).subject, frame)
		},
	}
}

func natsStores(configure func(o *Options)) stores {
	return stores{
		open: func(t testing.TB, o Options) node {
			t.Helper()
			configure(&o)
			o.Log = testLog(t)
			b, err := Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		remove: func(t testing.TB, n node, upTo uint64) {
			t.Helper()
			s := n.(*Bus).journal.log.(*natsLog).stream
			if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(upTo+1)); err != nil {
				t.Fatal(err)
			}
		},
		inject: func(t testing.TB, n node, frame []byte) {
			t.Helper()
			js := n.(*Bus).journal.log.(*natsLog).js
			if _, err := js.Publish(t.Context(), n.(*Bus).Lane(), frame); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func embeddedStores(t testing.TB) stores {
	dir := t.TempDir()
	return natsStores(func(o *Options) { o.Dir = dir })
}

func externalStores(t testing.TB) stores {
	x := startExternal(t)
	return natsStores(func(o *Options) {
		o.URL = x.url
		o.SyncAlways = true // rows go in atomic batches
	})
}

// external is a NATS server that really listens.
type external struct {
	t    testing.TB
	opts server.Options
	srv  *server.Server
	url  string
}

func startExternal(t testing.TB) *external {
	t.Helper()
	x := &external{t: t, opts: server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		Username: "hub", Password: "secret", MaxPayload: 2 << 20,
	}}
	x.start()
	addr := x.srv.Addr().(*net.TCPAddr)
	x.opts.Port = addr.Port
	x.url = "nats://hub:secret@127.0.0.1:" + strconv.Itoa(addr.Port)
	t.Cleanup(x.stop)
	return x
}

func (x *external) start() {
	x.t.Helper()
	opts := x.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		x.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		x.t.Fatal("the NATS server does not start")
	}
	x.srv = srv
}

func (x *external) stop() {
	x.srv.Shutdown()
	x.srv.WaitForShutdown()
}

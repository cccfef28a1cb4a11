package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pushhub/core/wire/websocket"
)

// Options of a Server.
type Options struct {
	// New makes the engine of an accepted connection.
	New func(c *Conn) Handler
	// TLS is used by listeners given to ServeTLS, and by STARTTLS; it may be nil.
	TLS *tls.Config
	// MaxConns bounds the connections; more are closed at once, and counted.
	MaxConns int
	// ConnsPerAddress bounds those from one address, see Conn.From; more are closed
	// at once, and counted. 0: no bound.
	ConnsPerAddress int
	// ConnRate is how many connections a second are accepted, on all listeners
	// together; more wait to be accepted. 0: no bound.
	ConnRate float64
	// QueueBytes bounds the out-queue of a connection.
	QueueBytes int
	Log        *slog.Logger
}

// A Server accepts connections and runs them. Shutdown ends it.
type Server struct {
	opt     Options
	wg      sync.WaitGroup // all connections, their writers, and the sweeper
	refused atomic.Uint64
	admit   *admission
	stop    chan struct{}  // closed by Shutdown
	running sync.WaitGroup // the event loops
	turn    atomic.Uint32  // which event loop is next

	badHeaders atomic.Uint64

	mu        sync.Mutex // guards what follows; a Conn's mu may be taken under it
	conns     map[*Conn]struct{}
	held      map[net.Conn]struct{} // those whose PROXY header is awaited
	listeners []net.Listener
	loops     []*loop // of plain TCP connections
	stopped   bool
	accepted  uint64
	past      Moved // by connections that have ended
}

// NewServer makes a server without listeners. Its sweeper runs until Shutdown.
func NewServer(opt Options) *Server {
	opt.TLS = notes(opt.TLS)
	s := &Server{opt: opt, admit: newAdmission(opt), conns: map[*Conn]struct{}{}, held: map[net.Conn]struct{}{}, stop: make(chan struct{})}
	s.wg.Go(s.sweep)
	return s
}

// Serve accepts plain connections until Shutdown, whose return value is nil.
func (s *Server) Serve(ln net.Listener) error { return s.accept(ln, Opening{}) }

// ServeTLS accepts connections that begin with a TLS handshake.
func (s *Server) ServeTLS(ln net.Listener) error { return s.accept(ln, Opening{TLS: s.opt.TLS}) }

// Conns is how many connections there are; Refused, how many were over the limit so far.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) + len(s.held)
}

// Refused counts the connections that were closed for being over MaxConns.
func (s *Server) Refused() uint64 { return s.refused.Load() }

func (s *Server) accept(ln net.Listener, how Opening) error {
	if how.TLS != s.opt.TLS {
		how.TLS = notes(how.TLS)
	}
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) { // whoever stops us may have closed it
			return err
		}
		return nil
	}
	s.listeners = append(s.listeners, ln)
	s.mu.Unlock()
	if tcp, ok := ln.(*net.TCPListener); ok && how == (Opening{}) && s.acceptPolled(tcp) {
		return nil
	}
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil && how.Proxy:
			s.expectHeader(nc, how)
		case err == nil:
			s.start(nc, how)
		}
		if err == nil {
			pause = 0
			s.admit.wait(s.stop)
			continue
		}
		if errors.Is(err, net.ErrClosed) || s.stopping() {
			return nil
		}
		// Out of descriptors, or a peer that has gone: neither may end the listener.
		pause = nextPause(pause)
		s.opt.Log.Warn("accepting a connection", "listener", ln.Addr().String(), "err", err, "retry_in", pause)
		select {
		case <-time.After(pause):
		case <-s.stop:
			return nil
		}
	}
}

// nextPause is how long to wait before accepting again, after a pause.
func nextPause(pause time.Duration) time.Duration {
	return min(max(2*pause, 5*time.Millisecond), time.Second)
}

func (s *Server) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// start serves a connection on goroutines of its own. A PROXY header, if one was
// due, has been read.
func (s *Server) start(nc net.Conn, how Opening) {
	c := newConn(s)
	var t *tls.Conn
	if how.TLS != nil {
		t = secure(nc, how.TLS)
		nc = t
	}
	if how.WebSocket != nil {
		nc = websocket.Server(nc, how.WebSocket)
		c.tls.Store(t) // the first Read makes both handshakes
	}
	c.t, c.from = newStream(c, nc), place(nc.RemoteAddr())
	c.handler = s.opt.New(c)
	if !s.add(c) {
		go nc.Close() // a TLS close writes, which may block
		return
	}
	s.serveStream(c)
}

// serveStream reads a connection, which add has counted, on a goroutine.
func (s *Server) serveStream(c *Conn) {
	go func() {
		c.transport().(*stream).serve()
		s.gone(c)
	}()
}

// add counts c in wg as well, under the lock that Shutdown takes before it waits.
func (s *Server) add(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	if s.full() {
		return false
	}
	if !s.admit.enter(c, s.opt.ConnsPerAddress) {
		return false
	}
	s.conns[c] = struct{}{}
	s.accepted++
	s.wg.Add(1)
	return true
}

// gone forgets a connection whose last call has been made.
func (s *Server) gone(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.admit.leave(c)
	s.past.add(c)
	s.mu.Unlock()
	s.wg.Done()
}

func (s *Server) all() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// sweep is the one clock of all connections.
func (s *Server) sweep() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			for _, c := range s.all() {
				if err := c.handler.Tick(now); err != nil {
					c.Close(err)
				}
			}
		case <-s.stop:
			return
		}
	}
}

// Shutdown closes the listeners, lets bye end each connection (it should call
// what leads to Conn.Close), and waits for all of them; when ctx ends first, it cuts them off.
func (s *Server) Shutdown(ctx context.Context, bye func(Handler)) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return nil
	}
	s.stopped = true
	close(s.stop)
	for _, ln := range s.listeners {
		ln.Close()
	}
	for nc := range s.held {
		nc.Close()
	}
	s.mu.Unlock()
	for _, c := range s.all() {
		bye(c.handler)
	}
	done := make(chan struct{}) // closed when all goroutines have ended
	go func() {
		s.wg.Wait()
		s.stopLoops()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, c := range s.all() {
		c.kill()
	}
	<-done
	return fmt.Errorf("connections were cut off: %w", ctx.Err())
}

package wire

import (
	"crypto/tls"
	"net"
	"time"

	"pushhub/core/wire/proxyproto"
	"pushhub/core/wire/websocket"
)

// An Opening is what the connections of a listener begin with, in this order,
// before what engines see.
type Opening struct {
	// Proxy: a PROXY header that tells whose connection it is. One without it is
	// closed, and counted.
	Proxy bool
	// TLS, unless nil: a handshake.
	TLS *tls.Config
	// WebSocket, unless nil: a request to upgrade.
	WebSocket *websocket.Options
}

// headerTime is how long a proxy may take to send its header.
const headerTime = 5 * time.Second

// ServeOpening accepts connections that begin as told, until Shutdown.
func (s *Server) ServeOpening(ln net.Listener, how Opening) error { return s.accept(ln, how) }

// BadHeaders counts the connections that were closed for want of a PROXY header.
func (s *Server) BadHeaders() uint64 { return s.badHeaders.Load() }

// expectHeader reads the PROXY header on a goroutine of its own, and starts the
// connection behind it. Nothing of what follows is read, so that an event loop can
// have the socket.
func (s *Server) expectHeader(nc net.Conn, how Opening) {
	if !s.hold(nc) {
		nc.Close()
		return
	}
	go func() {
		defer s.wg.Done()
		from, err := readHeader(nc)
		if !s.letGo(nc) {
			nc.Close() // we are stopping
			return
		}
		if err != nil {
			s.badHeaders.Add(1)
			s.opt.Log.Debug("connection without a PROXY header", "remote", nc.RemoteAddr().String(), "err", err)
			nc.Close()
			return
		}
		if from == nil {
			from = nc.RemoteAddr()
		}
		if how.TLS == nil && how.WebSocket == nil && s.adopt(nc, from) {
			return
		}
		s.start(comingFrom(nc, from), how)
	}()
}

func readHeader(nc net.Conn) (net.Addr, error) {
	if err := nc.SetReadDeadline(time.Now().Add(headerTime)); err != nil {
		return nil, err
	}
	from, err := proxyproto.Read(nc)
	if err != nil {
		return nil, err
	}
	return from, nc.SetReadDeadline(time.Time{})
}

// hold counts a connection that has no engine yet, in wg as well.
func (s *Server) hold(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.full() {
		return false
	}
	s.held[nc] = struct{}{}
	s.wg.Add(1)
	return true
}

// letGo forgets it; it reports false when Shutdown has begun.
func (s *Server) letGo(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, nc)
	return !s.stopped
}

// full counts a refusal when there are MaxConns connections; the caller holds mu.
func (s *Server) full() bool {
	if s.opt.MaxConns <= 0 || len(s.conns)+len(s.held) < s.opt.MaxConns {
		return false
	}
	s.refused.Add(1)
	return true
}

// A proxied connection has the address of the proxy's client, and all that the
// proxy's socket can do.
type proxied struct {
	*net.TCPConn
	from net.Addr
}

func (p proxied) RemoteAddr() net.Addr { return p.from }

// relayed is the same of a connection that is not TCP.
type relayed struct {
	net.Conn
	from net.Addr
}

func (r relayed) RemoteAddr() net.Addr { return r.from }

func comingFrom(nc net.Conn, from net.Addr) net.Conn {
	tcp, ok := nc.(*net.TCPConn)
	if ok {
		return proxied{tcp, from}
	}
	return relayed{nc, from}
}

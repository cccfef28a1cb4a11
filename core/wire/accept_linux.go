package wire

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// keepIdle is after how many seconds of silence the kernel asks whether the peer
// is there still. It is long: each question wakes a phone's radio, and both
// protocols have keepalives of their own.
const keepIdle = 600

// polling prepares a listener whose connections are served by event loops, and
// returns what accepts all that wait there; nil when that cannot be.
func (s *Server) polling(ln *net.TCPListener) (next func() error) {
	raw, err := s.socketOf(ln)
	if err == nil {
		err = s.startLoops()
	}
	if err != nil {
		s.opt.Log.Warn("connections are served by goroutines, since event loops cannot be had", "err", err)
		return nil
	}
	return func() error {
		var failure error
		err := raw.Read(func(lfd uintptr) (done bool) {
			for {
				fd, from, err := unix.Accept4(int(lfd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
				switch {
				case err == nil:
					s.startPolled(fd, peerOf(from))
					s.admit.wait(s.stop)
					if s.stopping() {
						return true
					}
				case errors.Is(err, unix.EAGAIN):
					return false
				case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED):
					failure = err
					return true
				}
			}
		})
		return errors.Join(err, failure)
	}
}

// socketOf is the listener's socket, by a descriptor of its own: net lets nobody
// accept on its own but by way of a net.Conn, which costs a connection several
// system calls. Shutdown closes it.
func (s *Server) socketOf(ln *net.TCPListener) (syscall.RawConn, error) {
	f, err := ln.File()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.sockets = append(s.sockets, f)
	stopped := s.stopped
	s.mu.Unlock()
	if stopped {
		_ = f.Close() // nobody else does any more
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = setOptions(int(fd)) })
	return raw, errors.Join(err, failed)
}

// setOptions sets what accepted sockets inherit from their listener.
func setOptions(fd int) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), // writes are coalesced already
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepIdle),
	)
}

// startLoops starts the event loops, once: one for two processors, since what the
// journal and its deliveries need is the other half.
func (s *Server) startLoops() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return net.ErrClosed
	}
	if len(s.loops) == 0 {
		loops := make([]*loop, (runtime.GOMAXPROCS(0)+1)/2)
		for i := range loops {
			l, err := newLoop()
			if err != nil {
				for _, l := range loops[:i] {
					l.close()
				}
				return err
			}
			loops[i] = l
		}
		s.loops = loops // never changed from now on
		for _, l := range loops {
			s.running.Go(l.run)
		}
	}
	return nil
}

func (s *Server) stopLoops() {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	for _, l := range loops {
		l.stop()
	}
	s.running.Wait()
}

// startPolled serves an accepted socket on a loop.
func (s *Server) startPolled(fd int, from netip.AddrPort) {
	l := s.loops[int(s.turn.Add(1))%len(s.loops)]
	c := newConn(s)
	p := &polled{c: c, loop: l, fd: fd, addr: from}
	c.t, c.from = p, placeOf(from.Addr())
	c.handler = s.opt.New(c)
	if !s.add(c) {
		_ = unix.Close(fd) // it was over the limit
		return
	}
	l.post(p)
}

// adopt serves a connection that was read from before on a loop, as one from that
// address; nc is used no more. It reports false when goroutines have to serve it.
func (s *Server) adopt(nc net.Conn, from net.Addr) bool {
	tcp, isTCP := nc.(*net.TCPConn)
	peer, known := from.(*net.TCPAddr)
	if !isTCP || !known || s.startLoops() != nil {
		return false
	}
	fd, err := copySocket(tcp)
	if err != nil {
		return false
	}
	_ = tcp.Close() // the copy stays open
	s.startPolled(fd, peer.AddrPort())
	return true
}

// copySocket is a descriptor of our own of a connection's socket.
func copySocket(tcp *net.TCPConn) (fd int, err error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Control(func(sys uintptr) { fd, failed = unix.FcntlInt(sys, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, failed); err != nil {
		return 0, err
	}
	if err := setOptions(fd); err != nil {
		_ = unix.Close(fd) // nothing was written to it
		return 0, err
	}
	return fd, nil
}

func peerOf(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

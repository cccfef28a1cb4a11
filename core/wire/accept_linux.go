package wire

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keepIdle is after how many seconds of silence the kernel asks whether the peer
// is there still. It is long: each question wakes a phone's radio, and both
// protocols have keepalives of their own.
const keepIdle = 600

// acceptTurns is how many connections are accepted before others have their turn.
const acceptTurns = 64

// A door is a listening socket in an event loop, which accepts what comes and
// serves it. Each loop has one of its own, with a descriptor of its own.
type door struct {
	server *Server
	loop   *loop
	fd     int           // -1: closed
	shut   chan struct{} // closed by the loop when it has closed the descriptor

	// The loop's own.
	watched bool          // the poller knows it
	pause   time.Duration // after the last failure

	posted bool // guarded by loop.mu
}

// acceptPolled has the event loops accept what comes to a listener, until
// Shutdown; false when that cannot be.
func (s *Server) acceptPolled(ln *net.TCPListener) (served bool) {
	doors, err := s.openDoors(ln)
	if err != nil {
		s.opt.Log.Warn("connections are served by goroutines, since event loops cannot be had", "err", err)
		return false
	}
	_ = ln.Close() // the socket stays open, and net does not wake for it any more
	for _, d := range doors {
		d.loop.postDoor(d)
	}
	<-s.stop
	for _, d := range doors {
		d.loop.postDoor(d)
		<-d.shut
	}
	return true
}

func (s *Server) openDoors(ln *net.TCPListener) (doors []*door, err error) {
	if err := s.startLoops(); err != nil {
		return nil, err
	}
	for _, l := range s.loops {
		fd, err := copySocket(ln)
		if err != nil {
			for _, d := range doors {
				_ = unix.Close(d.fd) // nobody listens to it
			}
			return nil, err
		}
		doors = append(doors, &door{server: s, loop: l, fd: fd, shut: make(chan struct{})})
	}
	return doors, nil
}

// posting opens the door, again after a pause, or shuts it for good.
func (d *door) posting() {
	switch {
	case d.server.stopping():
		d.close()
	case !d.watched:
		d.loop.doors[int32(d.fd)] = d
		d.watch()
	}
}

func (d *door) watch() {
	const one = unix.EPOLLIN | unix.EPOLLEXCLUSIVE // of the loops
	err := unix.EpollCtl(d.loop.epfd, unix.EPOLL_CTL_ADD, d.fd, &unix.EpollEvent{Events: one, Fd: int32(d.fd)})
	if d.watched = err == nil; !d.watched {
		d.retry(err)
	}
}

func (d *door) close() {
	if d.fd < 0 {
		return
	}
	delete(d.loop.doors, int32(d.fd))
	if d.watched {
		_ = unix.EpollCtl(d.loop.epfd, unix.EPOLL_CTL_DEL, d.fd, nil) // the other loops' doors keep the socket open
	}
	_ = unix.Close(d.fd)
	d.fd = -1
	close(d.shut)
}

// rest has the loop not look at the door for so long: others wait in the kernel's queue.
func (d *door) rest(pause time.Duration) {
	if d.watched {
		_ = unix.EpollCtl(d.loop.epfd, unix.EPOLL_CTL_DEL, d.fd, nil)
		d.watched = false
	}
	time.AfterFunc(pause, func() { d.loop.postDoor(d) })
}

func (d *door) retry(err error) {
	d.pause = nextPause(d.pause)
	d.server.opt.Log.Warn("accepting connections", "err", err, "retry_in", d.pause)
	d.rest(d.pause)
}

// event is the poller's word that somebody knocks.
func (d *door) event() {
	for range acceptTurns {
		fd, from, err := syscall.Accept4(d.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC) // unix's asks for the socket's protocol, too
		switch {
		case err == nil:
			d.pause = 0
			l := d.server.loops[int(d.server.turn.Add(1))%len(d.server.loops)]
			switch p := d.server.newPolled(l, fd, peerOf(from)); {
			case p == nil:
			case l == d.loop:
				p.add()
			default:
				l.post(p) // the kernel wakes the same loop as long as that sleeps
			}
			if pause := d.server.admit.pause(); pause > 0 {
				d.rest(pause)
				return
			}
		case errors.Is(err, unix.EAGAIN):
			return
		case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED):
			d.retry(err) // out of descriptors, perhaps
			return
		}
	}
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

// newPolled makes a connection of an accepted socket, for a loop to serve; nil when
// it is over a limit.
func (s *Server) newPolled(l *loop, fd int, from netip.AddrPort) *polled {
	c := newConn(s)
	p := &polled{c: c, loop: l, fd: fd, addr: from}
	c.t, c.from = p, placeOf(from.Addr())
	c.handler = s.opt.New(c)
	if !s.add(c) {
		_ = unix.Close(fd) // nothing was written to it
		return nil
	}
	return p
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
	l := s.loops[int(s.turn.Add(1))%len(s.loops)]
	if p := s.newPolled(l, fd, peer.AddrPort()); p != nil {
		l.post(p)
	}
	return true
}

// copySocket is a descriptor of our own of a socket, or a listener's.
func copySocket(tcp syscall.Conn) (fd int, err error) {
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

func peerOf(a syscall.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

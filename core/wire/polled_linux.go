package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	// readTurns is how many full reads a connection may make before others have their turn.
	readTurns = 4
	// turnBytes is how much may be written to one before that.
	turnBytes = 256 << 10
)

// A polled is the transport of a plain TCP connection: a socket that an event loop
// reads, and that whoever has something to write writes to.
type polled struct {
	c    *Conn
	loop *loop
	fd   int
	addr netip.AddrPort

	// The loop's own.
	added  bool // the loop knows the socket
	paused bool // the handler wants no input until it is resumed
	more   bool // the socket may have more than was read
	over   bool // it is read no more

	// The writer's own: whoever has set Conn.busy.
	left *buffer // taken from the out-queue
	off  int     // how much of it is written

	// Guarded by Conn.mu.
	again     bool // the socket took more while somebody wrote
	readOver  bool // the loop has done with the socket
	closed    bool // the descriptor is no longer ours
	resumable bool // resume was called

	posted bool // guarded by loop.mu
}

func (p *polled) resume() {
	p.c.mu.Lock()
	p.resumable = true
	p.c.mu.Unlock()
	p.loop.post(p)
}

func (p *polled) kill() { p.loop.post(p) }

func (p *polled) remote() net.Addr { return net.TCPAddrFromAddrPort(p.addr) }

// hangUp shuts our direction down. The descriptor is ours meanwhile: only then is
// it not another connection's.
func (p *polled) hangUp() error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	return unix.Shutdown(p.fd, unix.SHUT_WR)
}

// flush writes until nothing is left or the socket takes no more.
func (p *polled) flush() {
	c := p.c
	for written := 0; ; {
		if written > turnBytes { // whoever writes has others to serve: the loop goes on later
			c.mu.Lock()
			c.busy, c.clogged = false, true
			c.mu.Unlock()
			p.release()
			p.loop.post(p)
			return
		}
		if p.left == nil {
			next := c.take()
			if next == nil {
				break // left and off are another writer's already
			}
			p.left, p.off = next, 0
		}
		n, err := writeFD(p.fd, p.left.b[p.off:])
		p.off += n
		written += n
		switch {
		case errors.Is(err, unix.EAGAIN):
			if p.clog() {
				p.release()
				return
			}
			continue
		case err != nil:
			p.left.free()
			p.left = nil
			c.broken(err)
			p.release()
			c.settle()
			return
		case p.off == len(p.left.b):
			p.left.free()
			p.left = nil
		}
		c.wrote(n)
	}
	p.release()
	c.settle()
}

// clog notes that the loop is to write on when the socket takes more; false when
// it has taken more already.
func (p *polled) clog() bool {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.again {
		p.again = false
		return false
	}
	c.busy, c.clogged = false, true
	return true
}

// writable is called by the loop when the socket takes more.
func (p *polled) writable() {
	c := p.c
	c.mu.Lock()
	if c.busy {
		p.again = true // the writer may just have found it full
		c.mu.Unlock()
		return
	}
	if !c.clogged {
		c.mu.Unlock()
		return
	}
	c.busy, c.clogged = true, false
	c.mu.Unlock()
	p.flush()
}

// event is what the poller says of the socket.
func (p *polled) event(events uint32) {
	if events&unix.EPOLLOUT != 0 {
		p.writable()
	}
	if events&^unix.EPOLLOUT != 0 && !p.over {
		p.more = true
		p.read(events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) == 0)
	}
}

// read reads what the socket has and gives it to the handler. With short, a read
// that does not fill the buffer was the last: had more come meanwhile, or the
// peer's end, the poller would tell.
func (p *polled) read(short bool) {
	c := p.c
	for turn := 0; p.more && !p.paused && !p.over; turn++ {
		if turn == readTurns {
			p.loop.post(p)
			return
		}
		buf, held := p.place()
		n, err := readFD(p.fd, buf[held:])
		if errors.Is(err, unix.EAGAIN) {
			p.more = false
			return
		}
		if n <= 0 {
			if err == nil {
				err = io.EOF
			}
			p.end(closeCause(err))
			return
		}
		p.more = !short || held+n == len(buf)
		c.heard(n)
		p.loop.taken += n
		p.give(buf[:held+n])
		if c.dead() {
			p.end(ErrClosed)
		}
	}
}

// place returns a buffer that begins with what the handler has not used yet. A
// large rest, of a packet that takes many reads, grows where it is.
func (p *polled) place() (buf []byte, held int) {
	rest := p.c.rest
	held = len(rest)
	if held <= readSize/2 {
		copy(p.loop.buf, rest)
		return p.loop.buf, held
	}
	p.c.rest = slices.Grow(rest, max(readSize, held))
	return p.c.rest[:cap(p.c.rest)], held
}

func (p *polled) give(data []byte) {
	switch p.c.give(&p.loop.batch, data) {
	case waitForResume:
		p.paused = true
	case negotiateTLS:
		p.loop.batch.Flush()
		if err := p.leave(); err != nil {
			p.end(err)
		}
	}
}

// posting does what was asked of the loop.
func (p *polled) posting() {
	c := p.c
	fresh := !p.added
	if fresh {
		p.add()
	}
	p.writable() // of what its turn did not suffice for
	c.mu.Lock()
	killed, resumed := c.killed, p.resumable
	p.resumable = false
	c.mu.Unlock()
	switch {
	case p.over:
		p.release()
	case killed:
		p.end(ErrClosed)
	case p.paused && resumed:
		p.paused = false
		p.give(c.rest)
		p.read(false)
	case !fresh: // else the poller tells at once what there is
		p.read(false)
	}
}

// add makes the socket known to the poller, which tells at once what it has.
func (p *polled) add() {
	p.added = true
	p.loop.conns[int32(p.fd)] = p
	const all = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	if err := unix.EpollCtl(p.loop.epfd, unix.EPOLL_CTL_ADD, p.fd, &unix.EpollEvent{Events: all, Fd: int32(p.fd)}); err != nil {
		p.end(fmt.Errorf("watching a socket: %w", err))
	}
}

// end is the end of the connection, as far as the loop goes.
func (p *polled) end(err error) {
	if p.over {
		return
	}
	p.forget()
	p.c.ended(&p.loop.batch, err)
	p.c.mu.Lock()
	p.readOver = true
	p.c.mu.Unlock()
	p.release()
	p.c.server.gone(p.c)
}

func (p *polled) forget() {
	p.over = true
	delete(p.loop.conns, int32(p.fd))
}

// release closes the descriptor when neither the loop nor a writer needs it: its
// number may be another connection's at once.
func (p *polled) release() {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !p.readOver || c.busy || p.closed {
		return
	}
	p.closed, c.clogged = true, false
	if p.left != nil {
		p.left.free()
		p.left = nil
	}
	_ = unix.Close(p.fd) // what was written is written
}

// leave takes the connection off the loop: a goroutine serves it over TLS.
func (p *polled) leave() error {
	c := p.c
	nc, err := copyConn(p.fd)
	if err != nil {
		return fmt.Errorf("beginning TLS: %w", err)
	}
	if err := c.upgrade(comingFrom(nc, p.remote())); err != nil { // a proxy may have told another
		_ = nc.Close() // nothing was written to it
		return err
	}
	p.forget()
	_ = unix.EpollCtl(p.loop.epfd, unix.EPOLL_CTL_DEL, p.fd, nil) // the copy would keep it there
	c.mu.Lock()
	p.closed = true
	c.mu.Unlock()
	_ = unix.Close(p.fd) // nobody writes to it any more
	c.server.serveStream(c)
	return nil
}

// copyConn is a net.Conn on the socket of a descriptor, with one of its own.
func copyConn(fd int) (net.Conn, error) {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(copied), "")
	defer f.Close()
	return net.FileConn(f)
}

// readFD returns n <= 0 and no error at the end of the stream.
func readFD(fd int, b []byte) (n int, err error) {
	for {
		n, err = unix.Read(fd, b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func writeFD(fd int, b []byte) (n int, err error) {
	for {
		n, err = unix.Write(fd, b)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

package load

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// churn makes connections and ends them, a fixed number under way at a time.
type churn struct {
	epoll  int
	to     unix.SockaddrInet4
	ip     net.IP
	login  Login
	id     string
	base   time.Time
	slots  []attempt
	made   uint64 // connections that were admitted and ended
	begun  uint64
	out    []byte // CONNECT of the attempt that begins
	took   Histogram
	events [eventCount]unix.EpollEvent
}

// attempt is one connection under way.
type attempt struct {
	fd    int
	begun int64
	buf   [64]byte
	have  int
}

// measureConnects counts the connections that the broker admits in a window.
func measureConnects(ctx context.Context, s *server, sc Scenario, o Options) (Run, error) {
	defer pin()()
	c, err := openChurn(s.addr, sc.Count, o.Login)
	if err != nil {
		return Run{}, err
	}
	defer c.close()
	if err := c.runFor(ctx, o.Warmup); err != nil {
		return Run{}, err
	}
	c.took = Histogram{}
	before, err := c.mark(s)
	if err != nil {
		return Run{}, err
	}
	if err := c.runFor(ctx, o.Duration); err != nil {
		return Run{}, err
	}
	after, err := c.mark(s)
	if err != nil {
		return Run{}, err
	}
	run := newRun(&tally{latency: c.took, sent: c.made, expected: c.made, delivered: c.made}, before, after)
	if run.Delivered == 0 {
		return Run{}, errors.New("no connection was admitted")
	}
	return run, nil
}

func (c *churn) mark(s *server) (mark, error) {
	cpu, err := s.cpu()
	return mark{at: c.now(), server: cpu, generator: threadCPU(), delivered: c.made}, err
}

func openChurn(addr string, slots int, login Login) (*churn, error) {
	to, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return nil, fmt.Errorf("connections are made over IPv4: %w", err)
	}
	c := &churn{
		to: unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}, ip: to.IP,
		login: login, id: "bench-" + rand.Text()[:10] + "-", base: time.Now(), slots: make([]attempt, slots),
	}
	for i := range c.slots {
		c.slots[i].fd = -1
	}
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("creating epoll: %w", err)
	}
	for i := range c.slots {
		if err := c.begin(i); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

func (c *churn) now() int64 { return int64(time.Since(c.base)) }

// begin starts the next connection in a slot. On loopback it is made at once,
// and CONNECT goes out with it; else it follows when the socket is writable.
func (c *churn) begin(i int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	a := &c.slots[i]
	a.fd, a.have, a.begun = fd, 0, c.now()
	if err := c.aim(fd); err != nil {
		return err
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
	switch err := c.greet(a); {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOTCONN):
		ev.Events = unix.EPOLLOUT
	case err != nil:
		return fmt.Errorf("CONNECT: %w", err)
	}
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("watching a socket: %w", err)
	}
	return nil
}

// aim sets the socket's source address and begins to connect.
func (c *churn) aim(fd int) error {
	if from := source(c.ip); from != nil {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return fmt.Errorf("setting a socket option: %w", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte(from.To4())}); err != nil {
			return fmt.Errorf("choosing a source address: %w", err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("setting a socket option: %w", err)
	}
	if err := unix.Connect(fd, &c.to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connecting: %w", err)
	}
	return nil
}

func (c *churn) greet(a *attempt) error {
	c.begun++
	client := strconv.AppendUint([]byte(c.id), c.begun, 10)
	c.out = appendConnect(c.out[:0], string(client), c.login, false)
	_, err := unix.Write(a.fd, c.out)
	return err
}

func (c *churn) runFor(ctx context.Context, d time.Duration) error {
	end := c.now() + int64(d)
	moved, seen := c.now(), c.made
	for now := c.now(); now < end; now = c.now() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.made != seen {
			seen, moved = c.made, now
		}
		if now-moved > int64(handshakeTime) {
			return fmt.Errorf("no connection was admitted for %v", handshakeTime)
		}
		wait := min(end-now, int64(tick))
		n, err := unix.EpollWait(c.epoll, c.events[:], int((wait+999_999)/1_000_000))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for sockets: %w", err)
		}
		for _, ev := range c.events[:max(n, 0)] {
			if err := c.handle(int(ev.Fd), ev.Events); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *churn) handle(i int, events uint32) error {
	a := &c.slots[i]
	if events&unix.EPOLLOUT != 0 {
		if err := c.greet(a); err != nil {
			return fmt.Errorf("CONNECT: %w", err)
		}
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_MOD, a.fd, &ev); err != nil {
			return fmt.Errorf("watching a socket: %w", err)
		}
		return nil
	}
	n, err := unix.Read(a.fd, a.buf[a.have:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("reading: %w", err)
	case n == 0:
		return errors.New("the broker closed the connection")
	}
	a.have += n
	f, size, err := nextFrame(a.buf[:a.have], len(a.buf)-2)
	if err != nil || size == 0 {
		return err
	}
	if err := f.admitted(); err != nil {
		return err
	}
	c.took.Record(c.now() - a.begun)
	c.made++
	c.end(a)
	return c.begin(i)
}

// end says DISCONNECT and closes; epoll forgets a closed socket by itself.
func (c *churn) end(a *attempt) {
	var bye [2]byte
	_, _ = unix.Write(a.fd, appendDisconnect(bye[:0])) // a courtesy: the socket closes anyway
	unix.Close(a.fd)
	a.fd = -1
}

func (c *churn) close() {
	for i := range c.slots {
		if c.slots[i].fd >= 0 {
			c.end(&c.slots[i])
		}
	}
	unix.Close(c.epoll)
}

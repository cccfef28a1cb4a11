package load

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// keepalive of idle connections in seconds: the broker has to watch them, and
// none is due before the run is over.
const keepalive = 1800

// openers is how many connections are opened side by side.
const openers = 8

// measureIdle reads the broker's memory before and after sc.Count connections
// were opened, each time when it has settled.
func measureIdle(ctx context.Context, s *server, sc Scenario, o Options) (Run, error) {
	before, err := settle(ctx, o.Settle, s.memory)
	if err != nil {
		return Run{}, err
	}
	cpu, err := s.cpu()
	if err != nil {
		return Run{}, err
	}
	start := time.Now()
	crowd, err := openCrowd(ctx, s, sc, o.Login)
	defer crowd.close()
	if err != nil {
		return Run{}, err
	}
	seconds := time.Since(start).Seconds()
	after, err := settle(ctx, o.Settle, s.memory)
	if err != nil {
		return Run{}, err
	}
	cpuAfter, err := s.cpu()
	if err != nil {
		return Run{}, err
	}
	if gone := crowd.gone(); gone > 0 {
		return Run{}, fmt.Errorf("the broker closed %d of %d connections", gone, sc.Count)
	}
	return Run{
		Seconds: seconds, Delivered: uint64(sc.Count), ServerCPU: (cpuAfter - cpu).Seconds(),
		RSSBefore: before, RSSAfter: after,
	}, nil
}

// crowd is many connections that say nothing.
type crowd struct {
	sockets []*net.TCPConn
	keep    []net.Conn // the TLS state above them, when there is any
}

func openCrowd(ctx context.Context, s *server, sc Scenario, login Login) (*crowd, error) {
	c := &crowd{sockets: make([]*net.TCPConn, sc.Count), keep: make([]net.Conn, sc.Count)}
	id := rand.Text()[:10]
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range openers {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= sc.Count {
					return nil
				}
				connect := appendConnect(nil, fmt.Sprintf("bench-%s-%d", id, i), login, false)
				setKeepalive(connect, keepalive)
				if err := c.open(ctx, i, s, sc.TLS, connect); err != nil {
					return fmt.Errorf("connection %d: %w", i+1, err)
				}
			}
		})
	}
	return c, group.Wait()
}

func (c *crowd) open(ctx context.Context, i int, s *server, secure bool, connect []byte) error {
	addr := s.addr
	if secure {
		addr = s.tls
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	socket, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	c.sockets[i] = socket
	unhook := context.AfterFunc(ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	defer unhook()
	conn := net.Conn(socket)
	if secure {
		if conn, err = wrap(ctx, socket); err != nil {
			return err
		}
	}
	c.keep[i] = conn
	return errors.Join(introduce(conn, connect), ctx.Err())
}

// gone counts the connections that the broker has ended, whatever it said before.
func (c *crowd) gone() int {
	count := 0
	for _, socket := range c.sockets {
		if !alive(socket) {
			count++
		}
	}
	return count
}

func alive(socket *net.TCPConn) bool {
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	ended := true
	err = raw.Control(func(fd uintptr) {
		look := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(look, 0)
		ended = err != nil || n > 0 // nothing else was asked for: it is an end or an error
	})
	return err == nil && !ended
}

func (c *crowd) close() {
	for _, socket := range c.sockets {
		if socket != nil {
			socket.Close()
		}
	}
}

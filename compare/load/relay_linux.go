package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// maxHeld is what the relay keeps for a connection that does not read.
const maxHeld = 64 << 20

// Relay is the least that looks like a broker, and so the ceiling of what bench
// can show of one: a single thread that finds the subscribers of a topic by its
// name and copies the message to them, without wildcards, sessions, retained
// messages or limits. It serves addr until ctx ends.
func Relay(ctx context.Context, addr string) error {
	if err := checkAddress(addr, false); err != nil {
		return err // it takes everybody and bounds nothing
	}
	r := &bare{topics: map[string]*room{}, conns: map[int]*bareConn{}, buf: make([]byte, readSize)}
	if err := r.listen(addr); err != nil {
		return err
	}
	defer r.close()
	defer pin()()
	for ctx.Err() == nil {
		if err := r.turn(); err != nil {
			return err
		}
	}
	return nil
}

// bare is the relay's state, all of it on one thread.
type bare struct {
	listener int
	epoll    int
	topics   map[string]*room
	conns    map[int]*bareConn
	dirty    []*bareConn
	buf      []byte
	events   [eventCount]unix.EpollEvent
}

// room is a topic with its subscribers.
type room struct {
	name string
	subs []seat
}

type seat struct {
	conn *bareConn
	qos  byte
}

type bareConn struct {
	fd      int
	in      []byte
	out     []byte
	rooms   []*room // in which it sits
	last    *room   // to which it published last, and that one's name:
	topic   string  // a publisher mostly stays with one
	id      uint16
	queued  bool
	blocked bool
}

// listen takes the listening socket from package net, which knows how to make one.
func (r *bare) listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return fmt.Errorf("taking the listener: %w", err)
	}
	defer file.Close()
	return r.watchListener(file)
}

func (r *bare) watchListener(file *os.File) error {
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("taking the listener: %w", err)
	}
	r.listener = fd
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("taking the listener: %w", err)
	}
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("creating epoll: %w", err)
	}
	return r.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN)
}

func (r *bare) watch(op, fd int, events uint32) error {
	if err := unix.EpollCtl(r.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("watching a socket: %w", err)
	}
	return nil
}

func (r *bare) close() {
	for _, c := range r.conns {
		unix.Close(c.fd)
	}
	unix.Close(r.listener)
	unix.Close(r.epoll)
}

// turn reads all that is there, then writes each connection's answer at once.
func (r *bare) turn() error {
	n, err := unix.EpollWait(r.epoll, r.events[:], 100)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("waiting for sockets: %w", err)
	}
	for _, ev := range r.events[:max(n, 0)] {
		if int(ev.Fd) == r.listener {
			if err := r.accept(); err != nil {
				return err
			}
			continue
		}
		c := r.conns[int(ev.Fd)]
		if c == nil {
			continue
		}
		if ev.Events&unix.EPOLLOUT != 0 {
			c.blocked = false
			r.touch(c)
			if err := r.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN); err != nil {
				return err
			}
		}
		if ev.Events&^uint32(unix.EPOLLOUT) != 0 && !r.read(c) {
			r.drop(c)
		}
	}
	return r.flush()
}

func (r *bare) accept() error {
	for {
		fd, _, err := unix.Accept4(r.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.ECONNABORTED), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("accepting: %w", err)
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // slower without, no more
		if err := r.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
			return err
		}
		r.conns[fd] = &bareConn{fd: fd}
	}
}

// read takes what the socket has; false when the connection is at its end.
func (r *bare) read(c *bareConn) bool {
	if need := len(c.in) + readSize; need > len(r.buf) {
		r.buf = make([]byte, need)
	}
	kept := copy(r.buf, c.in)
	n, err := unix.Read(c.fd, r.buf[kept:])
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return true
	}
	if err != nil || n == 0 {
		return false
	}
	data := r.buf[:kept+n]
	for {
		f, size, err := nextFrame(data, 2*maxPayload)
		if err != nil {
			return false
		}
		if size == 0 {
			c.in = append(c.in[:0], data...)
			return true
		}
		if !r.serve(c, f, data[:size]) {
			return false
		}
		data = data[size:]
	}
}

// serve answers one frame; false ends the connection.
func (r *bare) serve(c *bareConn, f frame, raw []byte) bool {
	switch f.kind() {
	case typeConnect:
		c.out = append(c.out, typeConnack<<4, 2, 0, 0)
	case typeSubscribe:
		return r.subscribe(c, f)
	case typePublish:
		return r.publish(c, f, raw)
	case typePubrec, typePubrel: // answered by the next packet type, PUBREL and PUBCOMP
		id, err := f.ackID()
		if err != nil {
			return false
		}
		c.out = appendAck(c.out, f.kind()+1, id)
	case typePuback, typePubcomp:
		return true
	default:
		return false // DISCONNECT, and whatever bench does not send
	}
	r.touch(c)
	return true
}

// subscribe takes the filters as names of topics.
func (r *bare) subscribe(c *bareConn, f frame) bool {
	if len(f.body) < 2 {
		return false
	}
	granted := []byte{f.body[0], f.body[1]}
	for rest := f.body[2:]; len(rest) > 0; {
		if len(rest) < 3 || len(rest) < 3+int(binary.BigEndian.Uint16(rest)) {
			return false
		}
		size := int(binary.BigEndian.Uint16(rest))
		name, qos := string(rest[2:2+size]), rest[2+size]
		to := r.topics[name]
		if to == nil {
			to = &room{name: name}
			r.topics[name] = to
		}
		to.subs = append(to.subs, seat{c, qos})
		c.rooms = append(c.rooms, to)
		granted, rest = append(granted, qos), rest[3+size:]
	}
	c.out = append(appendLength(append(c.out, typeSuback<<4), len(granted)), granted...)
	r.touch(c)
	return true
}

func (r *bare) publish(c *bareConn, f frame, raw []byte) bool {
	d, err := f.delivery()
	if err != nil {
		return false
	}
	size := int(binary.BigEndian.Uint16(f.body))
	if topic := f.body[2 : 2+size]; c.last == nil || c.topic != string(topic) {
		c.topic = string(topic)
		if c.last = r.topics[c.topic]; c.last == nil {
			c.last = &room{} // nobody there now: those who come later are not seen
		}
	}
	idAt := len(raw) - len(f.body) + 2 + size
	for _, s := range c.last.subs {
		if len(s.conn.out) > maxHeld || min(s.qos, d.qos) != d.qos {
			return false // bench does neither
		}
		at := len(s.conn.out)
		s.conn.out = append(s.conn.out, raw...)
		if d.qos > 0 {
			s.conn.id = s.conn.id%0xffff + 1
			binary.BigEndian.PutUint16(s.conn.out[at+idAt:], s.conn.id)
		}
		r.touch(s.conn)
	}
	switch d.qos {
	case 1:
		c.out = appendAck(c.out, typePuback, d.id)
		r.touch(c)
	case 2:
		c.out = appendAck(c.out, typePubrec, d.id)
		r.touch(c)
	}
	return true
}

func (r *bare) touch(c *bareConn) {
	if !c.queued {
		c.queued = true
		r.dirty = append(r.dirty, c)
	}
}

func (r *bare) flush() error {
	for _, c := range r.dirty {
		c.queued = false
		if c.blocked || len(c.out) == 0 || r.conns[c.fd] != c {
			continue
		}
		n, err := unix.Write(c.fd, c.out)
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			r.drop(c)
			continue
		}
		if n = max(n, 0); n < len(c.out) {
			c.blocked = true
			if err := r.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN|unix.EPOLLOUT); err != nil {
				return err
			}
		}
		c.out = c.out[:copy(c.out, c.out[n:])]
	}
	r.dirty = r.dirty[:0]
	return nil
}

// drop ends a connection; epoll forgets a closed socket by itself.
func (r *bare) drop(c *bareConn) {
	for _, to := range c.rooms {
		kept := to.subs[:0]
		for _, s := range to.subs {
			if s.conn != c {
				kept = append(kept, s)
			}
		}
		clear(to.subs[len(kept):])
		if to.subs = kept; len(kept) == 0 && r.topics[to.name] == to {
			delete(r.topics, to.name)
		}
	}
	delete(r.conns, c.fd)
	unix.Close(c.fd)
}

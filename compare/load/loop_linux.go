package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readSize   = 256 << 10
	stallTime  = time.Second     // without any event, the closed loop writes off what is under way
	drainTime  = 2 * time.Second // without any event, the drain takes the rest for lost,
	lateTime   = time.Second / 4 // and sooner what later messages have overtaken
	tick       = 20 * time.Millisecond
	eventCount = 512
)

// loop is the one thread that moves all bytes of a run.
type loop struct {
	traffic *traffic
	base    time.Time
	epoll   int
	timer   int // wakes the loop when the open loop's next message is due
	armed   int64
	buf     []byte
	limit   int // largest frame body that is read
	events  [eventCount]unix.EpollEvent
	seen    uint64 // tally.events when something last happened,
	movedAt int64  // and the time of it
}

// openLoop connects all clients of the traffic to addr. The caller closes it.
func openLoop(ctx context.Context, t *traffic, addr string, o Options) (*loop, error) {
	l := &loop{traffic: t, base: time.Now(), epoll: -1, timer: -1, limit: o.Payload + 1024}
	l.buf = make([]byte, max(readSize, 2*l.limit))
	for _, k := range t.links {
		k.fd = -1
	}
	if err := l.connectAll(ctx, addr, o.Login); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *loop) connectAll(ctx context.Context, addr string, login Login) error {
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("creating epoll: %w", err)
	}
	l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("creating timer: %w", err)
	}
	if err := l.watch(unix.EPOLL_CTL_ADD, l.timer, -1, false); err != nil {
		return err
	}
	for _, k := range l.traffic.links {
		if k.away {
			continue
		}
		conn, err := open(ctx, addr, k, login)
		if err != nil {
			return fmt.Errorf("client %s: %w", k.client, err)
		}
		k.fd, err = takeFD(conn)
		if err != nil {
			return fmt.Errorf("client %s: %w", k.client, err)
		}
		if err := l.watch(unix.EPOLL_CTL_ADD, k.fd, k.index, false); err != nil {
			return err
		}
		if err := setBatch(k.fd, k.batch); err != nil {
			return err
		}
	}
	return nil
}

// setBatch lets the kernel report the socket readable from n bytes on.
func setBatch(fd, n int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, n); err != nil {
		return fmt.Errorf("setting the read batch: %w", err)
	}
	return nil
}

// relax has every byte reported again, since no more may follow to fill a batch.
func (l *loop) relax() error {
	for _, k := range l.traffic.links {
		if k.batch == 1 {
			continue
		}
		k.batch = 1
		if err := setBatch(k.fd, 1); err != nil {
			return err
		}
	}
	return nil
}

// takeFD moves the socket out of the runtime's poller into the caller's hands.
func takeFD(conn *net.TCPConn) (int, error) {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("taking the socket: %w", err)
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr); err != nil {
		return -1, fmt.Errorf("taking the socket: %w", err)
	}
	return fd, nil
}

// watch registers link i (the timer is -1).
func (l *loop) watch(op, fd, i int, writable bool) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
	if writable {
		ev.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(l.epoll, op, fd, &ev); err != nil {
		return fmt.Errorf("watching a socket: %w", err)
	}
	return nil
}

// close says DISCONNECT where the socket takes it, and closes everything.
func (l *loop) close() {
	for _, k := range l.traffic.links {
		if k.fd < 0 {
			continue
		}
		if len(k.out) == 0 {
			_, _ = unix.Write(k.fd, appendDisconnect(nil)) // a courtesy: the socket closes anyway
		}
		unix.Close(k.fd)
		k.fd = -1
	}
	for _, fd := range []int{l.epoll, l.timer} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (l *loop) now() int64 { return int64(time.Since(l.base)) }

// pin keeps the loop on one thread, whose CPU time threadCPU then reads.
func pin() (unpin func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// threadCPU is the CPU time of the calling thread.
func threadCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// runFor moves bytes for d.
func (l *loop) runFor(ctx context.Context, d time.Duration) error {
	end := l.now() + int64(d)
	l.movedAt = l.now()
	for {
		now := l.now()
		if now >= end {
			return nil
		}
		if err := l.turn(ctx, now, end); err != nil {
			return err
		}
		if l.traffic.pace != nil || l.idle() < stallTime {
			continue
		}
		l.traffic.writeOff()
		if err := l.relax(); err != nil {
			return err
		}
	}
}

// drain moves bytes until all has arrived or nothing arrives any more.
func (l *loop) drain(ctx context.Context) error {
	l.traffic.stop()
	l.movedAt = l.now()
	if err := l.relax(); err != nil {
		return err
	}
	for t := &l.traffic.tally; !t.complete(); {
		if idle := l.idle(); idle >= drainTime || idle >= lateTime && t.settled() {
			return nil
		}
		if err := l.turn(ctx, l.now(), math.MaxInt64); err != nil {
			return err
		}
	}
	return nil
}

// idle is the time since anything happened.
func (l *loop) idle() time.Duration {
	if seen := l.traffic.tally.events(); seen != l.seen {
		l.seen, l.movedAt = seen, l.now()
	}
	return time.Duration(l.now() - l.movedAt)
}

// turn sends what may be sent, waits no longer than until end, reads what came.
func (l *loop) turn(ctx context.Context, now, end int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.traffic.produce(now)
	if err := l.flush(); err != nil {
		return err
	}
	if err := l.arm(now); err != nil {
		return err
	}
	wait := max(0, min(end-now, int64(tick)))
	n, err := unix.EpollWait(l.epoll, l.events[:], int((wait+999_999)/1_000_000))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("waiting for sockets: %w", err)
	}
	for _, ev := range l.events[:max(n, 0)] {
		if err := l.handle(int(ev.Fd), ev.Events); err != nil {
			return err
		}
	}
	return nil
}

// arm sets the timer to the next due time of an open loop.
func (l *loop) arm(now int64) error {
	t := l.traffic
	if t.pace == nil || t.stopped {
		return nil
	}
	due := t.pace.due(t.pace.next)
	if due == l.armed {
		return nil
	}
	l.armed = due
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, due-now))}
	if err := unix.TimerfdSettime(l.timer, 0, &spec, nil); err != nil {
		return fmt.Errorf("setting the timer: %w", err)
	}
	return nil
}

func (l *loop) handle(i int, events uint32) error {
	if i < 0 {
		var ticks [8]byte
		if _, err := unix.Read(l.timer, ticks[:]); err != nil && !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("reading the timer: %w", err)
		}
		return nil
	}
	k := l.traffic.links[i]
	if events&unix.EPOLLOUT != 0 {
		k.blocked = false
		l.traffic.touch(k)
		if err := l.watch(unix.EPOLL_CTL_MOD, k.fd, i, false); err != nil {
			return err
		}
	}
	if events&^uint32(unix.EPOLLOUT) == 0 {
		return nil
	}
	if err := l.read(k); err != nil {
		return fmt.Errorf("client %s: %w", k.client, err)
	}
	return nil
}

// read takes one batch from the socket and gives its frames to the role.
func (l *loop) read(k *link) error {
	kept := copy(l.buf, k.in)
	n, err := unix.Read(k.fd, l.buf[kept:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("reading: %w", err)
	case n == 0:
		return errors.New("the broker closed the connection")
	}
	rest, err := l.parse(k, l.buf[:kept+n])
	k.in = append(k.in[:0], rest...)
	return err
}

func (l *loop) parse(k *link, data []byte) (rest []byte, err error) {
	now := l.now()
	for len(data) > 0 {
		f, n, err := nextFrame(data, l.limit)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		if err := k.role.receive(f, now); err != nil {
			return nil, err
		}
		data = data[n:]
	}
	return data, nil
}

// flush writes each link that has something to say, in one call.
func (l *loop) flush() error {
	t := l.traffic
	for _, k := range t.dirty {
		k.queued = false
		if k.blocked || len(k.out) == 0 {
			continue
		}
		if err := l.write(k); err != nil {
			return fmt.Errorf("client %s: %w", k.client, err)
		}
	}
	t.dirty = t.dirty[:0]
	return nil
}

func (l *loop) write(k *link) error {
	n, err := unix.Write(k.fd, k.out)
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("writing: %w", err)
	}
	if n = max(n, 0); n == len(k.out) {
		k.out = k.out[:0]
		return nil
	}
	k.out = k.out[:copy(k.out, k.out[n:])]
	k.blocked = true
	return l.watch(unix.EPOLL_CTL_MOD, k.fd, k.index, true)
}

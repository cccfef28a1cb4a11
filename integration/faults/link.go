package faults

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// ioTimeout is how long a write may wait, and an answer to a login: longer than
// the hub is ever frozen.
const ioTimeout = 15 * time.Second

// A link is a device's connection, which may be made to fail from outside.
type link struct {
	who *history

	mu      sync.Mutex // guards what follows
	conn    *net.TCPConn
	numb    time.Time // the device does not read before this time
	leave   bool      // when it reads no more: connect anew over a half-open connection
	off     bool      // the device is to stay away
	changed chan struct{}
	ended   bool      // the run is over
	dialled time.Time // run's own
}

func newLink(who *history) *link { return &link{who: who, changed: make(chan struct{})} }

// soon is how long a connection lasts at least that was of use.
const soon = 20 * time.Millisecond

// signal wakes who waits for a change. mu is held.
func (l *link) signal() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// dial connects once the device may; false when the run is over.
func (l *link) dial(address func() string, rng *rand.Rand) (*net.TCPConn, bool) {
	for {
		if time.Since(l.dialled) < soon { // it did not last
			l.pause(soon/2 + time.Duration(rng.Int64N(int64(soon))))
		}
		if !l.wait() {
			return nil, false
		}
		l.dialled = time.Now()
		conn, err := net.DialTimeout("tcp", address(), ioTimeout)
		if err == nil {
			tcp := conn.(*net.TCPConn)
			l.mu.Lock()
			l.conn, l.numb = tcp, time.Time{}
			stay := !l.off && !l.ended
			l.mu.Unlock()
			if stay {
				return tcp, true
			}
			_ = conn.Close()
		}
	}
}

// wait returns when the device may be online; false when the run is over.
func (l *link) wait() bool {
	for {
		l.mu.Lock()
		off, ended, changed := l.off, l.ended, l.changed
		l.mu.Unlock()
		if ended {
			return false
		}
		if !off {
			return true
		}
		<-changed
	}
}

// pause waits for d or until something changes.
func (l *link) pause(d time.Duration) {
	l.mu.Lock()
	changed := l.changed
	l.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	}
}

// reset breaks the connection with RST.
func (l *link) reset(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return
	}
	l.who.add("reset: %s", why)
	_ = l.conn.SetLinger(0)
	_ = l.conn.Close()
}

// setOff sends the device away, or lets it come back.
func (l *link) setOff(off bool) {
	l.mu.Lock()
	changed := l.off != off
	l.off = off
	if changed {
		l.signal()
	}
	conn := l.conn
	l.mu.Unlock()
	if changed && off && conn != nil {
		l.who.add("goes away")
		_ = conn.Close()
	}
}

// deafen has the device stop reading for d. Then it reads on; or it leaves its
// connection half-open behind and comes back over a new one.
func (l *link) deafen(d time.Duration, leave bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.who.add("stops reading for %v, leaves then: %v", d, leave)
	l.numb, l.leave = time.Now().Add(d), leave
}

// deaf waits while the device does not read; true when it is to leave the
// connection as it is. The old connection is closed a little later.
func (l *link) deaf() (leave bool) {
	l.mu.Lock()
	d, leave, conn, ended := time.Until(l.numb), l.leave, l.conn, l.ended
	numb := !l.numb.IsZero()
	l.mu.Unlock()
	if !numb || ended {
		return false
	}
	l.pause(d)
	l.mu.Lock()
	l.numb = time.Time{}
	l.mu.Unlock()
	if leave {
		time.AfterFunc(time.Second, func() { _ = conn.Close() })
	}
	return leave
}

// end ends the device's part in the run.
func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.signal()
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// An out is the writing side of a connection: several goroutines append, and
// whole batches are written.
type out struct {
	conn net.Conn

	mu  sync.Mutex // guards buf, and writes
	buf []byte
}

// add appends to the buffer by way of write.
func (o *out) add(write func(b []byte) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = write(o.buf)
}

func (o *out) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buf) == 0 {
		return nil
	}
	_ = o.conn.SetWriteDeadline(time.Now().Add(ioTimeout))
	_, err := o.conn.Write(o.buf)
	o.buf = o.buf[:0]
	if err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

func newReader(conn net.Conn) *bufio.Reader { return bufio.NewReaderSize(conn, 16<<10) }

// A pace spreads messages evenly over time; it is shared by all senders of a kind.
type pace struct {
	every time.Duration // between two messages

	mu   sync.Mutex // guards next
	next time.Time
}

func newPace(perSecond float64) *pace {
	return &pace{every: time.Duration(float64(time.Second) / perSecond)}
}

// take is how many of at most n messages may be sent now, or how long to wait.
func (p *pace) take(n int) (int, time.Duration) {
	const burst = 20 * time.Millisecond
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.next.Before(now.Add(-burst)) {
		p.next = now.Add(-burst)
	}
	if p.next.After(now) {
		return 0, max(p.next.Sub(now), 2*time.Millisecond)
	}
	n = min(n, int(now.Sub(p.next)/p.every)+1)
	p.next = p.next.Add(time.Duration(n) * p.every)
	return n, 0
}

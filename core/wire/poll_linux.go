package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"pushhub/core"
)

const (
	// roundEvents is how many sockets are served between two looks at the rest.
	roundEvents = 256
	// roundBytes is how much input is handled before what it caused is written: as
	// much as one read, so that out-queues need not hold more than one takes.
	roundBytes = readSize
)

// A loop is one goroutine that waits for the sockets of many plain TCP
// connections, reads them and gives their handlers what came. What handlers append
// meanwhile, on whatever connections, is written once a round.
//
// Sockets are registered edge-triggered, for reading and writing at once, and never
// again: each is asked for as long as it has something.
type loop struct {
	epfd, wakefd int
	conns        map[int32]*polled // by descriptor; the loop's own
	doors        map[int32]*door   // the same
	batch        core.Batch
	buf          []byte // of one read
	taken        int    // bytes of input since the last flush

	asleep atomic.Bool // it waits, or is about to: whoever posts must wake it

	mu      sync.Mutex // guards what follows, and that wakefd is ours
	posts   []*polled  // connections that want to be looked at
	knocks  []*door    // doors that do
	stopped bool
	closed  bool
}

func newLoop() (*loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making an event loop: %w", err)
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, wakefd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(wakefd)})
	}
	if err != nil {
		_ = unix.Close(epfd) // nothing is in it
		return nil, fmt.Errorf("making an event loop: %w", err)
	}
	return &loop{epfd: epfd, wakefd: wakefd, conns: map[int32]*polled{}, doors: map[int32]*door{}, buf: make([]byte, readSize)}, nil
}

// run serves until stop was called and no connection is left.
func (l *loop) run() {
	events := make([]unix.EpollEvent, roundEvents)
	for {
		n, err := unix.EpollWait(l.epfd, events, l.patience())
		l.asleep.Store(false)
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic(fmt.Sprintf("wire: waiting for sockets: %v", err)) // our own descriptor is wrong
		}
		for _, ev := range events[:max(n, 0)] {
			if p := l.conns[ev.Fd]; p != nil {
				p.event(ev.Events)
				l.flush(roundBytes)
			} else if d := l.doors[ev.Fd]; d != nil {
				d.event()
			}
		}
		l.flush(0)
		if l.look() {
			return
		}
	}
}

// patience is how long the next wait may take, in milliseconds.
func (l *loop) patience() int {
	l.asleep.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.posts)+len(l.knocks) > 0 || l.stopped {
		l.asleep.Store(false)
		return 0
	}
	return -1
}

// flush writes what was caused so far, when more than limit bytes of input were handled.
func (l *loop) flush(limit int) {
	if l.taken >= limit {
		l.taken = 0
		l.batch.Flush()
	}
}

// look serves the connections and doors that were posted; it reports whether all is over.
func (l *loop) look() (over bool) {
	l.mu.Lock()
	posts, knocks := l.posts, l.knocks
	l.posts, l.knocks = nil, nil
	for _, p := range posts {
		p.posted = false
	}
	for _, d := range knocks {
		d.posted = false
	}
	if over = l.stopped && len(posts)+len(knocks) == 0 && len(l.conns)+len(l.doors) == 0; over {
		l.close()
	}
	l.mu.Unlock()
	for _, d := range knocks {
		d.posting()
	}
	for _, p := range posts {
		p.posting()
		l.flush(roundBytes)
	}
	l.flush(0)
	return over
}

// close gives the descriptors up, in which nothing is. The caller holds mu, or
// nobody else knows the loop.
func (l *loop) close() {
	l.closed = true
	_, _ = unix.Close(l.epfd), unix.Close(l.wakefd)
}

// post has the loop look at a connection soon.
func (l *loop) post(p *polled) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !p.posted {
		p.posted = true
		l.posts = append(l.posts, p)
	}
	l.wake()
}

// postDoor has the loop look at a door soon.
func (l *loop) postDoor(d *door) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed: // it never got there
		d.close()
		return
	case !d.posted:
		d.posted = true
		l.knocks = append(l.knocks, d)
	}
	l.wake()
}

// stop ends the loop once its connections have ended, and its doors are shut.
func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.wake()
}

// wake ends the loop's wait, by a system call that never waits itself. The caller holds mu.
func (l *loop) wake() {
	if l.asleep.Swap(false) && !l.closed {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(l.wakefd, one[:]) // it fails only when it is full of wake-ups
	}
}

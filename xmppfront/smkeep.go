package xmppfront

import (
	"container/list"
	"sync"
	"time"

	"pushhub/core"
)

// Bounds of what is kept of streams that can be resumed. When they are exceeded
// the oldest are forgotten: their clients resume as after a restart of the hub,
// from what the journal knows.
const (
	maxStreams     = 32 << 10
	maxStreamBytes = 64 << 20
	sweepEvery     = 10 * time.Second
)

// streams are the managed streams whose connection has ended. The zero value is ready.
type streams struct {
	mu     sync.Mutex // guards what follows; a leaf
	m      map[core.Address]*list.Element
	oldest list.List // of *lostStream, in the order in which they ended
	bytes  int
	swept  time.Time
}

// lostStream is one that waits to be resumed.
type lostStream struct {
	address core.Address
	stream  *managed
	size    int
	until   time.Time
}

// put keeps a stream, in the place of an earlier one of the same address.
func (l *streams) put(a core.Address, m *managed, size int, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(l.m[a])
	if l.m == nil {
		l.m = map[core.Address]*list.Element{}
	}
	l.m[a] = l.oldest.PushBack(&lostStream{a, m, size, until})
	l.bytes += size
	for l.oldest.Len() > maxStreams || l.bytes > maxStreamBytes {
		l.remove(l.oldest.Front())
	}
}

// get finds the stream of an address that the tag resumes; nil where there is none.
func (l *streams) get(a core.Address, tag string) *managed {
	l.mu.Lock()
	defer l.mu.Unlock()
	el := l.m[a]
	if el == nil || el.Value.(*lostStream).stream.tag != tag {
		return nil
	}
	return el.Value.(*lostStream).stream
}

// drop forgets the stream of an address.
func (l *streams) drop(a core.Address) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(l.m[a])
}

// remove forgets one stream; nil is none. The caller holds mu.
func (l *streams) remove(el *list.Element) {
	if el == nil {
		return
	}
	lost := l.oldest.Remove(el).(*lostStream)
	delete(l.m, lost.address)
	l.bytes -= lost.size
}

// sweep forgets the streams that cannot be resumed any more.
func (l *streams) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept) < sweepEvery {
		return
	}
	l.swept = now
	for el := l.oldest.Front(); el != nil; {
		next := el.Next()
		if now.After(el.Value.(*lostStream).until) {
			l.remove(el)
		}
		el = next
	}
}

// len is how many streams are kept.
func (l *streams) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.oldest.Len()
}

package core

import (
	"container/list"
	"sync"

	"pushhub/core/journal"
)

// frames keeps the frames of the log that were read or written last, so that
// devices that are up to date, and replays of the same time, cost no read.
type frames struct {
	mu    sync.Mutex // guards what follows
	limit int
	size  int
	bySeq map[uint64]*list.Element
	order list.List // of *cached, the one used last in front
}

type cached struct {
	seq      uint64
	records  [][]byte
	messages []*Message // decoded on first use; an entry is set once, under mu
	size     int
	gone     bool // retention removed it, or it is corrupt: nothing can be read
}

func newFrames(limit int) *frames {
	return &frames{limit: limit, bySeq: map[uint64]*list.Element{}}
}

// put keeps a frame, and forgets the ones not used for longest when that is too much.
func (f *frames) put(c *cached) {
	for _, r := range c.records {
		c.size += 2*len(r) + 64
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bySeq[c.seq] != nil {
		return
	}
	f.bySeq[c.seq] = f.order.PushFront(c)
	f.size += c.size
	for f.size > f.limit && f.order.Len() > 1 {
		last := f.order.Remove(f.order.Back()).(*cached)
		delete(f.bySeq, last.seq)
		f.size -= last.size
	}
}

// message returns the message at pos. known is false when its frame must be read
// first; a known nil message is not to be had any more.
func (f *frames) message(r *Router, pos journal.Position) (m *Message, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.bySeq[pos.Seq()]
	if e == nil {
		return nil, false
	}
	f.order.MoveToFront(e)
	c := e.Value.(*cached)
	if c.gone || pos.Index() >= len(c.records) {
		return nil, true
	}
	if c.messages == nil {
		c.messages = make([]*Message, len(c.records))
	}
	if c.messages[pos.Index()] == nil {
		c.messages[pos.Index()] = r.decodeRecord(c.records[pos.Index()])
	}
	return c.messages[pos.Index()], true
}

// decodeRecord decodes the message of a PUB record; nil when it cannot be.
func (r *Router) decodeRecord(raw []byte) *Message {
	var rec journal.Record
	if rec.Decode(raw) != nil || (rec.Kind != journal.KindPub && rec.Kind != journal.KindFired) {
		r.Counters.Corrupt.Add(1)
		return nil
	}
	t, _, _, err := messageTopic(rec.Body)
	if err != nil {
		r.Counters.Corrupt.Add(1)
		return nil
	}
	m, err := decodeMessage(rec.Body, string(t), Address{string(rec.Account), string(rec.Resource)})
	if err != nil {
		r.Counters.Corrupt.Add(1)
		return nil
	}
	return m
}

// has reports whether a frame is there.
func (f *frames) has(seq uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bySeq[seq] != nil
}

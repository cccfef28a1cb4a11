package core_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
)

// lateRows hold a checkpoint up between the choice of its position and its first
// row, and store none after it.
type lateRows struct {
	core.Rows
	reached, goOn, written, crashed chan struct{} // closed once each: by Put, the test, Put, the test

	mu          sync.Mutex // guards the rest
	armed, done bool
}

func (l *lateRows) Put(ctx context.Context, bucket string, rows []core.Row) error {
	l.mu.Lock()
	hold, done := l.armed && bucket == core.BucketRetained, l.done
	l.armed = l.armed && !hold
	l.mu.Unlock()
	if done {
		return errors.New("the process is about to be gone")
	}
	if hold {
		close(l.reached)
		<-l.goOn
	}
	err := l.Rows.Put(ctx, bucket, rows)
	if bucket != core.BucketNodes || len(rows) != 1 || rows[0].Key != "checkpoint" {
		return err
	}
	select {
	case <-l.goOn:
		l.mu.Lock()
		l.done = true
		l.mu.Unlock()
		close(l.written)
		<-l.crashed // before the flush that follows
	default:
	}
	return err
}

// A checkpoint is ahead of its position: what was open again then, and done before
// the shares were written, is not made open once more by the journal.
func TestOpenRecordIsNotRepeatedOverACheckpoint(t *testing.T) {
	for name, over := range map[string]func(h *hub, taker *client){
		"the taker is back": func(h *hub, taker *client) {
			taker.leave(true)
			h.attach(durable("u", "taker"))
		},
		"the taker's session has ended": func(_ *hub, taker *client) {
			taker.SetExpiry(0)
			taker.leave(true)
		},
	} {
		t.Run(name, func(t *testing.T) { openedBeforeTheCheckpoint(t, over) })
	}
}

func openedBeforeTheCheckpoint(t *testing.T, over func(h *hub, taker *client)) {
	store := bus.NewMemory()
	rows := &lateRows{
		Rows: store.Rows(), reached: make(chan struct{}), goOn: make(chan struct{}),
		written: make(chan struct{}), crashed: make(chan struct{}),
	}
	r := core.NewRouter(core.Options{Journal: store.Journal(), Rows: rows, Flush: time.Millisecond, Checkpoint: 1})
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- r.Run(ctx, func() { close(ready) }) }()
	<-ready
	h := &hub{Router: r, t: t, kill: func() { cancel(); close(rows.crashed); <-ended }}
	anchor, c, p := h.attach(durable("u", "anchor")), h.attach(clean("u", "c")), h.attach(clean("u", "p"))
	anchor.subscribe(shared(2))
	anchor.leave(true)
	taker := h.attach(durable("u", "taker"))
	c.subscribe(shared(2))
	c.set(func(d *device) { d.full = true })
	p.publish("t", "once", 2, false)
	p.settled()
	p.settled() // DONE is applied

	rows.mu.Lock()
	rows.armed = true
	rows.mu.Unlock()
	p.publish("r", "retained", 1, true)
	<-rows.reached
	c.leave(false) // OPEN
	p.settled()
	taker.subscribe(shared(2))
	packet := taker.expect(t, "once")[0].Packet
	var b core.Batch
	if err := taker.Received(&b, packet); err != nil {
		t.Fatal(err)
	}
	until(t, "PUBREL", func() bool { return taker.releases() == 1 })
	if err := taker.Ack(&b, packet); err != nil {
		t.Fatal(err)
	}
	p.settled()
	over(h, taker)
	p.settled()
	p.settled()
	close(rows.goOn)
	<-rows.written

	h, _ = h.crash(store)
	anchor = h.attach(durable("u", "anchor"))
	h.attach(clean("u", "p")).publish("t", "end", 2, false)
	anchor.expect(t, "end")
}

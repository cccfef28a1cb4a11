package bus

import (
	"context"
	"errors"

	"pushhub/core"
	"pushhub/core/journal"
)

// appliedTo notes that the tail has applied the frame with that sequence, and
// tells the waiters whose turn has come. Only the tail calls it.
func (l *lane) appliedTo(seq uint64) {
	l.mu.Lock()
	l.applied = seq
	l.mu.Unlock()
	l.settle()
}

// settle tells the waiters of all batches that are decided and, if stored,
// applied. Only one goroutine at a time may call it: the tail, or stop when
// there is no tail. A batch leaves the queue after its waiters were told, so that
// a barrier cannot overtake them.
func (l *lane) settle() {
	for {
		l.mu.Lock()
		if l.decided == 0 {
			l.mu.Unlock()
			return
		}
		b := l.batches[0]
		due := b.err != nil || b.seq <= l.applied
		l.mu.Unlock()
		if !due {
			return
		}
		b.tell(b.err)
		l.drop(b)
	}
}

// tell calls the waiters. A barrier fails only with the lane: that the records
// before it were refused is not its business.
func (b *batch) tell(err error) {
	for _, w := range b.waiters {
		switch {
		case w.index < 0 && !errors.Is(err, core.ErrStopped):
			w.done(0, nil)
		case err != nil:
			w.done(0, err)
		default:
			w.done(journal.At(b.seq, w.index), nil)
		}
	}
}

// drop takes the oldest batch, which is settled, off the queue.
func (l *lane) drop(b *batch) {
	l.mu.Lock()
	l.batches[0] = nil
	l.batches = l.batches[1:]
	l.decided--
	l.cost -= b.cost
	if len(l.spare) < spareBatches && b.frame.Size() <= 2*l.limits.frame {
		clear(b.waiters)
		b.frame.Reset()
		*b = batch{frame: b.frame, waiters: b.waiters[:0]}
		l.spare = append(l.spare, b)
	}
	l.mu.Unlock()
	signal(l.moved)
}

// drain refuses new records and waits until all that is queued is settled, or
// only decided while tailed reports that nobody follows; at the latest until ctx
// ends or the lane does.
func (l *lane) drain(ctx context.Context, tailed func() bool) {
	l.mu.Lock()
	if l.closed == nil {
		l.closed = core.ErrStopped
	}
	l.mu.Unlock()
	for {
		l.mu.Lock()
		done := len(l.batches) == 0 || (l.decided == len(l.batches) && !tailed())
		l.mu.Unlock()
		if done {
			return
		}
		select {
		case <-l.moved:
		case <-ctx.Done():
			return
		}
	}
}

// abandon tells every waiter that is left that the hub has stopped. Nobody
// follows any more and run has returned.
func (l *lane) abandon() {
	l.settle()
	for {
		l.mu.Lock()
		if len(l.batches) == 0 {
			l.mu.Unlock()
			return
		}
		b := l.batches[0]
		l.mu.Unlock()
		b.tell(core.ErrStopped)
		l.drop(b)
	}
}

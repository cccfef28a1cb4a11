package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pushhub/core"
	"pushhub/core/journal"
)

// frameLog is the log as a lane writes it and a tail reads it.
type frameLog interface {
	// add stores frame behind last, the sequence of the newest frame of this
	// lane (0: it has none). errRefused and errContested mean that this attempt
	// is certainly not stored; after any other error nobody knows.
	add(ctx context.Context, last uint64, frame []byte) (uint64, error)
	// after returns the first frame of this lane behind sequence last, or
	// errNothing.
	after(ctx context.Context, last uint64) (uint64, []byte, error)
	// bounds returns the oldest and the newest sequence that the log holds; an
	// empty log has first = last+1.
	bounds(ctx context.Context) (first, last uint64, err error)
	// next returns the first sequence of any lane that is at least from, or
	// errNothing.
	next(ctx context.Context, from uint64) (uint64, error)
	// read returns one frame; errors as in core.Journal.
	read(ctx context.Context, seq uint64) ([]byte, error)
	// tail sends the frames from sequence from on, until stop is called.
	tail(ctx context.Context, from uint64) (frames <-chan storedFrame, stop func(), err error)
}

// storedFrame is a frame with its place in the log.
type storedFrame struct {
	seq   uint64
	bytes []byte
}

var (
	errRefused   = errors.New("the store refused the frame")
	errContested = errors.New("the lane's last frame is not the one expected")
	errNothing   = errors.New("no such frame")
	errFenced    = fmt.Errorf("%w: another node has closed this lane", core.ErrStopped)
)

// entryCost is what a queued record costs beside its bytes, so that the bound
// of the queue also bounds barriers and tiny records.
const entryCost = 64

// spareBatches is how many settled batches a lane keeps for reuse.
const spareBatches = 8

// laneLimits are the bounds of a lane.
type laneLimits struct {
	frame    int           // bytes of a frame that packs several records
	record   int           // bytes of one record
	queue    int           // bytes of all records that are not settled
	patience time.Duration // how long a frame that the store refuses is retried
	pause    time.Duration // between the first two attempts; it doubles up to a second
}

// A waiter is told of one record, or of a barrier when index is negative.
type waiter struct {
	index int
	done  func(journal.Position, error)
}

// A batch is one frame on its way: queued, then taken by the lane's goroutine,
// then decided (stored or failed), then settled (its waiters told).
type batch struct {
	frame   journal.Frame
	waiters []waiter
	cost    int
	taken   bool
	seq     uint64
	err     error
}

// A lane appends records to the log in the order in which they were queued, one
// frame at a time, so that no retry can overtake or repeat another frame.
type lane struct {
	log    frameLog
	limits laneLimits
	ready  chan struct{} // cap 1, never closed: sent by append, received by run
	wake   chan struct{} // cap 1, never closed: sent by run, received by the tail; something can be settled
	moved  chan struct{} // cap 1, never closed: received by drain; something was decided or settled
	ended  chan struct{} // closed by run when it returns
	last   uint64        // run's own: sequence of the lane's newest frame
	sick   bool          // run's own: the store has refused for longer than patience

	mu      sync.Mutex // guards what follows
	batches []*batch   // oldest first
	decided int        // how many of batches, from the front, are decided
	cost    int        // of all batches
	applied uint64     // sequence of the newest frame that the tail has applied
	closed  error      // why records are no longer taken
	spare   []*batch
}

func newLane(log frameLog, limits laneLimits) *lane {
	return &lane{
		log: log, limits: limits,
		ready: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		moved: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// signal sends on a channel of capacity 1 whose receiver looks at everything.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// append queues a record, or a barrier when it is nil.
func (l *lane) append(record []byte, done func(journal.Position, error)) error {
	if len(record) > l.limits.record {
		return fmt.Errorf("%w: a record of %d bytes, %d are allowed", core.ErrQuota, len(record), l.limits.record)
	}
	next := l.ready
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != nil {
		return l.closed
	}
	cost := len(record) + entryCost
	if l.cost+cost > l.limits.queue {
		return core.ErrBusy
	}
	b := l.open(len(record))
	index := -1
	if record != nil {
		index = b.frame.Count()
		if !b.frame.Add(record) {
			b = l.grow()
			index = 0
			b.frame.Add(record)
		}
	}
	b.waiters = append(b.waiters, waiter{index, done})
	b.cost += cost
	l.cost += cost
	if record == nil && len(l.batches) == 1 && !b.taken && b.frame.Count() == 0 {
		b.taken = true // nothing is before the barrier, and nothing is to be stored
		l.decided = 1
		next = l.wake
	}
	signal(next)
	return nil
}

// open returns the batch that takes a record of n bytes. mu is held.
func (l *lane) open(n int) *batch {
	if len(l.batches) == l.decided {
		return l.grow()
	}
	b := l.batches[len(l.batches)-1]
	if b.taken || (b.frame.Count() > 0 && b.frame.Size()+n+5 > l.limits.frame) {
		return l.grow()
	}
	return b
}

// grow queues an empty batch. mu is held.
func (l *lane) grow() *batch {
	var b *batch
	if n := len(l.spare); n > 0 {
		b, l.spare = l.spare[n-1], l.spare[:n-1]
	} else {
		b = &batch{}
	}
	l.batches = append(l.batches, b)
	return b
}

// run stores batch after batch until ctx ends or the lane is fenced.
func (l *lane) run(ctx context.Context) {
	defer close(l.ended)
	for {
		b := l.take(ctx)
		if b == nil {
			l.shut(core.ErrStopped)
			return
		}
		var seq uint64
		var err error
		if b.frame.Count() > 0 {
			seq, err = l.store(ctx, b.frame.Bytes())
		}
		l.decide(b, seq, err)
		if errors.Is(err, core.ErrStopped) {
			l.shut(err)
			return
		}
	}
}

// take waits for a batch to store; nil once ctx has ended.
func (l *lane) take(ctx context.Context) *batch {
	for {
		if ctx.Err() != nil {
			return nil
		}
		l.mu.Lock()
		if l.decided < len(l.batches) {
			b := l.batches[l.decided]
			b.taken = true
			l.mu.Unlock()
			return b
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-l.ready:
		}
	}
}

// decide notes what became of the oldest undecided batch.
func (l *lane) decide(b *batch, seq uint64, err error) {
	l.mu.Lock()
	b.seq, b.err = seq, err
	l.decided++
	due := seq <= l.applied
	l.mu.Unlock()
	if due { // otherwise the tail comes by when it has applied the frame
		signal(l.wake)
	}
	signal(l.moved)
}

// shut fails all that is undecided and takes no more records.
func (l *lane) shut(err error) {
	l.mu.Lock()
	l.closed = err
	for ; l.decided < len(l.batches); l.decided++ {
		l.batches[l.decided].taken = true
		l.batches[l.decided].err = err
	}
	l.mu.Unlock()
	signal(l.wake)
	signal(l.moved)
}

// store appends the frame exactly once, or returns an error when it certainly is
// not in the log: one that wraps core.ErrUnavailable when the store refused it
// for too long, core.ErrStopped when ctx ended or the lane is fenced.
//
// Every attempt is guarded by the sequence of the lane's last frame, so that of
// several attempts at most one can be stored. Once the outcome of one attempt is
// unknown, giving up could deny a frame that appears later: from then on store
// asks until it knows.
func (l *lane) store(ctx context.Context, frame []byte) (uint64, error) {
	start := time.Now()
	unknown := false
	for pause := l.limits.pause; ; pause = min(2*pause, time.Second) {
		seq, err := l.log.add(ctx, l.last, frame)
		if err != nil && !errors.Is(err, errRefused) {
			unknown = unknown || !errors.Is(err, errContested)
			seq, err = l.learn(ctx, frame, err)
		}
		if err == nil {
			l.last, l.sick = seq, false
			return seq, nil
		}
		if errors.Is(err, errFenced) {
			return 0, err
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("%w: a frame was not stored yet: %w", core.ErrStopped, err)
		}
		if !unknown && (l.sick || errors.Is(err, core.ErrFull) || time.Since(start) >= l.limits.patience) {
			l.sick = true
			return 0, fmt.Errorf("%w: %w", core.ErrUnavailable, err)
		}
		wait(ctx, pause)
	}
}

// learn finds out whether frame was stored, after an attempt that ended in
// cause: nil with its sequence if it was, errFenced if it cannot be any more,
// else cause or what kept us from knowing.
func (l *lane) learn(ctx context.Context, frame []byte, cause error) (uint64, error) {
	seq, stored, err := l.log.after(ctx, l.last)
	if err == nil && bytes.Equal(stored, frame) {
		return seq, nil
	}
	if err == nil {
		return 0, errFenced
	}
	if !errors.Is(err, errNothing) {
		return 0, fmt.Errorf("reading the lane's last frame: %w, after: %w", err, cause)
	}
	if !errors.Is(cause, errContested) {
		return 0, cause
	}
	// An idle lane loses its last frame to retention, and with it the guard.
	first, _, err := l.log.bounds(ctx)
	if err == nil && l.last > 0 && first > l.last {
		l.last = 0
	}
	return 0, cause
}

// wait returns after d or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

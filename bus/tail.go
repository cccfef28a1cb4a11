package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"pushhub/core"
	"pushhub/core/journal"
)

// checkEvery is how often a tail compares itself with the log, in case that
// frames or their announcement went missing.
const checkEvery = 2 * time.Second

// Log is the journal of one node: its lane and its tail over one log. It
// implements core.Journal and is safe for concurrent use.
type Log struct {
	lane    *lane
	log     frameLog
	warn    *slog.Logger
	every   time.Duration // between two checks; checkEvery but in tests
	stopped chan struct{} // closed by stop, once the lane has ended
	cancel  context.CancelFunc

	stopping atomic.Bool
	follow   sync.Mutex  // held by whoever may settle: Follow, or stop after it
	tailed   atomic.Bool // whether Follow runs
}

func startLog(log frameLog, limits laneLimits, warn *slog.Logger) *Log {
	ctx, cancel := context.WithCancel(context.Background())
	j := &Log{lane: newLane(log, limits), log: log, warn: warn, every: checkEvery, stopped: make(chan struct{}), cancel: cancel}
	go j.lane.run(ctx)
	return j
}

// stop waits for what is queued until ctx ends, ends the lane, then the tail,
// and tells all waiters that are left core.ErrStopped. Once is enough.
func (j *Log) stop(ctx context.Context) {
	if j.stopping.Swap(true) {
		<-j.stopped
		return
	}
	j.lane.drain(ctx, j.tailed.Load)
	j.cancel()
	<-j.lane.ended
	close(j.stopped)
	j.follow.Lock()
	defer j.follow.Unlock()
	j.lane.abandon()
}

// Append implements core.Journal. It also refuses a record that is too big with
// core.ErrQuota, and everything with core.ErrStopped once the node has stopped
// or another has closed its lane. The position given to a barrier is zero. A
// record refused by the store does not fail the barriers behind it.
//
// If nobody follows when the node stops, the waiters hear core.ErrStopped from
// the goroutine that stops it; only then, and when the store did not answer
// before the stop, may such a record be in the log all the same.
func (j *Log) Append(record []byte, done func(journal.Position, error)) error {
	return j.lane.append(record, done)
}

// Read implements core.Journal. A frame that is not there yet is
// core.ErrNotFound.
func (j *Log) Read(ctx context.Context, seq uint64) ([]byte, error) {
	frame, err := j.log.read(ctx, seq)
	if err != nil {
		return nil, fmt.Errorf("reading frame %d: %w", seq, err)
	}
	return frame, nil
}

// Follow implements core.Journal. One Follow runs at a time. It returns
// core.ErrStopped when the node stops, and an error when Apply does or when the
// log has lost what was followed already or is to be followed from.
func (j *Log) Follow(ctx context.Context, from uint64, f core.Follower) error {
	if !j.follow.TryLock() {
		return errors.New("the log is followed already, or the node has stopped")
	}
	defer j.follow.Unlock()
	j.tailed.Store(true)
	defer signal(j.lane.moved)
	defer j.tailed.Store(false)

	t := &tail{Log: j, follower: f}
	err := t.start(ctx, max(from, 1))
	if err == nil {
		defer func() { t.halt() }()
		err = t.run(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// A tail is one run of Follow.
type tail struct {
	*Log
	follower core.Follower
	caughtUp bool
	target   uint64 // the newest sequence when it started
	want     uint64 // the next sequence
	busy     bool   // a frame came since the last check
	frames   <-chan storedFrame
	halt     func()
}

func (t *tail) start(ctx context.Context, from uint64) error {
	first, last, err := t.log.bounds(ctx)
	if err != nil {
		return fmt.Errorf("asking for the bounds of the log: %w", err)
	}
	if from > last+1 {
		return fmt.Errorf("the log ends at frame %d, it cannot be followed from %d: frames are lost", last, from)
	}
	t.want, t.target = max(from, first), last
	if err := t.open(ctx); err != nil {
		return err
	}
	t.applied(t.want - 1)
	t.arrive(first)
	return nil
}

func (t *tail) open(ctx context.Context) error {
	frames, halt, err := t.log.tail(ctx, t.want)
	if err != nil {
		return fmt.Errorf("following the log from frame %d: %w", t.want, err)
	}
	t.frames, t.halt = frames, halt
	return nil
}

// reopen follows again from the next frame that is wanted, until that succeeds
// or ctx ends.
func (t *tail) reopen(ctx context.Context, why string) {
	t.warn.Warn("following the log anew", "from", t.want, "why", why)
	t.halt()
	for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, checkEvery) {
		if t.open(ctx) == nil {
			return
		}
		wait(ctx, pause)
	}
}

// applied tells the waiters whose turn has come.
func (t *tail) applied(seq uint64) {
	t.lane.appliedTo(seq)
	t.follower.Settled()
}

func (t *tail) settle() {
	t.lane.settle()
	t.follower.Settled()
}

// arrive calls CaughtUp when nothing is left of what was there at the start.
func (t *tail) arrive(first uint64) {
	if !t.caughtUp && (t.want > t.target || first > t.target) {
		t.caughtUp = true
		t.follower.CaughtUp()
	}
}

func (t *tail) run(ctx context.Context) error {
	tick := time.NewTicker(t.every)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-t.stopped:
			t.settle()
			return core.ErrStopped
		case <-t.lane.wake:
			t.settle()
		case f := <-t.frames:
			err = t.take(ctx, f)
		case <-tick.C:
			err = t.check(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// take applies one frame, unless frames are missing before it.
func (t *tail) take(ctx context.Context, f storedFrame) error {
	t.busy = true
	if f.seq < t.want {
		return fmt.Errorf("frame %d came after frame %d: the log has lost frames", f.seq, t.want-1)
	}
	if f.seq > t.want && !t.bridge(ctx, f.seq) {
		t.reopen(ctx, "frames are missing")
		return nil
	}
	if err := t.follower.Apply(f.seq, f.bytes); err != nil {
		return fmt.Errorf("applying frame %d: %w", f.seq, err)
	}
	t.want = f.seq + 1
	t.applied(f.seq)
	t.arrive(0)
	return nil
}

// bridge reports whether the log really has nothing between what is wanted and
// frame seq. What retention has not taken was damaged, and is reported.
func (t *tail) bridge(ctx context.Context, seq uint64) bool {
	for want := t.want; want < seq; want++ {
		next, err := t.log.next(ctx, want)
		if err == nil && next >= seq {
			break
		}
		if err == nil && next > want {
			return false // the feed left it out
		}
		if _, err := t.log.read(ctx, want); !errors.Is(err, core.ErrGone) {
			return false
		}
	}
	if first, _, err := t.log.bounds(ctx); err == nil && first < seq {
		t.warn.Error("the journal is damaged: frames that it held are lost", "from", max(first, t.want), "to", seq-1)
	}
	return true
}

// check compares the tail with the log: a log that ends before what was applied
// has lost frames; one that goes on while no frame arrives is followed anew.
func (t *tail) check(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, checkEvery)
	defer cancel()
	first, last, err := t.log.bounds(asking)
	if err != nil {
		return nil // the store is away: the lane says so, and the next check asks again
	}
	if last+1 < t.want {
		return fmt.Errorf("the log ends at frame %d but frame %d was followed: frames are lost", last, t.want-1)
	}
	t.arrive(first)
	if !t.busy && last >= t.want && first <= last && len(t.frames) == 0 && t.bridge(asking, last+1) {
		t.want = last + 1
		t.applied(last)
		t.arrive(0)
	} else if !t.busy && last >= t.want && first <= last && len(t.frames) == 0 {
		t.reopen(ctx, "no frame arrives")
	}
	t.busy = false
	return nil
}

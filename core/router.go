package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"pushhub/core/auth"
	"pushhub/core/journal"
	"pushhub/core/presence"
	"pushhub/core/topic"
)

// Options of a Router. Journal and Rows are required.
type Options struct {
	Journal Journal
	Rows    Rows
	ACL     *auth.ACL // nil: the default policy
	Log     *slog.Logger

	Window          int           // most unacknowledged deliveries to a device; 0: 256
	QueueMessages   int           // most deliveries that wait in memory for a clean session; 0: 1000
	FrameCache      int           // bytes of frames kept for replay; 0: 32 MiB
	OfflineMessages int           // most records that wait for a session that is away; 0: 100,000
	OfflineBytes    int64         // most bytes of them; 0: 256 MiB
	OfflineAge      time.Duration // most age of them; 0: the journal's
	Subscriptions   int           // most filters of a session; 0: 10,000
	TopicBytes      int           // longest topic name or filter; 0: 65,535
	TopicLevels     int           // most levels of one; 0: 128
	LoginDelay      time.Duration // longest delay after wrong passwords; 0: none
	Checkpoint      int64         // bytes of journal after which a checkpoint is written; 0: 64 MiB
	Flush           time.Duration // how often cursors and rows are written; 0: 500 ms
}

// A Router is the core of a hub: who may, who receives, what is owed. Fronts
// attach devices to it; it follows one journal.
type Router struct {
	opt      Options
	acl      *auth.ACL
	log      *slog.Logger
	accounts *accounts
	frames   *frames
	Counters Counters

	generation atomic.Uint64 // rises whenever a Route may be out of date
	applied    atomic.Uint64 // the last journal.Position applied

	mu       sync.RWMutex // guards what follows
	sessions map[Address]*Session
	online   *topic.Index[*subscriber]       // the subscriptions of attached sessions
	durable  *topic.Index[*durableFilter]    // the filters that the log serves, once each
	filters  map[string]*durableFilter       // the same by their text
	watchers map[string]map[*Attachment]bool // devices that take notices, by account
	shares   shares                          // guards some of itself

	copies copies

	posted sync.RWMutex // guards the postings of all filters

	claims    claims
	retained  retained
	wills     wills
	documents documents

	people struct {
		sync.Mutex // guards what follows
		devices    presence.Devices[*Presence]
		left       map[string]int64 // when the last device of an account went, Unix milliseconds
	}

	dirty struct {
		sync.Mutex                 // guards what follows
		cursors    []*Session      // acknowledged more than the journal knows
		retained   map[string]bool // topics whose row is old
	}

	checkpoints struct { // belongs to whoever writes checkpoints: load, flushLoop, then Run
		generation uint64 // of the last one
		next       uint64 // the highest that was ever begun
		chunks     int
		bytes      atomic.Int64 // of frames applied since
		old        atomic.Bool  // something durable changed since
		written    time.Time
		ages       ages
	}

	tail tail // belongs to the goroutine that follows the journal

	wg      sync.WaitGroup // the goroutines that Run and logins started
	replays chan struct{}  // wakes the replayers; capacity: their number

	readFailed atomic.Int64 // when a failed read was logged last, Unix seconds

	replay struct {
		sync.Mutex            // guards waiting
		waiting    []*Session // sessions whose next frame must be read, each at most once
	}
}

// lastFlush bounds the checkpoint of a clean stop. Without it nothing is lost:
// the next start has more of the log to follow.
const lastFlush = time.Minute

// NewRouter makes a router; Run makes it work.
func NewRouter(opt Options) *Router {
	opt.Window = orElse(opt.Window, 256)
	opt.QueueMessages = orElse(opt.QueueMessages, 1000)
	opt.FrameCache = orElse(opt.FrameCache, 32<<20)
	opt.OfflineMessages = orElse(opt.OfflineMessages, 100_000)
	opt.OfflineBytes = orElse(opt.OfflineBytes, 256<<20)
	opt.Subscriptions = orElse(opt.Subscriptions, 10_000)
	opt.TopicBytes = orElse(opt.TopicBytes, topic.MaxLength)
	opt.TopicLevels = orElse(opt.TopicLevels, topic.MaxLevels)
	opt.Checkpoint = orElse(opt.Checkpoint, 64<<20)
	opt.Flush = orElse(opt.Flush, 500*time.Millisecond)
	if opt.ACL == nil {
		opt.ACL = auth.NewACL(nil)
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	r := &Router{
		opt: opt, acl: opt.ACL, log: opt.Log,
		accounts: newAccounts(opt.LoginDelay), frames: newFrames(opt.FrameCache),
		sessions: map[Address]*Session{},
		online:   topic.NewIndex[*subscriber](),
		durable:  topic.NewIndex[*durableFilter](),
		filters:  map[string]*durableFilter{},
		watchers: map[string]map[*Attachment]bool{},
		shares:   newShares(),
		replays:  make(chan struct{}, replayers),
	}
	r.checkpoints.written = time.Now()
	r.people.left = map[string]int64{}
	r.claims.latest = map[Address]*Attachment{}
	r.wills.m = map[Address]*will{}
	r.documents.m = map[string]map[string][]byte{}
	r.tail.touched, r.tail.shares = map[*Session]struct{}{}, map[*share]struct{}{}
	r.retained.values = topic.NewStore[*retainedValue]()
	r.dirty.retained = map[string]bool{}
	return r
}

func orElse[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

// Run restores what the stores hold and follows the journal until ctx ends.
// ready is called once everything is restored: fronts may attach from then on.
// When ctx ends, devices must have been detached already; Run then writes what
// was not yet written and returns.
func (r *Router) Run(ctx context.Context, ready func()) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for range replayers {
		r.wg.Go(func() { r.replayLoop(ctx) })
	}
	r.wg.Go(func() { r.flushLoop(ctx) })
	r.wg.Go(func() { r.shareLoop(ctx) })
	from := journal.Position(r.applied.Load()).Seq() + 1
	err := r.opt.Journal.Follow(ctx, from, follower{r, ready})
	cancel(err)
	r.wg.Wait()
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("following the journal: %w", err)
	}
	// The journal takes no more: a checkpoint holds the cursors too.
	flushCtx, done := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
	defer done()
	return r.flushRows(flushCtx, true)
}

// follower is the router as the journal sees it.
type follower struct {
	*Router
	ready func()
}

func (f follower) Apply(seq uint64, frame []byte) error { return f.apply(seq, frame) }
func (f follower) Settled()                             { f.tail.batch.Flush() }
func (f follower) CaughtUp() {
	f.recovered()
	f.ready()
}

func (r *Router) now() int64 { return time.Now().UnixMilli() }

// session finds a session; nil where there is none.
func (r *Router) session(a Address) *Session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.sessions[a]
}

// changed makes every Route out of date.
func (r *Router) changed() { r.generation.Add(1) }

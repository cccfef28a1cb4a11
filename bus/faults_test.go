package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pushhub/core"
	"pushhub/core/journal"
)

// producers append, each one record at a time, and note
// what they were told.
type producers struct {
	t     testing.TB
	n     node
	quit  chan struct{}
	work  sync.WaitGroup
	acked atomic.Int64

	mu       sync.Mutex // guards what follows
	told     map[string]journal.Position
	refused  map[string]error
	perOwner map[int][]journal.Position
}

func produce(t testing.TB, n node, count int) *producers {
	p := &producers{
		t: t, n: n, quit: make(chan struct{}),
		told: map[string]journal.Position{}, refused: map[string]error{}, perOwner: map[int][]journal.Position{},
	}
	for owner := range count {
		p.work.Go(func() { p.run(owner) })
	}
	return p
}

func (p *producers) run(owner int) {
	for i := 0; ; i++ {
		select {
		case <-p.quit:
			return
		default:
		}
		rec := fmt.Sprintf("%d-%d", owner, i)
		ch := make(chan outcome, 1)
		err := p.n.Journal().Append([]byte(rec), func(pos journal.Position, err error) { ch <- outcome{pos, err} })
		if err != nil {
			p.t.Errorf("append: %v", err)
			return
		}
		o := <-ch
		p.mu.Lock()
		if o.err != nil {
			p.refused[rec] = o.err
		} else {
			p.told[rec] = o.pos
			p.perOwner[owner] = append(p.perOwner[owner], o.pos)
			p.acked.Add(1)
		}
		p.mu.Unlock()
	}
}

// more waits until as many records more were acknowledged.
func (p *producers) more(n int64) {
	p.t.Helper()
	goal := p.acked.Load() + n
	eventually(p.t, fmt.Sprintf("%d records are acknowledged", goal), func() bool { return p.acked.Load() >= goal })
}

// stop ends the producers and compares what they were told with the log.
func (p *producers) stop(s stores) {
	p.t.Helper()
	close(p.quit)
	p.work.Wait()
	f := follow(p.t, s.open(p.t, small()), 1)
	f.catchUp()
	f.stop()
	if len(f.order) != len(p.told) {
		p.t.Errorf("%d records are stored, %d were acknowledged", len(f.order), len(p.told))
	}
	for rec, pos := range p.told {
		if f.records[pos] != rec {
			p.t.Errorf("at %s is %q, %q was acknowledged there", pos, f.records[pos], rec)
		}
	}
	for owner, order := range p.perOwner {
		for i := 1; i < len(order); i++ {
			if order[i] <= order[i-1] {
				p.t.Errorf("owner %d: %s came after %s", owner, order[i], order[i-1])
			}
		}
	}
}

// faultStores are on an external server behind a proxy. Nodes opened are closed
// at the end of the test.
func faultStores(t testing.TB, attempt, patience time.Duration) (stores, *external, *proxy) {
	x := startExternal(t)
	p := startProxy(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(x.opts.Port)))
	s := natsStores(func(o *Options) { o.URL, o.attempt, o.patience = p.url(), attempt, patience })
	open := s.open
	s.open = func(t testing.TB, o Options) node {
		n := open(t, o)
		t.Cleanup(func() { closeNode(t, n) })
		return n
	}
	return s, x, p
}

func TestAnswersLostAndConnectionsCut(t *testing.T) {
	s, _, p := faultStores(t, 2*time.Second, time.Minute)
	n := s.open(t, small())
	f := follow(t, n, 1)
	f.catchUp()
	load := produce(t, n, 4)
	for round := range 5 {
		load.more(50)
		if round%2 == 0 {
			p.setMute(true) // frames get stored, their answers do not arrive
			dropped := p.dropped.Load()
			eventually(t, "an answer is lost", func() bool { return p.dropped.Load() > dropped })
		}
		p.cut()
		p.setMute(false)
	}
	load.more(50)
	load.stop(s)
	f.stop()
}

func TestAppendsTimeOutAndArriveLater(t *testing.T) {
	s, _, p := faultStores(t, 150*time.Millisecond, time.Minute)
	n := s.open(t, small())
	f := follow(t, n, 1)
	f.catchUp()
	load := produce(t, n, 4)
	for range 3 {
		load.more(50)
		p.hold()
		timer := time.NewTimer(400 * time.Millisecond) // two attempts time out
		<-timer.C
		p.flow()
	}
	load.more(50)
	load.stop(s)
	f.stop()
}

func TestServerRestartsMidAppend(t *testing.T) {
	s, x, _ := faultStores(t, 2*time.Second, time.Minute)
	n := s.open(t, small())
	f := follow(t, n, 1)
	f.catchUp()
	load := produce(t, n, 4)
	for range 2 {
		load.more(50)
		x.stop()
		x.start()
	}
	load.more(50)
	load.stop(s)
	f.stop()
}

func TestServerAwayForTooLong(t *testing.T) {
	s, x, _ := faultStores(t, 2*time.Second, 100*time.Millisecond)
	n := s.open(t, small())
	f := follow(t, n, 1)
	f.catchUp()
	first := await(t, mustAppend(t, n, "before"))
	x.stop()
	eventually(t, "the connection is lost", func() bool { return !n.(*Bus).conn.IsConnected() })
	refused, barrier := mustAppend(t, n, "refused"), mustAppend(t, n, "")
	if o := await(t, refused); !errors.Is(o.err, core.ErrUnavailable) {
		t.Errorf("while the server is away: %v", o)
	}
	if o := await(t, barrier); o.err != nil {
		t.Errorf("barrier: %v", o)
	}
	if err := n.Rows().Put(t.Context(), core.BucketNodes, []core.Row{row("a", "b")}); !errors.Is(err, core.ErrUnavailable) {
		t.Errorf("rows while the server is away: %v", err)
	}
	if _, err := n.Journal().Read(t.Context(), 1); !errors.Is(err, core.ErrUnavailable) {
		t.Errorf("read while the server is away: %v", err)
	}
	x.start()
	eventually(t, "the connection is back", n.(*Bus).conn.IsConnected)
	var second outcome
	eventually(t, "a record is taken again", func() bool {
		second = await(t, mustAppend(t, n, "after"))
		return second.err == nil
	})
	if first.err != nil || second.pos != first.pos+1<<16 {
		t.Errorf("positions %s and %s", first.pos, second.pos)
	}
	f.stop()
}

func TestFollowNoticesThatTheLogLostFrames(t *testing.T) {
	m := NewMemory()
	m.journal.every = 20 * time.Millisecond
	f := follow(t, m, 1)
	await(t, mustAppend(t, m, "a"))
	await(t, mustAppend(t, m, "b"))
	m.log.mu.Lock()
	m.log.frames = m.log.frames[:1]
	m.log.mu.Unlock()
	if err := <-f.ended; err == nil || !strings.Contains(err.Error(), "frames are lost") {
		t.Errorf("follow: %v", err)
	}
	closeNode(t, m)
}

func TestFollowRepairsAFeedWithGapsOrSilence(t *testing.T) {
	log := &gappyLog{memLane: &memLane{memLog: &memLog{first: 1, changed: make(chan struct{})}, subject: "s"}}
	limits := defaultLimits()
	limits.frame = 1 // each record is a frame
	j := startLog(log, limits, testLog(t))
	j.every = 20 * time.Millisecond
	f := &follower{t: t, records: map[journal.Position]string{}, lock: make(chan struct{}, 1), caught: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- j.Follow(t.Context(), 1, f) }()
	for i := range 20 {
		ch := make(chan outcome, 1)
		if err := j.Append(fmt.Appendf(nil, "%d", i), func(p journal.Position, err error) { ch <- outcome{p, err} }); err != nil {
			t.Fatal(err)
		}
		if i%4 == 3 {
			await(t, ch)
		}
	}
	if got := f.all(); len(got) != 20 {
		t.Errorf("followed %q", got)
	}
	j.stop(t.Context())
	if err := <-ended; !errors.Is(err, core.ErrStopped) {
		t.Errorf("follow: %v", err)
	}
	if log.gaps.Load() == 0 {
		t.Error("no gap was made")
	}
}

// A gappyLog's first two feeds lose their second frame and those behind the fifth.
type gappyLog struct {
	*memLane
	feeds, gaps atomic.Int64
}

func (g *gappyLog) tail(ctx context.Context, from uint64) (<-chan storedFrame, func(), error) {
	frames, stop, err := g.memLane.tail(ctx, from)
	if g.feeds.Add(1) > 3 {
		return frames, stop, err
	}
	n := 0
	out, stop := without(frames, stop, func(storedFrame) bool {
		if n++; n != 2 && n <= 4 {
			return false
		}
		g.gaps.Add(1)
		return true
	})
	return out, stop, err
}

// without is a feed less those frames that drop is true for.
func without(frames <-chan storedFrame, stop func(), drop func(storedFrame) bool) (<-chan storedFrame, func()) {
	out := make(chan storedFrame) // sent by the goroutine below, never closed
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-quit:
				return
			case f := <-frames:
				if drop(f) {
					continue
				}
				select {
				case out <- f:
				case <-quit:
				}
			}
		}
	}()
	return out, func() { close(quit); <-ended; stop() }
}

// A damagedLog cannot give one frame any more, the newest of those there.
type damagedLog struct {
	*memLane
	seq uint64
}

func (d *damagedLog) next(ctx context.Context, from uint64) (uint64, error) {
	if from == d.seq {
		from++
	}
	return d.memLane.next(ctx, from)
}

func (d *damagedLog) read(ctx context.Context, seq uint64) ([]byte, error) {
	if seq == d.seq {
		return nil, core.ErrGone
	}
	return d.memLane.read(ctx, seq)
}

func (d *damagedLog) tail(ctx context.Context, from uint64) (<-chan storedFrame, func(), error) {
	frames, stop, err := d.memLane.tail(ctx, from)
	out, stop := without(frames, stop, func(f storedFrame) bool { return f.seq == d.seq })
	return out, stop, err
}

func TestFollowPassesADamagedNewestFrame(t *testing.T) {
	m := NewMemory()
	f := follow(t, m, 1)
	for _, record := range []string{"a", "b", "c"} {
		await(t, mustAppend(t, m, record))
	}
	f.stop()
	closeNode(t, m)

	var said strings.Builder
	j := startLog(&damagedLog{&memLane{m.log, "s"}, 3}, defaultLimits(), slog.New(slog.NewTextHandler(&said, nil)))
	j.every = 20 * time.Millisecond
	f = &follower{t: t, records: map[journal.Position]string{}, lock: make(chan struct{}, 1), caught: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- j.Follow(t.Context(), 1, f) }()
	select {
	case <-f.caught:
	case <-time.After(30 * time.Second):
		t.Fatal("it never caught up with the log")
	}
	ch := make(chan outcome, 1)
	if err := j.Append([]byte("d"), func(p journal.Position, err error) { ch <- outcome{p, err} }); err != nil {
		t.Fatal(err)
	}
	await(t, ch)
	j.stop(t.Context())
	if err := <-ended; !errors.Is(err, core.ErrStopped) {
		t.Errorf("follow: %v", err)
	}
	if got := f.all(); !slices.Equal(got, []string{"a", "b", "d"}) {
		t.Errorf("followed %q", got)
	}
	if !strings.Contains(said.String(), "frames that it held are lost") || !strings.Contains(said.String(), "from=3 to=3") {
		t.Errorf("the log says %s", said.String())
	}
}

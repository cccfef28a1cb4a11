package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pushhub/core"
	"pushhub/core/journal"
)

// A faultyLog is the memory log whose answers get lost, late or refused.
type faultyLog struct {
	*memLane
	mu    sync.Mutex // guards what follows
	rand  *rand.Rand
	late  []lateFrame // attempts that are still under way
	tries int         // after which the store works again
	kinds []string    // of faults
}

type lateFrame struct {
	last  uint64
	frame []byte
}

var allFaults = []string{"lost before", "lost after", "late", "refused", "blind"}

// fault picks what happens to one call.
func (f *faultyLog) fault() string {
	f.tries--
	if f.tries < 0 || f.rand.Intn(2) == 0 {
		return ""
	}
	return f.kinds[f.rand.Intn(len(f.kinds))]
}

func (f *faultyLog) add(ctx context.Context, last uint64, frame []byte) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.late) > 0 && f.rand.Intn(2) == 0 { // an attempt that was given up on arrives
		_, _ = f.memLane.add(ctx, f.late[0].last, f.late[0].frame)
		f.late = f.late[1:]
	}
	switch f.fault() {
	case "lost before":
		return 0, errTest
	case "lost after":
		_, _ = f.memLane.add(ctx, last, frame)
		return 0, errTest
	case "late":
		f.late = append(f.late, lateFrame{last, slices.Clone(frame)})
		return 0, errTest
	case "refused":
		return 0, errRefused
	}
	return f.memLane.add(ctx, last, frame)
}

func (f *faultyLog) after(ctx context.Context, last uint64) (uint64, []byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch f.fault() {
	case "lost before":
		return 0, nil, errTest
	case "blind": // a replica that lags
		return 0, nil, errNothing
	}
	return f.memLane.after(ctx, last)
}

// flush delivers the attempts that are still under way.
func (f *faultyLog) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.late {
		_, _ = f.memLane.add(context.Background(), l.last, l.frame)
	}
}

func TestLaneUnderFaults(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		records := rapid.IntRange(1, 60).Draw(rt, "records")
		log := &faultyLog{
			memLane: &memLane{memLog: &memLog{first: 1, changed: make(chan struct{})}, subject: "s"},
			rand:    rand.New(rand.NewSource(rapid.Int64().Draw(rt, "seed"))),
			tries:   rapid.IntRange(0, 200).Draw(rt, "tries"),
			kinds:   rapid.SliceOfNDistinct(rapid.SampledFrom(allFaults), 1, 5, rapid.ID).Draw(rt, "faults"),
		}
		limits := laneLimits{frame: 64, record: 64, queue: 1 << 20, pause: time.Microsecond}
		j := startLog(log, limits, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(context.Background())
		f := &follower{t: t, records: map[journal.Position]string{}, lock: make(chan struct{}, 1), caught: make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- j.Follow(ctx, 1, f) }()

		var told sync.WaitGroup
		var order []int // in which the waiters were told; Follow's goroutine alone writes it
		results := make([]outcome, records)
		for i := range records {
			told.Add(1)
			err := j.Append(fmt.Appendf(nil, "r%d", i), func(p journal.Position, err error) {
				order = append(order, i)
				results[i] = outcome{p, err}
				told.Done()
			})
			if err != nil {
				rt.Fatal(err)
			}
		}
		told.Wait()
		log.flush()
		cancel()
		if err := <-ended; err != nil {
			rt.Fatal(err)
		}
		j.stop(context.Background())
		if !slices.IsSorted(order) {
			rt.Errorf("told in order %v", order)
		}
		checkStored(rt, log, results)
	})
}

// checkStored compares the log with what the waiters were told: acknowledged
// records once, in order and at their position; the others not at all.
func checkStored(rt *rapid.T, log *faultyLog, results []outcome) {
	stored := map[journal.Position]string{}
	total := 0
	for i, f := range log.frames {
		recs, err := journal.Split(f.bytes)
		if err != nil {
			rt.Fatal(err)
		}
		for k, r := range recs {
			stored[journal.At(uint64(i+1), k)] = string(r)
			total++
		}
	}
	acked, last := 0, journal.Position(0)
	for i, o := range results {
		if o.err != nil {
			if !errors.Is(o.err, core.ErrUnavailable) {
				rt.Errorf("record %d: %v", i, o.err)
			}
			continue
		}
		acked++
		if got, want := stored[o.pos], fmt.Sprintf("r%d", i); got != want || o.pos <= last {
			rt.Errorf("record %d at %s after %s is %q", i, o.pos, last, got)
		}
		last = o.pos
	}
	if acked != total {
		rt.Errorf("%d records acknowledged, %d stored", acked, total)
	}
}

func TestRefusalIsToldAndTheLaneGoesOn(t *testing.T) {
	m := NewMemory()
	f := follow(t, m, 1)
	m.FailAppend(errTest)
	refused, barrier := mustAppend(t, m, "a"), mustAppend(t, m, "")
	if o := await(t, refused); !errors.Is(o.err, core.ErrUnavailable) || !errors.Is(o.err, errTest) {
		t.Errorf("refused: %v", o)
	}
	if o := await(t, barrier); o.err != nil {
		t.Errorf("barrier: %v", o)
	}
	m.FailAppend(nil)
	if o := await(t, mustAppend(t, m, "b")); o.err != nil || o.pos != journal.At(1, 0) {
		t.Errorf("afterwards: %v", o)
	}
	f.stop()
	closeNode(t, m)
}

func TestHeldFramesAreToldAfterRelease(t *testing.T) {
	m := NewMemory()
	f := follow(t, m, 1)
	m.Hold()
	var chans []<-chan outcome
	for i := range 10 {
		chans = append(chans, mustAppend(t, m, fmt.Sprint(i)))
	}
	for _, ch := range chans {
		if len(ch) != 0 {
			t.Error("done while held")
		}
	}
	m.Release()
	for _, ch := range chans {
		if o := await(t, ch); o.err != nil {
			t.Error(o.err)
		}
	}
	if got := len(f.all()); got != 10 {
		t.Errorf("%d records", got)
	}
	if m.log.last() > 2 {
		t.Errorf("%d frames for what queued meanwhile", m.log.last())
	}
	f.stop()
	closeNode(t, m)
}

func TestCloseGivesUpWhenItsContextEnds(t *testing.T) {
	m := NewMemory()
	f := follow(t, m, 1)
	m.Hold()
	rec, barrier := mustAppend(t, m, "stuck"), mustAppend(t, m, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for _, ch := range []<-chan outcome{rec, barrier} {
		if o := await(t, ch); !errors.Is(o.err, core.ErrStopped) {
			t.Errorf("outcome: %v", o)
		}
	}
	if err := <-f.ended; !errors.Is(err, core.ErrStopped) {
		t.Errorf("follow: %v", err)
	}
}

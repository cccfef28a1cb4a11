package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pushhub/core"
	"pushhub/core/journal"
)

// A node is what Bus and Memory have in common.
type node interface {
	Journal() core.Journal
	Rows() core.Rows
	Close(ctx context.Context) error
}

// stores is one kind of store under the contract.
type stores struct {
	open   func(t testing.TB, o Options) node       // a new node over the same store
	remove func(t testing.TB, n node, upTo uint64)  // retention
	inject func(t testing.TB, n node, frame []byte) // someone else appends to n's lane
}

// kinds makes a fresh store of each kind.
var kinds = map[string]func(t testing.TB) stores{
	"memory":   memoryStores,
	"embedded": embeddedStores,
	"external": externalStores,
}

func eachKind(t *testing.T, test func(t *testing.T, s stores)) {
	for _, name := range []string{"memory", "embedded", "external"} {
		t.Run(name, func(t *testing.T) { test(t, kinds[name](t)) })
	}
}

func small() Options { return Options{FrameBytes: 1 << 10, MaxRecordBytes: 64 << 10} }

func TestManyProducersKeepTheirOrder(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		f := follow(t, n, 1)
		const producers, each = 8, 200
		var wg sync.WaitGroup
		type ack struct {
			rec string
			pos journal.Position
		}
		var mu sync.Mutex
		var acks []ack // in the order of the callbacks
		for p := range producers {
			wg.Go(func() {
				var acked sync.WaitGroup
				for i := range each {
					rec := fmt.Sprintf("%d:%04d:%s", p, i, strings.Repeat("x", i%64))
					acked.Add(1)
					err := n.Journal().Append([]byte(rec), func(pos journal.Position, err error) {
						defer acked.Done()
						if got, ok := f.get(pos); err != nil || !ok || got != rec {
							t.Errorf("done(%s, %v) before apply, or for %q instead of %q", pos, err, got, rec)
						}
						mu.Lock()
						acks = append(acks, ack{rec, pos})
						mu.Unlock()
					})
					if err != nil {
						t.Errorf("append: %v", err)
						acked.Done()
					}
				}
				acked.Wait()
			})
		}
		wg.Wait()
		if !slices.IsSortedFunc(acks, func(a, b ack) int { return int(a.pos) - int(b.pos) }) {
			t.Error("the callbacks did not come in the order of the log")
		}
		next := map[byte]string{}
		for _, rec := range f.all() {
			if rec <= next[rec[0]] {
				t.Fatalf("%q came after %q", rec, next[rec[0]])
			}
			next[rec[0]] = rec
		}
		if got := len(f.all()); got != producers*each {
			t.Errorf("%d records, want %d", got, producers*each)
		}
		f.stop()
		closeNode(t, n)
	})
}

func TestAppendBeforeFollow(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		rec, barrier := mustAppend(t, n, "early"), mustAppend(t, n, "")
		eventually(t, "the frame is stored", func() bool {
			_, err := n.Journal().Read(t.Context(), 1)
			return err == nil
		})
		if len(rec)+len(barrier) != 0 {
			t.Error("done was called although nobody follows")
		}
		f := follow(t, n, 1)
		if o := await(t, rec); o.err != nil || o.pos != journal.At(1, 0) {
			t.Errorf("record: %v", o)
		}
		if o := await(t, barrier); o.err != nil {
			t.Errorf("barrier: %v", o)
		}
		f.stop()
		closeNode(t, n)
	})
}

func TestBarrier(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		ch := mustAppend(t, n, "")
		if len(ch) != 0 {
			t.Error("done was called from within Append")
		}
		f := follow(t, n, 1)
		await(t, ch)
		for round := range 50 {
			for i := range round {
				mustAppend(t, n, fmt.Sprintf("%d.%d", round, i))
			}
			before := len(f.all())
			if o := await(t, mustAppend(t, n, "")); o.err != nil || o.pos != 0 {
				t.Fatalf("barrier: %v", o)
			}
			if got, want := len(f.all()), round*(round+1)/2; got != want {
				t.Fatalf("round %d: barrier after %d records (%d at first), want %d", round, got, before, want)
			}
		}
		f.stop()
		closeNode(t, n)
	})
}

func TestReopenSeesEverythingInOrder(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		var want []string
		for round := range 3 {
			n := s.open(t, small())
			f := follow(t, n, 1)
			f.catchUp()
			if got := f.all(); !slices.Equal(got, want) {
				t.Fatalf("round %d: %d records, want %d", round, len(got), len(want))
			}
			var last <-chan outcome
			for i := range 300 {
				rec := fmt.Sprintf("round %d record %d", round, i)
				want = append(want, rec)
				last = mustAppend(t, n, rec)
			}
			if o := await(t, last); o.err != nil {
				t.Fatal(o.err)
			}
			if round == 1 {
				f.stop()
			}
			closeNode(t, n)
		}
		n := s.open(t, small())
		for _, from := range []uint64{2, 5} {
			f := follow(t, n, from)
			f.catchUp()
			if f.order[0] != journal.At(from, 0) || f.all()[len(f.order)-1] != want[len(want)-1] {
				t.Errorf("from %d: follows from %s", from, f.order[0])
			}
			f.stop()
		}
		closeNode(t, n)
	})
}

func TestReadAndRetention(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		f := follow(t, n, 1)
		for i := range 10 {
			await(t, mustAppend(t, n, fmt.Sprintf("r%d", i)))
		}
		for seq := uint64(1); seq <= 10; seq++ {
			frame, err := n.Journal().Read(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			if recs, err := journal.Split(frame); err != nil || string(recs[0]) != fmt.Sprintf("r%d", seq-1) {
				t.Errorf("frame %d: %q, %v", seq, recs, err)
			}
		}
		s.remove(t, n, 4)
		if _, err := n.Journal().Read(t.Context(), 4); !errors.Is(err, core.ErrGone) {
			t.Errorf("removed frame: %v", err)
		}
		if _, err := n.Journal().Read(t.Context(), 11); !errors.Is(err, core.ErrNotFound) {
			t.Errorf("future frame: %v", err)
		}
		f.stop()
		f = follow(t, n, 1)
		f.catchUp()
		if f.order[0] != journal.At(5, 0) {
			t.Errorf("follows from %s", f.order[0])
		}
		// The lane's own last frame goes, and with it the guard of the next one.
		s.remove(t, n, 10)
		if o := await(t, mustAppend(t, n, "after")); o.err != nil || o.pos != journal.At(11, 0) {
			t.Errorf("append to an emptied log: %v", o)
		}
		f.stop()
		s.remove(t, n, 11)
		f = follow(t, n, 1)
		f.catchUp()
		f.stop()
		closeNode(t, n)
	})
}

func TestBounds(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		o := small()
		o.QueueBytes = 70 << 10
		n := s.open(t, o)
		done := func(journal.Position, error) {}
		if err := n.Journal().Append(make([]byte, 64<<10+1), done); !errors.Is(err, core.ErrQuota) {
			t.Errorf("too big a record: %v", err)
		}
		big := strings.Repeat("b", 60<<10)
		first := mustAppend(t, n, big)
		second := mustAppend(t, n, "small")
		if err := n.Journal().Append([]byte(big), done); !errors.Is(err, core.ErrBusy) {
			t.Errorf("too long a queue: %v", err)
		}
		f := follow(t, n, 1)
		a, b := await(t, first), await(t, second)
		if got, _ := f.get(a.pos); got != big || a.pos.Seq() == b.pos.Seq() {
			t.Errorf("the big record is not a frame of its own: %v %v", a, b)
		}
		if o := await(t, mustAppend(t, n, big)); o.err != nil {
			t.Errorf("after the queue was empty: %v", o.err)
		}
		f.stop()
		closeNode(t, n)
	})
}

func TestFencedLaneStaysClosed(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		f := follow(t, n, 1)
		await(t, mustAppend(t, n, "mine"))
		var fence journal.Frame
		fence.Add([]byte("fence"))
		s.inject(t, n, fence.Bytes())
		for range 3 {
			if o := await(t, mustAppendOrStopped(t, n, "zombie")); !errors.Is(o.err, core.ErrStopped) {
				t.Errorf("fenced: %v", o)
			}
		}
		eventually(t, "the fence is seen", func() bool { return len(f.all()) == 2 })
		if got := f.all(); !slices.Equal(got, []string{"mine", "fence"}) {
			t.Errorf("log: %q", got)
		}
		f.stop()
		closeNode(t, n)
	})
}

// mustAppendOrStopped is mustAppend that takes a refusal as the outcome.
func mustAppendOrStopped(t testing.TB, n node, record string) <-chan outcome {
	t.Helper()
	ch := make(chan outcome, 2)
	if err := n.Journal().Append([]byte(record), func(p journal.Position, err error) { ch <- outcome{p, err} }); err != nil {
		ch <- outcome{err: err}
	}
	return ch
}

func TestTwoNodesShareOneOrder(t *testing.T) {
	for _, name := range []string{"memory", "external"} {
		t.Run(name, func(t *testing.T) {
			s := kinds[name](t)
			a, b := s.open(t, small()), s.open(t, small())
			fa, fb := follow(t, a, 1), follow(t, b, 1)
			var wg sync.WaitGroup
			for _, n := range []node{a, b} {
				wg.Go(func() {
					for i := range 100 {
						if o := await(t, mustAppend(t, n, fmt.Sprintf("%p %d", n, i))); o.err != nil {
							t.Errorf("append: %v", o.err)
						}
					}
				})
			}
			wg.Wait()
			eventually(t, "both saw all", func() bool { return len(fa.all()) == 200 && len(fb.all()) == 200 })
			if !slices.Equal(fa.all(), fb.all()) {
				t.Error("the nodes see different orders")
			}
			fa.stop()
			fb.stop()
			closeNode(t, a)
			closeNode(t, b)
		})
	}
}

func TestCloseWhileFollowed(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		f := follow(t, n, 1)
		f.catchUp()
		var chans []<-chan outcome
		for i := range 100 {
			chans = append(chans, mustAppend(t, n, fmt.Sprint(i)))
		}
		closeNode(t, n)
		for _, ch := range chans {
			if o := await(t, ch); o.err != nil {
				t.Fatalf("queued before close: %v", o.err)
			}
		}
		if err := <-f.ended; !errors.Is(err, core.ErrStopped) {
			t.Errorf("follow: %v", err)
		}
		if err := n.Journal().Append([]byte("late"), nil); !errors.Is(err, core.ErrStopped) {
			t.Errorf("append after close: %v", err)
		}
		closeNode(t, n)
	})
}

func TestDoneComesOnce(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		f := follow(t, n, 1)
		ch := mustAppend(t, n, "x")
		await(t, ch)
		closeNode(t, n)
		<-f.ended
		select {
		case o := <-ch:
			t.Errorf("done came again: %v", o)
		case <-time.After(time.Millisecond):
		}
	})
}

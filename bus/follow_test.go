package bus

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pushhub/core"
	"pushhub/core/journal"
)

func TestFollowFromBeyondTheLogIsRefused(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		f := follow(t, n, 2)
		if err := <-f.ended; err == nil || !strings.Contains(err.Error(), "frames are lost") {
			t.Errorf("follow: %v", err)
		}
		closeNode(t, n)
	})
}

func TestOneFollowAtATime(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		f := follow(t, n, 1)
		f.catchUp()
		g := follow(t, n, 1)
		if err := <-g.ended; err == nil {
			t.Error("a second Follow runs")
		}
		f.stop()
		closeNode(t, n)
	})
}

func TestApplyErrorEndsFollow(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		rec := mustAppend(t, n, "bad")
		err := n.Journal().Follow(t.Context(), 1, applyFunc(func(uint64, []byte) error { return errTest }))
		if !errors.Is(err, errTest) || len(rec) != 0 {
			t.Errorf("follow: %v", err)
		}
		closeNode(t, n)
		if o := await(t, rec); !errors.Is(o.err, core.ErrStopped) {
			t.Errorf("record after close: %v", o)
		}
	})
}

// A recorder notes the calls that a follower gets, and what was told in between.
type recorder struct {
	lock  chan struct{}
	calls []string
}

func (r *recorder) note(call string) {
	r.lock <- struct{}{}
	r.calls = append(r.calls, call)
	<-r.lock
}

func (r *recorder) Apply(uint64, []byte) error { r.note("apply"); return nil }
func (r *recorder) Settled()                   { r.note("settled") }
func (r *recorder) CaughtUp()                  { r.note("caught up") }

// last returns the newest calls.
func (r *recorder) last(n int) []string {
	r.lock <- struct{}{}
	defer func() { <-r.lock }()
	return slices.Clone(r.calls[max(0, len(r.calls)-n):])
}

func TestFollowerIsCalledInOrder(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		r := &recorder{lock: make(chan struct{}, 1)}
		done := func(journal.Position, error) { r.note("done") }
		for _, rec := range [][]byte{[]byte("a"), []byte("b"), nil} {
			if err := n.Journal().Append(rec, done); err != nil {
				t.Fatal(err)
			}
		}
		lane := n.Journal().(*Log).lane
		eventually(t, "the lane knows that the records are stored", func() bool {
			lane.mu.Lock()
			defer lane.mu.Unlock()
			return len(lane.batches) > 0 && lane.decided == len(lane.batches)
		})
		ended := make(chan error, 1)
		go func() { ended <- n.Journal().Follow(t.Context(), 1, r) }()
		eventually(t, "all was told", func() bool {
			return strings.HasSuffix(strings.Join(r.last(20), ","), "caught up") || len(r.last(20)) >= 7
		})
		if err := n.Journal().Append(nil, done); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the lone barrier is told and settled", func() bool {
			return slices.Equal(r.last(2), []string{"done", "settled"})
		})
		closeNode(t, n)
		<-ended
		calls := strings.Join(r.calls, ",")
		if !strings.Contains(calls, "apply,done,") || !strings.Contains(calls, "done,settled,caught up") || strings.Contains(calls, "apply,settled,caught up") {
			t.Errorf("calls: %s", calls)
		}
		if strings.Count(calls, "caught up") != 1 || strings.Count(calls, "done") != 4 {
			t.Errorf("calls: %s", calls)
		}
	})
}

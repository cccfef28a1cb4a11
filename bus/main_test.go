package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pushhub/core/journal"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		appendUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting until %s", what)
		}
		<-tick.C
	}
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if os.Getenv("BUS_TEST_LOG") != "" {
		fmt.Fprint(os.Stderr, string(p))
	}
	return len(p), nil
}

// An outcome is what became of one record.
type outcome struct {
	pos journal.Position
	err error
}

// mustAppend appends and returns where the outcome will arrive.
func mustAppend(t testing.TB, n node, record string) <-chan outcome {
	t.Helper()
	ch := make(chan outcome, 2)
	var rec []byte
	if record != "" {
		rec = []byte(record)
	}
	if err := n.Journal().Append(rec, func(p journal.Position, err error) { ch <- outcome{p, err} }); err != nil {
		t.Fatalf("append: %v", err)
	}
	return ch
}

func await(t testing.TB, ch <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-ch:
		return o
	case <-time.After(30 * time.Second):
		t.Fatal("done was not called")
		return outcome{}
	}
}

// A follower keeps what Follow showed it.
type follower struct {
	t       testing.TB
	records map[journal.Position]string // guarded by the channel lock
	order   []journal.Position
	lock    chan struct{}
	caught  chan struct{}
	ended   chan error
	cancel  context.CancelFunc
	settled atomic.Int64 // calls
}

// applyFunc is a follower that only applies.
type applyFunc func(seq uint64, frame []byte) error

func (a applyFunc) Apply(seq uint64, frame []byte) error { return a(seq, frame) }
func (applyFunc) Settled()                               {}
func (applyFunc) CaughtUp()                              {}

func ignore(uint64, []byte) error { return nil }

func follow(t testing.TB, n node, from uint64) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{
		t: t, records: map[journal.Position]string{}, lock: make(chan struct{}, 1),
		caught: make(chan struct{}), ended: make(chan error, 1), cancel: cancel,
	}
	go func() { f.ended <- n.Journal().Follow(ctx, from, f) }()
	return f
}

func (f *follower) CaughtUp() { close(f.caught) }

func (f *follower) Settled() { f.settled.Add(1) }

// Apply also checks the order.
func (f *follower) Apply(seq uint64, frame []byte) error {
	recs, err := journal.Split(frame)
	if err != nil {
		return err
	}
	f.lock <- struct{}{}
	defer func() { <-f.lock }()
	for i, r := range recs {
		p := journal.At(seq, i)
		if _, ok := f.records[p]; ok {
			return fmt.Errorf("position %s came twice", p)
		}
		if n := len(f.order); n > 0 && f.order[n-1] >= p {
			return fmt.Errorf("position %s came after %s", p, f.order[n-1])
		}
		f.records[p] = string(r)
		f.order = append(f.order, p)
	}
	return nil
}

func (f *follower) get(p journal.Position) (string, bool) {
	f.lock <- struct{}{}
	defer func() { <-f.lock }()
	r, ok := f.records[p]
	return r, ok
}

// all returns the records in order.
func (f *follower) all() []string {
	f.lock <- struct{}{}
	defer func() { <-f.lock }()
	var out []string
	for _, p := range f.order {
		out = append(out, f.records[p])
	}
	return out
}

func (f *follower) catchUp() {
	f.t.Helper()
	select {
	case <-f.caught:
	case err := <-f.ended:
		f.t.Fatalf("follow ended: %v", err)
	case <-time.After(30 * time.Second):
		f.t.Fatal("not caught up")
	}
}

// stop ends Follow cleanly.
func (f *follower) stop() {
	f.t.Helper()
	f.cancel()
	if err := <-f.ended; err != nil {
		f.t.Fatalf("follow: %v", err)
	}
}

func closeNode(t testing.TB, n node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

var errTest = errors.New("ordered by the test")

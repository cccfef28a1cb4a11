package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pushhub/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A peerHandler is a handler of functions; it is a core.Device for its own queue only.
type peerHandler struct {
	core.Device
	conn    *Conn
	input   func(h *peerHandler, b *core.Batch, data []byte) (int, error)
	written atomic.Uint64
	closed  chan error // sent by Closed, once; capacity 1
}

func (h *peerHandler) Input(b *core.Batch, data []byte) (int, error) { return h.input(h, b, data) }
func (h *peerHandler) Written(_ *core.Batch, total uint64)           { h.written.Store(total) }
func (h *peerHandler) Tick(time.Time) error                          { return nil }
func (h *peerHandler) Closed(_ *core.Batch, err error)               { h.closed <- err }
func (h *peerHandler) Flush()                                        { h.conn.Flush() }

// send appends p; it reports whether there was room.
func (h *peerHandler) send(b *core.Batch, p []byte) bool {
	buf, ok := h.conn.Begin(len(p))
	if !ok {
		return false
	}
	if h.conn.End(append(buf, p...)) {
		b.Touch(h)
	}
	return true
}

// echoLines sends whole lines back.
func echoLines(h *peerHandler, b *core.Batch, data []byte) (int, error) {
	n := bytes.LastIndexByte(data, '\n') + 1
	if n > 0 {
		h.send(b, data[:n])
	}
	return n, nil
}

type server struct {
	*Server
	addr     string
	handlers chan *peerHandler // sent by the acceptor; capacity 100
}

func serve(t *testing.T, opt Options, input func(*peerHandler, *core.Batch, []byte) (int, error)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, opt, input)
}

func serveOn(t *testing.T, ln net.Listener, opt Options, input func(*peerHandler, *core.Batch, []byte) (int, error)) *server {
	t.Helper()
	s := &server{addr: ln.Addr().String(), handlers: make(chan *peerHandler, 100)}
	opt.Log = slog.New(slog.DiscardHandler)
	if opt.QueueBytes == 0 {
		opt.QueueBytes = 1 << 20
	}
	opt.New = func(c *Conn) Handler {
		h := &peerHandler{conn: c, input: input, closed: make(chan error, 1)}
		s.handlers <- h
		return h
	}
	s.Server = NewServer(opt)
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.Serve(ln); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx, func(h Handler) { h.(*peerHandler).conn.Close(nil) }); err != nil {
			t.Error(err)
		}
		done.Wait()
	})
	return s
}

func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// handler is that of a connection the server has begun to serve.
func (s *server) handler(t *testing.T) *peerHandler {
	t.Helper()
	h := <-s.handlers
	waitFor(t, func() bool { return slices.Contains(s.all(), h.conn) })
	return h
}

func write(t *testing.T, c net.Conn, p string) {
	t.Helper()
	if _, err := io.WriteString(c, p); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func TestPartialInputIsGivenAgain(t *testing.T) {
	s := serve(t, Options{}, echoLines)
	c := s.dial(t)
	for range 3 {
		write(t, c, "one\ntw")
		expect(t, c, "one\n")
		write(t, c, "o\n")
		expect(t, c, "two\n")
	}
}

func TestLargeInputGrowsInPlace(t *testing.T) {
	s := serve(t, Options{QueueBytes: 8 << 20}, echoLines)
	c := s.dial(t)
	line := append(bytes.Repeat([]byte("0123456789abcdef"), 100_000), '\n')
	var got []byte
	var reading sync.WaitGroup
	reading.Go(func() { got, _ = io.ReadAll(io.LimitReader(c, int64(2*len(line)))) })
	for range 2 {
		write(t, c, string(line))
	}
	reading.Wait()
	if !bytes.Equal(got, append(bytes.Clone(line), line...)) {
		t.Fatalf("%d bytes came back, or others", len(got))
	}
	h := <-s.handlers
	c.Close()
	<-h.closed
	if cap(h.conn.rest) > looseRest {
		t.Errorf("an idle connection keeps %d bytes", cap(h.conn.rest))
	}
}

func TestSlowReaderIsBoundedAndDelaysNobody(t *testing.T) {
	const bound = 256 << 10
	s := serve(t, Options{QueueBytes: bound}, echoLines)
	s.dial(t) // reads nothing
	slow := s.handler(t)
	quick := s.dial(t)
	var b core.Batch
	chunk := make([]byte, 16<<10)
	refused := 0
	for range 1000 { // 16 MB, more than the sockets hold
		if !slow.send(&b, chunk) {
			refused++
		}
		b.Flush()
		if n := slow.conn.Queued(); n > bound {
			t.Fatalf("%d bytes are queued, the bound is %d", n, bound)
		}
	}
	if refused == 0 {
		t.Fatal("nothing was refused")
	}
	write(t, quick, "hello\n")
	expect(t, quick, "hello\n")
}

func TestWrittenCountsWhatThePeerTook(t *testing.T) {
	s := serve(t, Options{QueueBytes: 8 << 20}, echoLines)
	c := s.dial(t)
	h := s.handler(t)
	var b core.Batch
	const n = 6 << 20
	h.send(&b, make([]byte, n))
	b.Flush()
	if _, err := io.CopyN(io.Discard, c, n); err != nil {
		t.Fatal(err)
	}
	write(t, c, "x\n")
	expect(t, c, "x\n")
	waitFor(t, func() bool { return h.written.Load() == n+2 })
	if h.conn.Queued() != 0 {
		t.Errorf("%d bytes are still queued", h.conn.Queued())
	}
}

func TestPauseAndResume(t *testing.T) {
	var calls atomic.Int32
	s := serve(t, Options{}, func(h *peerHandler, b *core.Batch, data []byte) (int, error) {
		if calls.Add(1) == 1 {
			h.send(b, []byte("paused"))
			return 2, ErrPause
		}
		h.send(b, data)
		return len(data), nil
	})
	c := s.dial(t)
	write(t, c, "abcd")
	expect(t, c, "paused")
	write(t, c, "ef")
	h := s.handler(t)
	if n := calls.Load(); n != 1 {
		t.Fatalf("input was given %d times while paused", n)
	}
	h.conn.Resume()
	expect(t, c, "cdef")
}

func TestPausedConnectionsEnd(t *testing.T) {
	s := serve(t, Options{}, func(h *peerHandler, b *core.Batch, data []byte) (int, error) {
		h.send(b, []byte("p"))
		return 0, ErrPause
	})
	c := s.dial(t)
	write(t, c, "x")
	expect(t, c, "p")
	h := s.handler(t)
	why := errors.New("enough")
	h.conn.Close(why)
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("the peer read %v, want EOF", err)
	}
	c.Close()
	if err := <-h.closed; !errors.Is(err, why) {
		t.Errorf("closed because of %v", err)
	}
}

func TestCloseWritesTheRest(t *testing.T) {
	s := serve(t, Options{QueueBytes: 8 << 20}, func(h *peerHandler, b *core.Batch, data []byte) (int, error) {
		h.send(b, bytes.Repeat([]byte("z"), 4<<20))
		h.send(b, []byte("end"))
		return len(data), errors.New("over")
	})
	c := s.dial(t)
	write(t, c, "go")
	got, err := io.ReadAll(c)
	if err != nil || len(got) != 4<<20+3 || !bytes.HasSuffix(got, []byte("end")) {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	h := s.handler(t)
	c.Close()
	if err := <-h.closed; err == nil || err.Error() != "over" {
		t.Errorf("closed because of %v", err)
	}
	if h.send(&core.Batch{}, []byte("x")) {
		t.Error("a closed connection takes more")
	}
}

func TestPeerThatLeavesEndsTheConnection(t *testing.T) {
	s := serve(t, Options{}, echoLines)
	c := s.dial(t)
	h := s.handler(t)
	c.Close()
	if err := <-h.closed; !errors.Is(err, ErrClosed) {
		t.Errorf("closed because of %v", err)
	}
	waitFor(t, func() bool { return s.Conns() == 0 })
}

func TestConnectionsOverTheLimitAreClosed(t *testing.T) {
	s := serve(t, Options{MaxConns: 1}, echoLines)
	first := s.dial(t)
	write(t, first, "a\n")
	expect(t, first, "a\n")
	second := s.dial(t)
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("a second connection was served")
	}
	if s.Refused() != 1 {
		t.Errorf("%d were refused", s.Refused())
	}
}

func TestManyAtOnce(t *testing.T) {
	s := serve(t, Options{}, echoLines)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			got := make([]byte, 6)
			for range 200 {
				_, _ = io.WriteString(c, "hello\n")
				if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello\n" {
					t.Errorf("read %q, %v", got, err)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestWritersOfOneConnectionDoNotMixUp(t *testing.T) {
	const lines = 20_000
	s := serve(t, Options{QueueBytes: 8 << 20}, echoLines)
	c := s.dial(t)
	write(t, c, "there\n")
	expect(t, c, "there\n") // and so is the handler
	h := <-s.handlers
	var writers sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		writers.Go(func() {
			var b core.Batch
			for n := range lines {
				for !h.send(&b, fmt.Appendf(nil, "%s %d\n", name, n)) {
					runtime.Gosched() // the reader makes room
				}
				b.Flush()
			}
		})
	}
	in := bufio.NewScanner(c)
	next := map[string]int{}
	for range 2 * lines {
		if !in.Scan() {
			t.Fatalf("the connection ended after %v: %v", next, in.Err())
		}
		name, number, _ := strings.Cut(in.Text(), " ")
		if number != strconv.Itoa(next[name]) {
			t.Fatalf("%q came in place of %s %d", in.Text(), name, next[name])
		}
		next[name]++
	}
	writers.Wait()
}

func BenchmarkEcho(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := NewServer(Options{New: func(c *Conn) Handler {
		return &peerHandler{conn: c, input: echoLines, closed: make(chan error, 1)}
	}, QueueBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	var done sync.WaitGroup
	done.Go(func() { _ = s.Serve(ln) })
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	line, got := append(make([]byte, 99), '\n'), make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(line); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
	_ = s.Shutdown(context.Background(), func(Handler) {})
	done.Wait()
}

// waitFor waits for what another goroutine is about to do.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(5 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen within five seconds")
		}
	}
}

func TestQueueKeepsItsBytesAsItGrows(t *testing.T) {
	s := serve(t, Options{QueueBytes: 4 << 20}, echoLines)
	c := s.dial(t)
	h := s.handler(t)
	var b core.Batch
	var want []byte
	for i := range 3000 { // through all classes, and past them
		piece := bytes.Repeat([]byte{byte(i)}, 1+i%700)
		want = append(want, piece...)
		if !h.send(&b, piece) {
			t.Fatalf("no room for piece %d", i)
		}
	}
	b.Flush()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("other bytes arrived than were queued, %v", err)
	}
}

// Who has said goodbye gets what is left, and is not waited for.
func TestGoodbyeEndsTheConnectionAtOnce(t *testing.T) {
	for _, size := range []int{3, 4 << 20} {
		s := serve(t, Options{QueueBytes: 8 << 20}, func(h *peerHandler, b *core.Batch, data []byte) (int, error) {
			h.send(b, bytes.Repeat([]byte("z"), size))
			return len(data), fmt.Errorf("over: %w", ErrGoodbye)
		})
		c := s.dial(t)
		write(t, c, "bye")
		if got, err := io.ReadAll(c); err != nil || len(got) != size {
			t.Errorf("read %d bytes of %d, %v", len(got), size, err)
		}
		h := <-s.handlers
		select {
		case err := <-h.closed:
			if !errors.Is(err, ErrGoodbye) {
				t.Errorf("closed because of %v", err)
			}
		case <-time.After(lingerTime / 2):
			t.Error("it still waits for the peer's end")
		}
	}
}

func TestTCPConnectionsThatComeTooFastWait(t *testing.T) {
	s := serve(t, Options{ConnRate: 20}, echoLines)
	for range 25 {
		c := s.dial(t)
		write(t, c, "x\n")
		expect(t, c, "x\n")
	}
	if n := s.Waited(); n < 4 {
		t.Errorf("%d waited, want 4 or more", n)
	}
}

package wire

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
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
	slow := <-s.handlers
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
	h := <-s.handlers
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
	h := <-s.handlers
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
	h := <-s.handlers
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
	h := <-s.handlers
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
	h := <-s.handlers
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

func TestStartTLS(t *testing.T) {
	upgrade := func(h *peerHandler, b *core.Batch, data []byte) (int, error) {
		if h.conn.TLS() != nil {
			return echoLines(h, b, data)
		}
		n := bytes.IndexByte(data, '\n') + 1
		if n == 0 {
			return 0, nil
		}
		h.send(b, []byte("proceed\n"))
		return n, ErrStartTLS
	}
	s := serve(t, Options{TLS: serverTLS(t)}, upgrade)

	c := s.dial(t)
	write(t, c, "starttls\n")
	expect(t, c, "proceed\n")
	secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a throwaway certificate
	write(t, secure, "one\ntwo\n")
	expect(t, secure, "one\ntwo\n")
	<-s.handlers

	injecting := s.dial(t)
	write(t, injecting, "starttls\nsteal the session\n")
	h := <-s.handlers
	if err := <-h.closed; !errors.Is(err, ErrInjected) {
		t.Errorf("closed because of %v, want ErrInjected", err)
	}
}

func TestServeTLS(t *testing.T) {
	s := serve(t, Options{TLS: serverTLS(t), QueueBytes: 4 << 20}, echoLines)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() { _ = s.ServeTLS(ln) })
	t.Cleanup(done.Wait)
	t.Cleanup(func() { ln.Close() })
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a throwaway certificate
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line := append(bytes.Repeat([]byte("x"), 1<<20), '\n')
	var reading sync.WaitGroup
	got := make([]byte, len(line))
	reading.Go(func() { _, err = io.ReadFull(c, got) })
	write(t, c, string(line))
	reading.Wait()
	if err != nil || !bytes.Equal(got, line) {
		t.Fatalf("the echo differs: %v", err)
	}
}

// A listener that fails now and then, as one without descriptors does.
type flaky struct {
	net.Listener
	calls atomic.Int32
}

func (f *flaky) Accept() (net.Conn, error) {
	if n := f.calls.Add(1); n%2 == 1 && n < 6 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestAcceptSurvivesErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serveOn(t, &flaky{Listener: ln}, Options{}, echoLines)
	for range 4 {
		c := s.dial(t)
		write(t, c, "x\n")
		expect(t, c, "x\n")
	}
}

func TestShutdownCutsOffWhoDoesNotLeave(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(Options{New: func(c *Conn) Handler {
		return &peerHandler{conn: c, input: echoLines, closed: make(chan error, 1)}
	}, QueueBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	var done sync.WaitGroup
	done.Go(func() { _ = s.Serve(ln) })
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	write(t, c, "x\n")
	expect(t, c, "x\n")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx, func(Handler) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	done.Wait()
	if s.Conns() != 0 {
		t.Errorf("%d connections are left", s.Conns())
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

func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
}

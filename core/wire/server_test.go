package wire

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

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

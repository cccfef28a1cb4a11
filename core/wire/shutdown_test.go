package wire

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"
)

// serveUntilShutdown is a server that the test shuts down itself.
func serveUntilShutdown(t *testing.T, opt Options) (s *Server, addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opt.QueueBytes, opt.Log = 1<<20, slog.New(slog.DiscardHandler)
	opt.New = func(c *Conn) Handler { return &peerHandler{conn: c, input: echoLines, closed: make(chan error, 1)} }
	s = NewServer(opt)
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(ln) })
	t.Cleanup(serving.Wait)
	return s, ln.Addr().String()
}

// endsInTime fails the test when a shutdown hangs.
func endsInTime(t *testing.T, ctx context.Context, s *Server) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Shutdown(ctx, func(h Handler) { h.(*peerHandler).conn.Close(nil) }) // who is left is cut off
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Shutdown hangs")
	}
}

func TestShutdownWhileConnectionsWaitToBeAccepted(t *testing.T) {
	s, addr := serveUntilShutdown(t, Options{ConnRate: 2})
	for range 20 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	endsInTime(t, ctx, s)
}

// The connection has just been accepted when the server is told to cut all off.
func TestConnectionIsCutOffBeforeItsLoopKnowsIt(t *testing.T) {
	for range 50 {
		s, addr := serveUntilShutdown(t, Options{})
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(5 * time.Second); s.Conns() == 0 && time.Now().Before(deadline); {
			// the moment is short
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		endsInTime(t, ctx, s)
		c.Close()
	}
}

func TestServeThatComesAfterShutdownEndsWell(t *testing.T) {
	for name, closed := range map[string]bool{"listener open": false, "listener closed": true} {
		t.Run(name, func(t *testing.T) {
			s := NewServer(Options{Log: slog.New(slog.DiscardHandler)})
			if err := s.Shutdown(t.Context(), func(Handler) {}); err != nil {
				t.Fatal(err)
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if closed {
				ln.Close()
			}
			if err := s.Serve(ln); err != nil {
				t.Errorf("Serve: %v", err)
			}
			if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the listener is left open: %v", err)
			}
		})
	}
}

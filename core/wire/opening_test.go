package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pushhub/core"
	"pushhub/core/wire/websocket"
)

// serveOpening is serve with one more listener, whose address it returns.
func serveOpening(t *testing.T, how Opening, opt Options, input func(*peerHandler, *core.Batch, []byte) (int, error)) (*server, string) {
	t.Helper()
	s := serve(t, opt, input)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.ServeOpening(ln, how); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(done.Wait)
	t.Cleanup(func() { ln.Close() })
	return s, ln.Addr().String()
}

func dialTo(t *testing.T, addr string) net.Conn {
	t.Helper()
	return (&server{addr: addr}).dial(t)
}

// echoAddress answers each line with the peer's address and the line.
func echoAddress(h *peerHandler, b *core.Batch, data []byte) (int, error) {
	n := strings.LastIndexByte(string(data), '\n') + 1
	if n > 0 {
		h.send(b, []byte(h.conn.RemoteAddr().String()+" "+string(data[:n])))
	}
	return n, nil
}

const (
	headerV1 = "PROXY TCP4 192.0.2.7 198.51.100.1 12345 1883\r\n"
	headerV2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x30\x39\x07\x5b"
	localV2  = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

func TestProxyHeader(t *testing.T) {
	_, plain := serveOpening(t, Opening{Proxy: true}, Options{}, echoAddress)
	_, secure := serveOpening(t, Opening{Proxy: true, TLS: serverTLS(t)}, Options{}, echoAddress)
	for _, c := range []struct{ name, header, from string }{
		{"version 1", headerV1, "192.0.2.7:12345"},
		{"version 2", headerV2, "192.0.2.7:12345"},
		{"local", localV2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dialTo(t, plain)
			from := c.from
			if from == "" {
				from = conn.LocalAddr().String()
			}
			write(t, conn, c.header+"hello\n") // in one segment: nothing of it may get lost
			expect(t, conn, from+" hello\n")
			write(t, conn, "again\n")
			expect(t, conn, from+" again\n")
		})
		t.Run(c.name+" beneath TLS", func(t *testing.T) {
			conn := dialTo(t, secure)
			from := c.from
			if from == "" {
				from = conn.LocalAddr().String()
			}
			write(t, conn, c.header)
			over := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a throwaway certificate
			write(t, over, "hello\n")
			expect(t, over, from+" hello\n")
		})
	}
}

func TestStartTLSKeepsTheAddressThatTheProxyTold(t *testing.T) {
	s, addr := serveOpening(t, Opening{Proxy: true}, Options{TLS: serverTLS(t)}, func(h *peerHandler, b *core.Batch, data []byte) (int, error) {
		if h.conn.TLS() == nil {
			return len(data), ErrStartTLS
		}
		return echoAddress(h, b, data)
	})
	c := dialTo(t, addr)
	write(t, c, headerV1+"starttls\n")
	h := <-s.handlers
	waitFor(t, func() bool { return !polls(h.conn) })
	secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a throwaway certificate
	write(t, secure, "hello\n")
	expect(t, secure, "192.0.2.7:12345 hello\n")
}

func TestEventLoopsTakeOverBehindTheHeader(t *testing.T) {
	s, addr := serveOpening(t, Opening{Proxy: true}, Options{}, echoAddress)
	c := dialTo(t, addr)
	write(t, c, headerV1+"hello\n")
	expect(t, c, "192.0.2.7:12345 hello\n")
	if h := <-s.handlers; runtime.GOOS == "linux" && !polls(h.conn) {
		t.Error("a goroutine serves a plain connection")
	}
}

// polls tells whether an event loop serves the connection.
func polls(c *Conn) bool {
	_, goroutines := c.transport().(*stream)
	return !goroutines
}

func TestProxyHeaderIsRequired(t *testing.T) {
	s, addr := serveOpening(t, Opening{Proxy: true}, Options{}, echoAddress)
	for i, first := range []string{"hello hello hello\n", "PROXY TCP4 here there 1 2\r\n", strings.ReplaceAll(headerV2, "\x21\x11", "\x21\x99")} {
		c := dialTo(t, addr)
		write(t, c, first)
		if rest, err := io.ReadAll(c); len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %q, %v", rest, err)
		}
		if n := s.BadHeaders(); n != uint64(i+1) {
			t.Errorf("%d connections without a header were counted, want %d", n, i+1)
		}
	}
	if n := s.Conns(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestConnectionsWithoutTheirHeaderCountAndEndWithTheServer(t *testing.T) {
	s, addr := serveOpening(t, Opening{Proxy: true}, Options{MaxConns: 2}, echoAddress)
	waiting := []net.Conn{dialTo(t, addr), dialTo(t, addr)}
	waitFor(t, func() bool { return s.Conns() == 2 })
	if _, err := dialTo(t, addr).Read(make([]byte, 1)); err == nil || s.Refused() != 1 {
		t.Errorf("a third connection was not refused: %v, %d", err, s.Refused())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx, func(Handler) {}); err != nil {
		t.Error(err)
	}
	for _, c := range waiting {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection is still open")
		}
	}
}

var upgrades = &websocket.Options{Path: "/mqtt", Protocols: []string{"mqtt"}}

const upgradeRequest = "GET /mqtt HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"

func TestWebSocket(t *testing.T) {
	for _, secure := range []bool{false, true} {
		how := Opening{WebSocket: upgrades}
		if secure {
			how.TLS = serverTLS(t)
		}
		sawTLS := make(chan bool, 100) // sent by Input
		s, addr := serveOpening(t, how, Options{}, func(h *peerHandler, b *core.Batch, data []byte) (int, error) {
			sawTLS <- h.conn.TLS() != nil && h.conn.TLS().HandshakeComplete
			return echoLines(h, b, data)
		})
		c := dialTo(t, addr)
		if secure {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a throwaway certificate
		}
		// A frame behind the request; the mask is all zero, which is one.
		write(t, c, upgradeRequest+"\x82\x86\x00\x00\x00\x00hello\n")
		in := bufio.NewReader(c)
		if answer, err := http.ReadResponse(in, nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v %v", answer, err)
		}
		want := func(frame string) {
			t.Helper()
			got := make([]byte, len(frame))
			if _, err := io.ReadFull(in, got); err != nil || string(got) != frame {
				t.Fatalf("got %q, %v; want %q", got, err, frame)
			}
		}
		want("\x82\x06hello\n")
		if <-sawTLS != secure {
			t.Errorf("TLS is said to be %v", !secure)
		}
		h := <-s.handlers
		h.send(&core.Batch{}, []byte("last words"))
		h.conn.Close(nil)
		want("\x82\x0alast words\x88\x02\x03\xe8") // the last packet, then a Close frame
		write(t, c, "\x88\x82\x00\x00\x00\x00\x03\xe8")
		if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
			t.Errorf("behind the closing came %q, %v", rest, err)
		}
		if err := <-h.closed; err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("closed because of %v", err)
		}
	}
}

func TestRefusedUpgradeEndsTheConnection(t *testing.T) {
	s, addr := serveOpening(t, Opening{WebSocket: upgrades}, Options{}, echoLines)
	c := dialTo(t, addr)
	write(t, c, "GET /elsewhere HTTP/1.1\r\nHost: hub\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || answer.StatusCode != http.StatusNotFound {
		t.Fatalf("%v %v", answer, err)
	}
	answer.Body.Close()
	c.Close()
	h := <-s.handlers
	var refusal *websocket.Refusal
	if err := <-h.closed; !errors.As(err, &refusal) || refusal.Status != http.StatusNotFound {
		t.Errorf("closed because of %v", err)
	}
}

func TestProxyHeaderMustComeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, sent := range []string{"", "PROXY TCP4 192.0.2.7 "} {
			client, nc := net.Pipe()
			var reading sync.WaitGroup
			begun := time.Now()
			reading.Go(func() {
				if from, err := readHeader(nc); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != headerTime {
					t.Errorf("%v, %v after %v", from, err, time.Since(begun))
				}
			})
			if _, err := io.WriteString(client, sent); err != nil {
				t.Fatal(err)
			}
			reading.Wait()
			client.Close()
			nc.Close()
		}
	})
}

func TestTimeForTheHeaderEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, nc := net.Pipe()
		defer client.Close()
		defer nc.Close()
		var writing sync.WaitGroup
		defer writing.Wait()
		writing.Go(func() {
			if _, err := io.WriteString(client, headerV1); err != nil {
				t.Error(err)
			}
			<-time.After(2 * headerTime)
			if _, err := io.WriteString(client, "x"); err != nil {
				t.Error(err)
			}
		})
		if from, err := readHeader(nc); err != nil || from.String() != "192.0.2.7:12345" {
			t.Errorf("%v, %v", from, err)
		}
		if _, err := nc.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
}

package websocket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newReader(c net.Conn) *bufio.Reader { return bufio.NewReader(c) }

// A peer is a client whose request is answered.
type peer struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

// open upgrades a connection. What the server reads comes out of reads, in
// portions as Read returned them, and then the error out of ended.
func open(t *testing.T) (p *peer, server *Conn, reads chan string, ended chan error) {
	t.Helper()
	client, server := dial(t, Options{Path: "/mqtt", Protocols: []string{"mqtt"}})
	reads, ended = make(chan string, 100), make(chan error, 1) // both: sent by the goroutine below, never closed
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := server.Read(buf)
			if n > 0 {
				reads <- string(buf[:n])
			}
			if err != nil {
				ended <- err
				return
			}
		}
	})
	t.Cleanup(reading.Wait)
	t.Cleanup(func() { client.Close(); server.Close() })
	p = &peer{t, client, newReader(client)}
	p.send(request("GET /mqtt HTTP/1.1"))
	answer, err := http.ReadResponse(p.in, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", answer, err)
	}
	return p, server, reads, ended
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p, s); err != nil {
		p.t.Fatal(err)
	}
}

// receive reads one frame of the server's.
func (p *peer) receive() (first byte, payload string) {
	p.t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(p.in, head); err != nil {
		p.t.Fatal(err)
	}
	size := uint64(head[1])
	if extra := map[uint64]int{126: 2, 127: 8}[size]; extra > 0 {
		length := make([]byte, 8)
		if _, err := io.ReadFull(p.in, length[8-extra:]); err != nil {
			p.t.Fatal(err)
		}
		size = binary.BigEndian.Uint64(length)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(p.in, body); err != nil {
		p.t.Fatal(err)
	}
	return head[0], string(body)
}

func (p *peer) want(first byte, payload string) {
	p.t.Helper()
	if f, got := p.receive(); f != first || got != payload {
		p.t.Fatalf("got %#x %.40q, want %#x %.40q", f, got, first, payload)
	}
}

func TestWriteIsOneBinaryFrame(t *testing.T) {
	p, server, _, _ := open(t)
	for _, n := range []int{0, 1, 125, 126, 1<<16 - 1, 1 << 16, 1 << 18} {
		text := strings.Repeat("x", n)
		var writing sync.WaitGroup
		writing.Go(func() {
			if wrote, err := server.Write([]byte(text)); wrote != n || err != nil {
				t.Errorf("wrote %d, %v", wrote, err)
			}
		})
		p.want(final|opBinary, text)
		writing.Wait()
	}
}

func TestPingIsAnswered(t *testing.T) {
	p, _, reads, _ := open(t)
	p.send(frame(opBinary, "a") + frame(final|opPing, "are you there"))
	p.want(final|opPong, "are you there")
	p.send(frame(final|opContinuation, "b"))
	if got := <-reads + <-reads; got != "ab" {
		t.Errorf("read %q", got)
	}
}

func TestCloseByThePeer(t *testing.T) {
	p, server, _, ended := open(t)
	p.send(frame(final|opClose, "\x03\xe8"))
	p.want(final|opClose, "\x03\xe8")
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the reader ended with %v", err)
	}
	if _, err := server.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing after the closing: %v", err)
	}
}

func TestCloseByUsWaitsForThePeer(t *testing.T) {
	p, server, reads, ended := open(t)
	if err := server.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	p.want(final|opClose, "\x03\xe8")
	p.send(frame(final|opBinary, "last words") + frame(final|opPing, "") + frame(final|opClose, "\x03\xe8"))
	if got := <-reads; got != "last words" {
		t.Errorf("read %q", got)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the reader ended with %v", err)
	}
	server.Close()
	if _, err := p.in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("a second closing came: %v", err)
	}
}

func TestBadFrameIsAnsweredWithItsReason(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		code       uint16
	}{
		{"text", frame(final|opText, "hello"), closeUnsupported}, // [MQTT-6.0.0-1]
		{"not masked", "\x82\x05hello", closeProtocol},
		{"compressed", frame(final|0x40|opBinary, "x"), closeProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _, _, ended := open(t)
			p.send(c.wire)
			p.want(final|opClose, string(binary.BigEndian.AppendUint16(nil, c.code)))
			var end *closing
			if err := <-ended; !errors.As(err, &end) {
				t.Errorf("the reader ended with %v", err)
			}
		})
	}
}

func TestCloseDoesNotWaitForAStuckPeer(t *testing.T) {
	_, server, _, ended := open(t)
	stuck := make(chan error, 1) // sent once by the writer
	go func() {
		_, err := server.Write(bytes.Repeat([]byte("x"), 64<<20))
		stuck <- err
	}()
	server.Close()
	if err := <-stuck; err == nil {
		t.Error("64 MiB were written to nobody")
	}
	<-ended
}

func TestWriteBeforeTheUpgradeFails(t *testing.T) {
	_, server := dial(t, Options{Path: "/mqtt"})
	if _, err := server.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestRequestMustComeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name, sent string
			answer     string
		}{
			{"nothing", "", "HTTP/1.1 408 "},
			{"half a request", "GET /mqtt HTTP/1.1\r\nHost:", "HTTP/1.1 408 "},
		} {
			client, nc := net.Pipe()
			server := Server(nc, &Options{Path: "/mqtt"})
			begun := time.Now()
			var reading sync.WaitGroup
			reading.Go(func() {
				_, err := server.Read(make([]byte, 1))
				var refusal *Refusal
				if took := time.Since(begun); !errors.As(err, &refusal) || took > upgradeTime+time.Second {
					t.Errorf("%s: %v after %v", c.name, err, took)
				}
				server.Close()
			})
			if _, err := io.WriteString(client, c.sent); err != nil && c.sent != "" {
				t.Fatal(err)
			}
			if answer, _ := io.ReadAll(client); !strings.HasPrefix(string(answer), c.answer) {
				t.Errorf("%s: answered by %q", c.name, answer)
			}
			reading.Wait()
			client.Close()
		}
	})
}

// A sink is a connection that takes everything.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkWrite(b *testing.B) {
	c := Server(sink{}, nil)
	c.open = true
	p := make([]byte, 200)
	for b.Loop() {
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	wire := []byte(strings.Repeat(frame(final|opBinary, strings.Repeat("x", 100)), 38))
	p := make([]byte, len(wire))
	b.SetBytes(int64(len(wire)))
	var d decoder
	for b.Loop() {
		copy(p, wire)
		if n, err := d.decode(p); n != 3800 || err != nil {
			b.Fatal(n, err)
		}
	}
}

func TestTimeForTheRequestEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, nc := net.Pipe()
		defer client.Close()
		server := Server(nc, &Options{Path: "/mqtt", Protocols: []string{"mqtt"}})
		var serving sync.WaitGroup
		defer serving.Wait()
		serving.Go(func() {
			defer nc.Close()
			if n, err := server.Read(make([]byte, 10)); n != 1 || err != nil {
				t.Errorf("read %d, %v", n, err)
			}
		})
		p := &peer{t, client, newReader(client)}
		p.send(request("GET /mqtt HTTP/1.1"))
		if answer, err := http.ReadResponse(p.in, nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v %v", answer, err)
		}
		<-time.After(2 * upgradeTime)
		p.send(frame(final|opBinary, "x"))
	})
}

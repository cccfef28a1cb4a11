package wire

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestConnectionsOverTheLimitOfAnAddressAreClosed(t *testing.T) {
	s := serve(t, Options{ConnsPerAddress: 2}, echoLines)
	first, second := s.dial(t), s.dial(t)
	for _, c := range []net.Conn{first, second} {
		write(t, c, "a\n")
		expect(t, c, "a\n")
	}
	third := s.dial(t)
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("a third connection was served")
	}
	other := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}})
	far, err := other.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	write(t, far, "b\n")
	expect(t, far, "b\n")
	if s.OverAddress() != 1 || s.Refused() != 0 {
		t.Errorf("%d were refused for their address, %d for all", s.OverAddress(), s.Refused())
	}
	first.Close()
	waitFor(t, func() bool { return s.Conns() == 2 })
	again := s.dial(t)
	write(t, again, "c\n")
	expect(t, again, "c\n")
}

func TestPlaces(t *testing.T) {
	for _, c := range []struct{ address, want string }{
		{"192.0.2.7:1", "192.0.2.7"},
		{"[::ffff:192.0.2.7]:1", "192.0.2.7"},
		{"[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::"},
		{"[fe80::1%eth0]:1", "fe80::"},
	} {
		if got := place(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.address))); got.String() != c.want {
			t.Errorf("%s is at %s, want %s", c.address, got, c.want)
		}
	}
	if place(&net.UnixAddr{Name: "x"}).IsValid() {
		t.Error("a unix socket has a place")
	}
}

// A crowd is a listener at which everybody waits at once.
type crowd struct {
	net.Listener
	comes  chan net.Conn // sent by the test; capacity: all
	closed chan struct{} // closed by Close
}

func (l *crowd) Accept() (net.Conn, error) {
	select {
	case c := <-l.comes:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *crowd) Close() error {
	close(l.closed)
	return nil
}

func TestConnectionsThatComeTooFastWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all, rate = 40, 10
		l := &crowd{comes: make(chan net.Conn, all), closed: make(chan struct{})}
		begun := time.Now()
		var peers []net.Conn
		for range all {
			ours, theirs := net.Pipe()
			l.comes <- theirs
			peers = append(peers, ours)
		}
		s := serveOn(t, fakeAddr{l}, Options{ConnRate: rate}, echoLines)
		for i, c := range peers {
			write(t, c, "x\n")
			expect(t, c, "x\n")
			due := time.Duration(max(0, i-rate)) * time.Second / rate
			if took := time.Since(begun); took < due-time.Second/rate || took > due+time.Second {
				t.Fatalf("connection %d was served after %v, want about %v", i, took, due)
			}
		}
		if n := s.Waited(); n < all-rate-1 || s.Refused() > 0 {
			t.Errorf("%d waited, %d were refused", n, s.Refused())
		}
		for _, c := range peers {
			c.Close()
		}
	})
}

// fakeAddr lets a listener have an address.
type fakeAddr struct{ net.Listener }

func (fakeAddr) Addr() net.Addr { return &net.TCPAddr{} }

func TestBehindAProxyItsClientsAddressCounts(t *testing.T) {
	s, addr := serveOpening(t, Opening{Proxy: true}, Options{ConnsPerAddress: 1}, echoLines)
	for i, header := range []string{headerV1, strings.ReplaceAll(headerV1, "192.0.2.7", "192.0.2.8")} {
		c := dialTo(t, addr)
		write(t, c, header+"hello\n")
		expect(t, c, "hello\n")
		if n := s.Conns(); n != i+1 {
			t.Errorf("there are %d connections", n)
		}
	}
	third := dialTo(t, addr)
	write(t, third, headerV1)
	if _, err := third.Read(make([]byte, 1)); err == nil || s.OverAddress() != 1 {
		t.Errorf("a second connection of one client: %v, %d were refused", err, s.OverAddress())
	}
}

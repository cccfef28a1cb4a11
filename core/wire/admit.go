package wire

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// admission is who is let in, how fast, and how many from one place.
type admission struct {
	overAddress, waited atomic.Uint64

	pace struct {
		sync.Mutex // guards bucket
		bucket     *Bucket
	}
	addresses map[netip.Addr]int // connections from each; nil: they are not counted; guarded by Server.mu
}

func newAdmission(opt Options) *admission {
	a := &admission{}
	a.pace.bucket = NewBucket(opt.ConnRate)
	if opt.ConnsPerAddress > 0 {
		a.addresses = map[netip.Addr]int{}
	}
	return a
}

// wait holds the listeners back after each connection that came faster than
// ConnRate, until stop is closed. Those that follow wait in the kernel's queue,
// where they cost nothing. To turn them away would not spare anything: a herd that
// comes back after a restart would come again at once, and pay for its TLS
// handshakes again; what is accepted should get as far as its login.
func (a *admission) wait(stop <-chan struct{}) {
	pause := a.pause()
	if pause == 0 {
		return
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-stop:
	}
}

// pause is for how long a listener is to rest after a connection.
func (a *admission) pause() time.Duration {
	if a.pace.bucket == nil {
		return 0
	}
	a.pace.Lock()
	defer a.pace.Unlock()
	now := time.Now()
	a.pace.bucket.Take(now, 1)
	pause := a.pace.bucket.Wait(now)
	if pause > 0 {
		a.waited.Add(1)
	}
	return pause
}

// enter counts a connection in, unless its address has as many as it may.
func (a *admission) enter(c *Conn, most int) bool {
	if a.addresses == nil || !c.from.IsValid() {
		return true
	}
	if a.addresses[c.from] >= most {
		a.overAddress.Add(1)
		return false
	}
	a.addresses[c.from]++
	return true
}

func (a *admission) leave(c *Conn) {
	if a.addresses == nil || !c.from.IsValid() {
		return
	}
	if a.addresses[c.from]--; a.addresses[c.from] <= 0 {
		delete(a.addresses, c.from)
	}
}

// place is where a connection comes from, for limits: its IPv4 address, or the
// network of its IPv6 address, since whoever has one such address has all of a
// /64. It is not valid where there are no addresses, as on a unix socket.
func place(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return placeOf(tcp.AddrPort().Addr())
}

func placeOf(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if ip.Is4() || !ip.IsValid() {
		return ip
	}
	network, err := ip.Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return network.Addr()
}

// From is where the connection comes from, for limits: an IPv4 address or an IPv6
// network of 64 bits; not valid where the transport has no addresses.
func (c *Conn) From() netip.Addr { return c.from }

// OverAddress counts the connections that were closed for being over
// ConnsPerAddress; Waited, the times that ConnRate held the listeners back.
func (s *Server) OverAddress() uint64 { return s.admit.overAddress.Load() }

// Waited see OverAddress.
func (s *Server) Waited() uint64 { return s.admit.waited.Load() }

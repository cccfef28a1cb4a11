package bus

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A proxy stands before a NATS server and harms its connections.
type proxy struct {
	t      testing.TB
	target string
	ln     net.Listener
	work   sync.WaitGroup

	dropped atomic.Int64 // pieces of answers

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	mute  bool          // answers are dropped
	stall chan struct{} // closed when requests flow again; nil: they flow
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, target: target, ln: ln, conns: map[net.Conn]bool{}}
	p.work.Go(p.serve)
	t.Cleanup(func() {
		ln.Close()
		p.flow()
		p.cut()
		p.work.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://hub:secret@" + p.ln.Addr().String() }

func (p *proxy) serve() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		p.work.Go(func() { p.copy(server, client, p.waitFlow) })
		p.work.Go(func() { p.copy(client, server, p.muted) })
	}
}

// copy moves bytes until an end closes; drop says whether to lose them.
func (p *proxy) copy(to, from net.Conn, drop func() bool) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if drop() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) muted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mute {
		p.dropped.Add(1)
	}
	return p.mute
}

func (p *proxy) waitFlow() bool {
	p.mu.Lock()
	stall := p.stall
	p.mu.Unlock()
	if stall != nil {
		<-stall
	}
	return false
}

func (p *proxy) setMute(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = on
}

func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stall == nil {
		p.stall = make(chan struct{})
	}
}

func (p *proxy) flow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stall != nil {
		close(p.stall)
		p.stall = nil
	}
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
		delete(p.conns, c)
	}
}

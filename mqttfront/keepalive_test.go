package mqttfront

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A pipeListener accepts the ends of pipes.
type pipeListener struct {
	conns  chan net.Conn // sent by the test; unbuffered
	closed chan struct{} // closed by Close
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (*pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// silentAfter connects with that keep alive, sends what it is told when it is told,
// and returns how long after its last packet the hub hung up.
func silentAfter(t *testing.T, keepalive uint16, pings []time.Duration) time.Duration {
	t.Helper()
	opt := testOptions()
	f := newFront(&fakeHub{}, opt)
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = f.Serve(l) })
	ours, theirs := net.Pipe()
	l.conns <- theirs
	connect := binary.BigEndian.AppendUint16(fromHex(t, "10 0d 0004 4d515454 04 02"), keepalive)
	if _, err := ours.Write(append(connect, 0, 1, 'c')); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(ours, make([]byte, 4)); err != nil {
		t.Fatalf("reading the CONNACK: %v", err)
	}
	last := time.Now()
	for _, after := range pings {
		time.Sleep(after)
		if _, err := ours.Write([]byte{0xC0, 0}); err != nil {
			t.Fatalf("a ping after %v: %v", after, err)
		}
		last = time.Now()
		if _, err := io.ReadFull(ours, make([]byte, 2)); err != nil {
			t.Fatalf("reading the PINGRESP: %v", err)
		}
	}
	rest, err := io.ReadAll(ours)
	silent := time.Since(last)
	if err != nil || len(rest) > 0 {
		t.Errorf("the hub sent % x, %v", rest, err)
	}
	ours.Close()
	if err := f.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	serving.Wait()
	if f.Counters().KeepaliveLost != 1 {
		t.Errorf("%d connections were counted", f.Counters().KeepaliveLost)
	}
	return silent
}

// [MQTT-3.1.2-22], in MQTT 3.1.1 [MQTT-3.1.2-24]: one and a half times the keep
// alive, and the second that the sweep takes to notice.
func TestSilentClientIsCutOffAfterOneAndAHalfKeepAlives(t *testing.T) {
	almost := func(keepalive int) time.Duration { // not over, whenever the sweep comes
		return time.Duration(keepalive)*1500*time.Millisecond - time.Millisecond
	}
	for _, c := range []struct {
		name      string
		keepalive uint16
		pings     []time.Duration
	}{
		{"one second", 1, nil},
		{"an odd number", 7, nil},
		{"a minute, after pings at the last moment", 60, []time.Duration{almost(60), almost(60), time.Second / 3}},
		{"longer than 16 bits hold when it is multiplied", 43691, nil},
		{"the longest", 65535, []time.Duration{almost(65535)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				due := time.Duration(c.keepalive) * 3 * time.Second / 2
				if silent := silentAfter(t, c.keepalive, c.pings); silent < due || silent > due+time.Second {
					t.Errorf("cut off after %v of silence, want %v and at most a second more", silent, due)
				}
			})
		})
	}
}

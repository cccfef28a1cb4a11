package faults

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// SoakArgs are the limits of a hub that is to be soaked: small, so that all of
// them are reached early on.
var SoakArgs = []string{
	"--limits-offline-messages", "5000", "--mqtt-max-packet-size", "256KiB", "--xmpp-max-stanza-size", "256KiB", "--limits-queue-bytes", "256KiB", "--journal-max-bytes", "64MiB",
}

const (
	soakTopics    = 10
	soakPayload   = 200
	soakStuck     = 15 // MQTT clients, and as many XMPP ones, that subscribe and never read
	soakSleepers  = 200
	soakChurners  = 6
	soakReaders   = 5
	soakPublishes = 800 // a second
)

// A soak is a hub under a load that never ends and never changes: what it holds
// must not grow.
type soak struct {
	hub  *Hub
	work sync.WaitGroup

	acked, delivered, connects atomic.Int64

	mu   sync.Mutex // guards held and err
	held []net.Conn // of those that never read
	err  error      // the first of somebody who must not fail
}

// A Sample is what the hub held at a time.
type Sample struct {
	At                         time.Duration
	RSS                        int64 // bytes
	Descriptors                int
	Acked, Delivered, Connects int64
}

// Soak runs the load until ctx ends, and calls each with a sample every second.
func Soak(ctx context.Context, hub *Hub, each func(Sample)) error {
	s := &soak{hub: hub}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		s.mu.Lock()
		for _, c := range s.held {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.work.Wait()
	}()
	if err := s.begin(ctx); err != nil {
		return err
	}
	start, tick := time.Now(), time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.err
		case <-tick.C:
		}
		sample, err := s.sample(time.Since(start))
		if err != nil {
			return err
		}
		each(sample)
	}
}

func (s *soak) begin(ctx context.Context) error {
	for _, name := range []string{"rig", "desk"} {
		if err := s.hub.AddUser(name); err != nil {
			return err
		}
	}
	for i := range soakSleepers {
		c, err := s.connect(fmt.Sprintf("sleeper-%d", i), 86400)
		if err == nil {
			err = c.subscribe("soak/#", 1)
		}
		if err != nil {
			return fmt.Errorf("a session that stays away: %w", err)
		}
		_ = c.conn.Close()
	}
	for i := range soakStuck {
		if err := s.stick(i); err != nil {
			return fmt.Errorf("a client that does not read: %w", err)
		}
	}
	for i := range soakReaders {
		s.keep(ctx, func(ctx context.Context) error { return s.read(ctx, fmt.Sprintf("reader-%d", i)) })
	}
	for i := range 4 {
		s.keep(ctx, func(ctx context.Context) error { return s.publish(ctx, fmt.Sprintf("publisher-%d", i)) })
	}
	for i := range soakChurners {
		rng := rand.New(rand.NewPCG(uint64(i), 1)) //nolint:gosec // nobody guesses
		s.work.Go(func() {
			for ctx.Err() == nil {
				s.churn(ctx, rng, i)
			}
		})
	}
	return nil
}

// keep runs somebody whom the hub must never fail.
func (s *soak) keep(ctx context.Context, run func(context.Context) error) {
	s.work.Go(func() {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.err = errors.Join(s.err, err)
		}
	})
}

// A soakConn is a client of MQTT 5.
type soakConn struct {
	conn net.Conn
	o    *out
	rd   *packetReader
}

func (s *soak) connect(client string, expiry uint32) (*soakConn, error) {
	conn, err := net.DialTimeout("tcp", s.hub.MQTT, ioTimeout)
	if err != nil {
		return nil, err
	}
	c := &soakConn{conn: conn, o: &out{conn: conn}, rd: &packetReader{in: newReader(conn), level: 5}}
	c.o.add(func(b []byte) []byte {
		return appendFrame(b, pktConnect<<4, func(b []byte) []byte {
			b = append(appendText(b, "MQTT"), 5, 0xC2, 0, 0, 5, 0x11)
			b = binary.BigEndian.AppendUint32(b, expiry)
			return appendText(appendText(appendText(b, client), "rig"), Password)
		})
	})
	_ = conn.SetDeadline(time.Now().Add(ioTimeout))
	if err = c.o.flush(); err == nil {
		_, err = connack(c.rd)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	s.connects.Add(1)
	return c, nil
}

func (c *soakConn) subscribe(filter string, qos byte) error {
	c.o.add(func(b []byte) []byte { return appendSubscribe(b, 5, 1, []string{filter}, qos) })
	if err := c.o.flush(); err != nil {
		return err
	}
	var p packet
	for p.kind != pktSuback {
		if err := c.rd.next(&p); err != nil {
			return err
		}
		c.acknowledge(&p)
	}
	_ = c.conn.SetDeadline(time.Time{})
	return nil
}

// acknowledge answers a PUBLISH of QoS 1 with the next flush.
func (c *soakConn) acknowledge(p *packet) {
	if p.kind == pktPublish && p.qos == 1 {
		c.o.add(func(b []byte) []byte { return appendAck(b, pktPuback, p.id) })
	}
}

// until closes the connection when ctx ends.
func (c *soakConn) until(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { _ = c.conn.Close() })
}

// stick leaves an MQTT and an XMPP subscriber behind that read nothing more.
func (s *soak) stick(i int) error {
	c, err := s.connect(fmt.Sprintf("stuck-%d", i), uint32(i%2)*86400)
	if err != nil {
		return err
	}
	if err := c.subscribe("soak/#", byte(i%3)); err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", s.hub.XMPP, ioTimeout)
	if err != nil {
		return err
	}
	x := newXMPPConn(conn)
	if err := x.login("desk"); err != nil {
		return err
	}
	if err := x.bind(fmt.Sprintf("stuck-%d", i)); err != nil {
		return err
	}
	sub := fmt.Sprintf("<pubsub xmlns='%s'><subscribe node='soak/%d' jid='desk@%s/stuck-%d'/></pubsub>", nsPubsub, i%soakTopics, Domain, i)
	if _, err := x.request("sub", "pubsub."+Domain, sub); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = append(s.held, c.conn, conn)
	return nil
}

func (s *soak) publish(ctx context.Context, client string) error {
	c, err := s.connect(client, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", client, err)
	}
	_ = c.conn.SetDeadline(time.Time{})
	defer c.until(ctx)()
	payload := strings.Repeat("x", soakPayload)
	pace := newPace(soakPublishes / 4)
	var p packet
	for n := uint16(1); ctx.Err() == nil; n = n%60000 + 1 {
		for {
			taken, wait := pace.take(1)
			if taken > 0 {
				break
			}
			if !sleep(ctx, wait) {
				return nil
			}
		}
		c.o.add(func(b []byte) []byte {
			return appendFrame(b, pktPublish<<4|2, func(b []byte) []byte {
				b = binary.BigEndian.AppendUint16(appendText(b, fmt.Sprintf("soak/%d", n%soakTopics)), n)
				return append(append(b, 0), payload...)
			})
		})
		if err := c.o.flush(); err != nil {
			return fmt.Errorf("%s: %w", client, err)
		}
		_ = c.conn.SetReadDeadline(time.Now().Add(ioTimeout)) // nobody else may delay it
		if err := c.rd.next(&p); err != nil {
			return fmt.Errorf("%s: waiting for PUBACK: %w", client, err)
		}
		s.acked.Add(1)
	}
	return nil
}

func (s *soak) read(ctx context.Context, client string) error {
	c, err := s.connect(client, 0)
	if err == nil {
		err = c.subscribe("soak/#", 1)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", client, err)
	}
	defer c.until(ctx)()
	var p packet
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(ioTimeout)) // the stuck ones may delay nobody
		if err := c.rd.next(&p); err != nil {
			return fmt.Errorf("%s: %w", client, err)
		}
		s.delivered.Add(1)
		c.acknowledge(&p)
		if c.rd.in.Buffered() == 0 {
			if err := c.o.flush(); err != nil {
				return fmt.Errorf("%s: %w", client, err)
			}
		}
	}
}

// churn is one short life of a client that nobody saw before, over one protocol
// or the other; it ends as it happens to.
func (s *soak) churn(ctx context.Context, rng *rand.Rand, n int) {
	name := fmt.Sprintf("churn-%d-%x", n, rng.Uint64())
	if n%3 == 2 {
		if conn, err := net.DialTimeout("tcp", s.hub.XMPP, ioTimeout); err == nil {
			x := newXMPPConn(conn)
			if x.login("desk") == nil && x.bind(name) == nil {
				s.connects.Add(1)
				x.say("<presence/>")
				_ = x.flush()
			}
			sleep(ctx, millis(rng, 1, 200))
			_ = conn.Close()
		}
		return
	}
	c, err := s.connect(name, uint32(rng.IntN(3))) // sessions that outlive it by up to two seconds
	if err != nil {
		return
	}
	if c.subscribe(fmt.Sprintf("soak/%d", rng.IntN(soakTopics)), byte(rng.IntN(3))) == nil {
		sleep(ctx, millis(rng, 1, 200))
	}
	if chance(rng, .5) {
		_ = c.conn.(*net.TCPConn).SetLinger(0)
	}
	_ = c.conn.Close()
}

// sample reads what the kernel knows of the hub.
func (s *soak) sample(at time.Duration) (Sample, error) {
	proc := filepath.Join("/proc", strconv.Itoa(s.hub.cmd.Process.Pid))
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return Sample{}, fmt.Errorf("the hub is gone: %w", err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return Sample{}, fmt.Errorf("reading VmRSS: %w", err)
	}
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return Sample{}, fmt.Errorf("the hub is gone: %w", err)
	}
	return Sample{
		At: at, RSS: kib << 10, Descriptors: len(fds),
		Acked: s.acked.Load(), Delivered: s.delivered.Load(), Connects: s.connects.Load(),
	}, nil
}

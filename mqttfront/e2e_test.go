package mqttfront_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
	"pushhub/mqttfront"
)

// A hub is a whole one: router, memory bus, MQTT front on a port of its own.
type hub struct {
	t      testing.TB
	router *core.Router
	front  *mqttfront.Front
	bus    *bus.Memory
	addr   string
}

func startHub(t testing.TB, opt mqttfront.Options) *hub {
	t.Helper()
	mem := bus.NewMemory()
	h := &hub{t: t, bus: mem, router: core.NewRouter(core.Options{Journal: mem.Journal(), Rows: mem.Rows()})}
	ctx, stop := context.WithCancel(context.Background())
	ready := make(chan struct{}) // closed by the router when it has caught up
	var work sync.WaitGroup
	work.Go(func() {
		if err := h.router.Run(ctx, func() { close(ready) }); err != nil {
			t.Error(err)
		}
	})
	<-ready
	opt.Anonymous = true
	h.front = mqttfront.New(h.router, opt)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	work.Go(func() {
		if err := h.front.Serve(ln); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.front.Shutdown(end); err != nil {
			t.Error(err)
		}
		stop()
		work.Wait()
		if err := mem.Close(end); err != nil {
			t.Error(err)
		}
	})
	return h
}

// A peer is one client, byte for byte.
type peer struct {
	t testing.TB
	net.Conn
}

// connect opens a connection, and says nothing.
func (h *hub) connect() *peer {
	h.t.Helper()
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		h.t.Fatal(err)
	}
	return &peer{h.t, c}
}

// dial connects and sends CONNECT: version, flags, client id.
func (h *hub) dial(version int, flags byte, id, connack string) *peer {
	h.t.Helper()
	p := h.connect()
	props := ""
	if version == 5 {
		props = "00"
		if flags&2 == 0 {
			props = "05 11 00000e10"
		}
	}
	body := fmt.Sprintf("0004 4d515454 %02x %02x 003c %s %04x %x", version, flags, props, len(id), id)
	p.send("10", body)
	p.want(connack)
	return p
}

// send sends one packet: its first byte and its body, in hex.
func (p *peer) send(head, body string) {
	p.t.Helper()
	b := unhex(p.t, body)
	if len(b) > 127 {
		p.t.Fatal("only short packets here")
	}
	if _, err := p.Write(append(append(unhex(p.t, head), byte(len(b))), b...)); err != nil {
		p.t.Fatal(err)
	}
}

// want reads exactly these bytes.
func (p *peer) want(s string) {
	p.t.Helper()
	want := unhex(p.t, s)
	got := make([]byte, len(want))
	n, err := io.ReadFull(p, got)
	if err != nil || string(got) != string(want) {
		p.t.Fatalf("received %x (%v), want %x", got[:n], err, want)
	}
}

// quiet checks that nothing else has come.
func (p *peer) quiet() {
	p.t.Helper()
	p.send("c0", "")
	p.want("d000")
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	connack  = "2002 0000"
	present  = "2002 0100"
	connack5 = "200e 0000 0b 210400 220010 2700100000"
	present5 = "200e 0100 0b 210400 220010 2700100000"
)

func TestPublishersReachSubscribers(t *testing.T) {
	h := startHub(t, mqttfront.Options{})
	sub4, sub5, pub := h.dial(4, 2, "s4", connack), h.dial(5, 2, "s5", connack5), h.dial(4, 2, "p", connack)
	sub4.send("82", "0001 0001 61 02")
	sub4.want("9003 0001 02")
	sub5.send("82", "0001 02 0b07 0001 2b 01")
	sub5.want("9004 0001 00 01")

	pub.send("30", "0001 61 6869")
	sub4.want("3005 0001 61 6869")
	sub5.want("3008 0001 61 02 0b07 6869")

	pub.send("32", "0001 61 000a 6869")
	pub.want("4002 000a")
	sub4.want("3207 0001 61 0001 6869")
	sub4.send("40", "0001")
	sub5.want("320a 0001 61 0001 02 0b07 6869")
	sub5.send("40", "0001")

	pub.send("34", "0001 61 000b 6869")
	pub.want("5002 000b")
	pub.send("62", "000b")
	pub.want("7002 000b")
	sub4.want("3407 0001 61 0002 6869")
	sub4.send("50", "0002")
	sub4.want("6202 0002")
	sub4.send("70", "0002")
	sub5.want("320a 0001 61 0002 02 0b07 6869")
	sub4.quiet()
	sub5.quiet()
}

// Of two publishers' messages a subscriber must read the aliases as they were meant.
func TestAliasesOfConcurrentDeliveries(t *testing.T) {
	h := startHub(t, mqttfront.Options{QueueBytes: 4 << 20})
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sub := &peer{t, c}
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	sub.send("10", "0004 4d515454 05 02 003c 03 22000a 0001 73")
	sub.want(connack5)
	sub.send("82", "0001 00 0008 73656e736f722f23 00")
	sub.want("9004 0001 00 00")
	const publishers, each = 2, 3000
	var sending sync.WaitGroup
	for p := range publishers {
		pub := h.dial(4, 2, fmt.Sprint("p", p), connack)
		sending.Go(func() {
			var batch []byte
			for i := range each {
				name := fmt.Sprintf("sensor/%02d", i*(p+7)%20)
				batch = append(append(append(batch, 0x30, 20, 0, 9), name...), name...)
			}
			if _, err := pub.Write(batch); err != nil {
				t.Error(err)
			}
		})
	}
	topics, aliased := map[string]string{}, 0
	for range publishers * each {
		head := make([]byte, 4)
		if _, err := io.ReadFull(sub, head); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, int(head[1])-2)
		if _, err := io.ReadFull(sub, body); err != nil {
			t.Fatal(err)
		}
		name, body := string(body[:head[3]]), body[head[3]:]
		if body[0] == 3 {
			alias := string(body[1:4])
			if name != "" {
				topics[alias] = name
			}
			name = topics[alias]
			aliased++
		}
		if payload := string(body[1+body[0]:]); payload != name {
			t.Fatalf("a publication to %s came as one to %q", payload, name)
		}
	}
	sending.Wait()
	if aliased < publishers*each/10 || len(topics) > 10 {
		t.Errorf("%d publications had one of %d aliases", aliased, len(topics))
	}
}

func TestRetainedMessages(t *testing.T) {
	h := startHub(t, mqttfront.Options{})
	pub := h.dial(4, 2, "p", connack)
	pub.send("33", "0001 61 0001 6f6c64")
	pub.want("4002 0001")
	sub := h.dial(4, 2, "s", connack)
	sub.send("82", "0001 0001 61 01")
	sub.want("9003 0001 01")
	sub.want("3308 0001 61 0001 6f6c64")
	pub.send("33", "0001 61 0002 6e6577")
	pub.want("4002 0002")
	sub.want("3208 0001 61 0002 6e6577")
}

func TestPersistentSessionsWait(t *testing.T) {
	for _, version := range []int{4, 5} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			h := startHub(t, mqttfront.Options{})
			fresh, again, none := connack, present, ""
			if version == 5 {
				fresh, again, none = connack5, present5, "00"
			}
			sub := h.dial(version, 0, "s", fresh)
			sub.send("82", "0001"+none+"0001 61 01")
			if version == 5 {
				sub.want("9004 0001 00 01")
			} else {
				sub.want("9003 0001 01")
			}
			sub.send("e0", "")
			if _, err := sub.Read(make([]byte, 1)); err != io.EOF {
				t.Fatalf("after DISCONNECT: %v", err)
			}
			pub := h.dial(4, 2, "p", connack)
			pub.send("32", "0001 61 000a 31")
			pub.want("4002 000a")
			pub.send("32", "0001 61 000b 32")
			pub.want("4002 000b")

			sub = h.dial(version, 0, "s", again)
			length := "06"
			if version == 5 {
				length = "07"
			}
			sub.want("32" + length + "0001 61 0001" + none + "31  32" + length + "0001 61 0002" + none + "32")
			sub.send("40", "0001")
			sub.quiet()
			sub.Close()
			sub = h.dial(version, 0, "s", again)
			sub.want("3a" + length + "0001 61 0002" + none + "32")
		})
	}
}

func TestWillIsPublishedForTheLost(t *testing.T) {
	h := startHub(t, mqttfront.Options{})
	watch := h.dial(4, 2, "w", connack)
	watch.send("82", "0001 0001 77 00")
	watch.want("9003 0001 00")
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	dying := &peer{t, c}
	dying.send("10", "0004 4d515454 04 06 003c 0001 64 0001 77 0004 676f6e65")
	dying.want(connack)
	dying.Close()
	watch.want("3007 0001 77 676f6e65")
}

// SAM for PHP sends DISCONNECT and reads on until the server closes.
func TestServerClosesAfterDISCONNECT(t *testing.T) {
	h := startHub(t, mqttfront.Options{})
	sub := h.dial(4, 2, "s", connack)
	sub.send("82", "0001 000e 746f6b7564752f616e64726f6964 00")
	sub.want("9003 0001 00")
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	sam := &peer{t, c}
	sam.send("10", "0006 4d5149736470 03 03 0000 0017 73616d5f346231663065396137633364322e3030303030")
	sam.want(connack)
	sam.send("30", "000e 746f6b7564752f616e64726f6964 6869")
	sam.send("e0", "")
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("after DISCONNECT: %d bytes, %v", n, err)
	}
	sub.want("3012 000e 746f6b7564752f616e64726f6964 6869")
}

func TestTakeoverOverTheWire(t *testing.T) {
	h := startHub(t, mqttfront.Options{})
	first := h.dial(5, 2, "same", connack5)
	second := h.dial(4, 2, "same", connack)
	got, err := io.ReadAll(first)
	if err != nil || len(got) < 3 || got[0] != 0xe0 || got[2] != 0x8e {
		t.Fatalf("the first connection got %x, %v", got, err)
	}
	second.quiet()
}

// What a member of a share refuses is discarded [MQTT-4.8.2-6]: neither another
// member nor the same one, when it is back, is sent it.
func TestRefusedByAMemberIsNobodyElses(t *testing.T) {
	for qos, refusal := range map[int]string{1: "40", 2: "50"} {
		for name, flags := range map[string]byte{"durable": 0, "clean": 2} {
			t.Run(fmt.Sprint(name, " QoS ", qos), func(t *testing.T) {
				h := startHub(t, mqttfront.Options{})
				join := func(id string) *peer {
					p := h.dial(5, flags, id, connack5)
					p.send("82", fmt.Sprintf("0001 00 000a %x %02x", "$share/g/t", qos))
					p.want(fmt.Sprintf("9004 0001 00 %02x", qos))
					return p
				}
				a := join("a")
				pub := h.dial(4, 2, "p", connack)
				pub.send(fmt.Sprintf("3%d", 2*qos), "0001 74 0007 6e6f")
				pub.want(fmt.Sprintf("%s 0007", map[int]string{1: "4002", 2: "5002"}[qos]))
				a.want(fmt.Sprintf("3%d08 0001 74 0001 00 6e6f", 2*qos))
				b := join("b")
				a.send(refusal, "0001 80")
				a.quiet()
				a.send("e0", "")
				if _, err := io.ReadAll(a); err != nil {
					t.Error(err)
				}
				pub.send("30", "0001 74 656e64") // all of the group is b's
				b.want("3007 0001 74 00 656e64")
				b.quiet()
				if flags == 0 {
					h.dial(5, flags, "a", present5).quiet()
				}
			})
		}
	}
}

func TestQoS1SurvivesASlowSubscriber(t *testing.T) {
	h := startHub(t, mqttfront.Options{QueueBytes: 16 << 10})
	sub, pub := h.dial(4, 0, "s", connack), h.dial(4, 2, "p", connack)
	sub.send("82", "0001 0001 61 01")
	sub.want("9003 0001 01")
	const n = 3000
	var sent sync.WaitGroup
	sent.Go(func() {
		for i := range n {
			pub.send("32", fmt.Sprintf("0001 61 %04x %0200x", i+1, i))
			pub.want(fmt.Sprintf("4002 %04x", i+1))
		}
	})
	for i := range n {
		sub.want(fmt.Sprintf("3269 0001 61 %04x %0200x", i+1, i))
		sub.send("40", fmt.Sprintf("%04x", i+1))
	}
	sent.Wait()
}

func TestLogins(t *testing.T) {
	h := startHub(t, mqttfront.Options{})
	registered := make(chan error, 1)
	h.router.Register("alice", "secret", func(_ string, err error) { registered <- err })
	if err := <-registered; err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]string{"secret": connack, "wrong!": "2002 0004"} {
		c, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		p := &peer{t, c}
		p.send("10", fmt.Sprintf("0004 4d515454 04 c2 003c 0001 63 0005 616c696365 0006 %x", password))
		p.want(want)
		p.Close()
	}
}

func TestDrainingOverTheWire(t *testing.T) {
	h := startHub(t, mqttfront.Options{})
	there := h.dial(5, 2, "there", connack5)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := h.front.Drain(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	there.want("e01b 9c 19 1c0001 62 1f0012") // use another server
	h.dial(5, 2, "late", "201c 00 9c 19 1c0001 62 1f0012")
	h.dial(4, 2, "older", "2002 0003")
}

func TestCountersAndShutdown(t *testing.T) {
	h := startHub(t, mqttfront.Options{})
	c := h.dial(5, 2, "c", connack5)
	c.send("30", "0001 61 00 6869")
	c.quiet()
	got := h.front.Counters()
	if got.Connections != 1 || got.Accepted != 1 || got.Received != 1 {
		t.Errorf("counters %+v", got)
	}
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		done <- h.front.Shutdown(ctx)
	}()
	rest, err := io.ReadAll(c)
	if err != nil || len(rest) < 3 || rest[2] != 0x8b {
		t.Errorf("on shutdown the client got %x, %v", rest, err)
	}
	c.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

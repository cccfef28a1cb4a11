package integration

import (
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pushhub/integration/hubtest"
)

var mutateFor = flag.Duration("mutations.for", 3*time.Second, "how long mutated packets are sent")

// wholeSessions are conversations that a hub takes from their first byte to their last.
func wholeSessions() [][]byte {
	ack := func(first byte, id byte) []byte { return packet(first, []byte{0, id}) }
	will5 := []byte{5, 0x18, 0, 0, 0, 1} // will delay
	five := slices.Concat(
		packet(0x10, str("MQTT"), []byte{5, 0x06, 0, 60, 11, 0x11, 0, 0, 0, 1, 0x21, 0, 10, 0x22, 0, 5}, str("m5"), []byte{len8(will5)}, will5, str("m/will"), str("gone")),
		packet(0x82, []byte{0, 1, 2, 0x0B, 7}, str("m/+/x"), []byte{2}, str("m/#"), []byte{0x2D}),
		packet(0x34, str("m/1/x"), []byte{0, 2, 21, 0x01, 1, 0x02, 0, 0, 0, 60, 0x03, 0, 4}, []byte("text"), []byte{0x26, 0, 1, 'k', 0, 1, 'v'}, []byte("payload")),
		packet(0x32, str("m/2/x"), []byte{0, 3, 13, 0x23, 0, 1, 0x08, 0, 1, 'r', 0x09, 0, 3, 1, 2, 3}, []byte("answer me")),
		packet(0x30, str(""), []byte{3, 0x23, 0, 1}, []byte("by alias")),
		ack(0x62, 2), ack(0x40, 1), ack(0x50, 1), ack(0x70, 1),
		packet(0xA2, []byte{0, 4, 0}, str("m/+/x")), packet(0xC0), packet(0xF0, []byte{0x18, 0}), packet(0xE0, []byte{4, 0}),
	)
	four := slices.Concat(
		packet(0x10, str("MQTT"), []byte{4, 0x2E, 0, 60}, str("m4"), str("m/will"), str("gone")),
		packet(0x82, []byte{0, 1}, str("m/#"), []byte{1}), packet(0x34, str("m/3"), []byte{0, 5}, []byte("two")), ack(0x62, 5),
		packet(0x32, str("m/4"), []byte{0, 6}, []byte("one")), packet(0x30, str("m/5"), []byte("zero")),
		packet(0xA2, []byte{0, 2}, str("m/#")), packet(0xC0), packet(0xE0),
	)
	three := slices.Concat(
		packet(0x10, str("MQIsdp"), []byte{3, 0x02, 0, 60}, str("m3")),
		packet(0x82, []byte{0, 1}, str("m/3"), []byte{0}), packet(0x34, str("m/3"), []byte{0, 7}, []byte("old")), ack(0x60, 7), packet(0xE0),
	)
	return [][]byte{five, four, three}
}

func len8(b []byte) byte { return byte(len(b)) }

// mutate changes a conversation in one to four places.
func mutate(rng *rand.Rand, all [][]byte) []byte {
	b := slices.Clone(all[rng.IntN(len(all))])
	for range 1 + rng.IntN(4) {
		at := rng.IntN(len(b))
		n := min(1+rng.IntN(16), len(b)-at)
		switch rng.IntN(7) {
		case 0:
			b[at] ^= 1 << rng.IntN(8)
		case 1:
			b[at] = byte(rng.IntN(256))
		case 2:
			b = slices.Delete(b, at, at+n)
		case 3:
			b = slices.Insert(b, at, slices.Clone(b[at:at+n])...)
		case 4:
			other := all[rng.IntN(len(all))]
			from := rng.IntN(len(other))
			b = slices.Insert(b, at, other[from:min(from+n*4, len(other))]...)
		case 5:
			b[at] = []byte{0, 1, 0x7F, 0x80, 0xFF}[rng.IntN(5)]
		case 6:
			b = b[:at+n]
		}
		if len(b) == 0 {
			return []byte{0}
		}
	}
	return b
}

// TestMutatedPacketsLeaveNothingBehind sends conversations that are broken in
// random places, on connections that end in random ways: the hub goes on, others
// notice nothing, and neither memory nor descriptors nor goroutines are left.
func TestMutatedPacketsLeaveNothingBehind(t *testing.T) {
	h := hubtest.StartHub(t, "--mqtt-session-expiry-max", "1s", "--mqtt-connect-timeout", "1s")
	others := newBystander(t, h)
	others.exchange(t)
	before := h.Resources(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var sent atomic.Int64
	attack := func(d time.Duration) {
		var attackers sync.WaitGroup
		end := time.Now().Add(d)
		for i := range 4 {
			rng := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // the same again by its seed
			seed++
			attackers.Go(func() {
				for all := wholeSessions(); time.Now().Before(end); sent.Add(1) {
					provoke(rng, h.MQTT, mutate(rng, all))
				}
			})
		}
		attackers.Wait()
		others.exchange(t)
	}
	attack(*mutateFor / 3)
	middle := h.Resources(t)
	attack(*mutateFor * 2 / 3)
	hubtest.Eventually(t, "the descriptors of all attackers are closed", func() bool { return h.Resources(t).Descriptors <= before.Descriptors })
	end := h.Resources(t)
	t.Logf("%d conversations; RSS %d MiB before, %d after a third, %d at the end; %d descriptors", sent.Load(), before.RSS>>20, middle.RSS>>20, end.RSS>>20, end.Descriptors)
	// What a hub takes at first is no growth: only a long run can tell.
	const slack, long = 32 << 20, 5 * time.Minute
	if *mutateFor >= long && end.RSS > middle.RSS+middle.RSS/4+slack {
		t.Errorf("resident memory grows: %d MiB after a third, %d at the end", middle.RSS>>20, end.RSS>>20)
	}
	h.Dump()
	if n := strings.Count(h.Logs(), "\ngoroutine "); n == 0 || n > 150 {
		t.Errorf("the hub has %d goroutines for two connections", n)
	}
}

// provoke is one conversation.
func provoke(rng *rand.Rand, address string, b []byte) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	if cut := rng.IntN(len(b) + 1); rng.IntN(3) == 0 {
		_, _ = conn.Write(b[:cut])
		b = b[cut:]
	}
	_, _ = conn.Write(b)
	switch rng.IntN(4) {
	case 0:
		_ = conn.(*net.TCPConn).SetLinger(0) // it ends with RST
		return
	case 1:
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Duration(rng.IntN(20)) * time.Millisecond))
	_, _ = io.Copy(io.Discard, conn)
}

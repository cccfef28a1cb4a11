package mqttfront

import (
	"encoding/binary"
	"fmt"
	"testing"

	"pushhub/core"
)

// publishes is a read's worth of publications of 100 bytes each, and how many they are.
func publishes(version int, qos byte) ([]byte, int) {
	var batch []byte
	n := 0
	for len(batch) < 64<<10-128 {
		body := append([]byte{0, 12}, "plant/7/temp"...)
		if qos > 0 {
			body = binary.BigEndian.AppendUint16(body, uint16(n%65535+1))
		}
		if version == 5 {
			body = append(body, 0)
		}
		body = append(body, make([]byte, 100)...)
		batch = append(appendLength(append(batch, 0x30|qos<<1), len(body)), body...)
		n++
	}
	return batch, n
}

func BenchmarkParse(b *testing.B) {
	for _, version := range []int{4, 5} {
		b.Run(fmt.Sprint("v", version), func(b *testing.B) {
			batch, n := publishes(version, 0)
			b.ReportAllocs()
			for b.Loop() {
				for rest := batch; len(rest) > 0; {
					var p publication
					f, err := nextFrame(rest, 1<<20)
					if err != nil || decodePublish(&p, f, byte(version)) != nil {
						b.Fatal(err)
					}
					rest = rest[f.size:]
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/message")
		})
	}
}

// BenchmarkEngine is one read of publications through the whole engine and out
// to that many subscribers' engines; the core between them is a fake.
func BenchmarkEngine(b *testing.B) {
	for _, c := range []struct {
		version     int
		qos         byte
		subscribers int
	}{{4, 0, 0}, {4, 0, 1}, {4, 0, 10}, {5, 0, 1}, {4, 1, 0}, {5, 1, 0}} {
		b.Run(fmt.Sprintf("v%d/qos%d/subs%d", c.version, c.qos, c.subscribers), func(b *testing.B) {
			opt := testOptions()
			opt.QueueBytes, opt.ReceiveMax = 1<<20, 1024
			pub := newRig(b, opt).connected(c.version)
			s := pub.hub.session
			s.quiet = true
			var links []*fakeLink
			for range c.subscribers {
				sub := newRig(b, opt).connected(c.version)
				s.fanout = append(s.fanout, sub.e)
				links = append(links, sub.link)
			}
			links = append(links, pub.link)
			batch, n := publishes(c.version, c.qos)
			var work core.Batch
			b.ReportAllocs()
			for b.Loop() {
				if used, err := pub.e.Input(&work, batch); err != nil || used != len(batch) {
					b.Fatal(used, err)
				}
				work.Flush()
				for _, l := range links {
					l.out = l.out[:0]
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/message")
		})
	}
}

// TestHotPathAllocatesNothing holds what the benchmarks show.
func TestHotPathAllocatesNothing(t *testing.T) {
	for _, version := range []int{4, 5} {
		for qos := range byte(2) {
			opt := testOptions()
			opt.QueueBytes, opt.ReceiveMax = 1<<20, 1024
			pub, sub := newRig(t, opt).connected(version), newRig(t, opt).connected(version)
			pub.hub.session.quiet = true
			pub.hub.session.fanout = []core.Device{sub.e}
			batch, _ := publishes(version, qos)
			var work core.Batch
			allocs := testing.AllocsPerRun(20, func() {
				if used, err := pub.e.Input(&work, batch); err != nil || used != len(batch) {
					t.Fatal(used, err)
				}
				work.Flush()
				sub.link.out, pub.link.out = sub.link.out[:0], pub.link.out[:0]
			})
			if allocs > 0 {
				t.Errorf("version %d, QoS %d: %v allocations a read", version, qos, allocs)
			}
		}
	}
}

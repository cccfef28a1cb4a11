package mqttfront_test

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"pushhub/mqttfront"
)

// BenchmarkHub is publications of 100 bytes through sockets, router and all: one
// publisher as fast as it may, so many subscribers. An op is one publication.
func BenchmarkHub(b *testing.B) {
	for _, subscribers := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("qos0/1to%d", subscribers), func(b *testing.B) {
			h := startHub(b, mqttfront.Options{QueueBytes: 64 << 20})
			frame := append([]byte{0x30, 114, 0, 12}, "plant/7/temp"...)
			frame = append(frame, make([]byte, 100)...)
			var readers sync.WaitGroup
			for i := range subscribers {
				sub := h.dial(4, 2, fmt.Sprint("s", i), connack)
				sub.send("82", "0001 000c 706c616e742f372f74656d70 00")
				sub.want("9003 0001 00")
				readers.Go(func() {
					if n, err := io.CopyN(io.Discard, sub, int64(b.N*len(frame))); err != nil {
						b.Errorf("after %d bytes: %v", n, err)
					}
				})
			}
			pub := h.dial(4, 2, "p", connack)
			var batch []byte
			for len(batch) < 64<<10 {
				batch = append(batch, frame...)
			}
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N * len(frame); left > 0; {
				n, err := pub.Write(batch[:min(left, len(batch))])
				if err != nil {
					b.Fatal(err)
				}
				left -= n
			}
			readers.Wait()
		})
	}
}

// BenchmarkRoundTrip is one publication at a time, QoS 0, to one subscriber.
func BenchmarkRoundTrip(b *testing.B) {
	h := startHub(b, mqttfront.Options{})
	c := h.dial(4, 2, "c", connack)
	c.send("82", "0001 0001 61 00")
	c.want("9003 0001 00")
	frame := append([]byte{0x30, 103, 0, 1, 'a'}, make([]byte, 100)...)
	got := make([]byte, len(frame))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil {
			b.Fatal(err)
		}
	}
}

package mqttfront

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pushhub/core"
	"pushhub/core/wire"
)

// A pacedLink is resumed by timers too, beside the test.
type pacedLink struct {
	*fakeLink
	woken chan struct{} // sent by Resume; capacity 1
}

func (l pacedLink) Resume() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// newPacedRig is a rig whose client may publish only so fast.
func newPacedRig(t *testing.T, rate, bytes, version int) (*rig, pacedLink) {
	opt := testOptions()
	opt.PublishRate, opt.PublishBytes = rate, bytes
	r := newRig(t, opt)
	l := pacedLink{r.link, make(chan struct{}, 1)}
	r.e.conn = l
	return r.connected(version), l
}

// publishedAfter sends frames, and tells when each was published.
func publishedAfter(t *testing.T, r *rig, l pacedLink, frame []byte, n int) []time.Duration {
	t.Helper()
	begun := time.Now()
	var at []time.Duration
	r.hub.session.onPublish = func() { at = append(at, time.Since(begun)) }
	r.in(bytes.Repeat(frame, n))
	for len(at) < n {
		if !errors.Is(r.err, wire.ErrPause) {
			t.Fatalf("after %d publications: %v", len(at), r.err)
		}
		<-l.woken
		r.in(nil)
	}
	return at
}

func TestPublishersKeepTheirRate(t *testing.T) {
	publish := "30 07 0001 61 31323334"
	for _, c := range []struct {
		name    string
		opt     Options
		version int
		frame   string
		rate    float64 // frames a second
	}{
		{"messages", Options{PublishRate: 10}, 4, publish, 10},
		{"many messages", Options{PublishRate: 2000}, 3, publish, 2000},
		{"bytes", Options{PublishBytes: 90}, 4, publish, 10},
		{"both, bytes first", Options{PublishBytes: 90, PublishRate: 1000}, 5, "30 07 0001 61 00 313233", 10},
		{"QoS 1", Options{PublishRate: 10}, 4, "32 05 0001 61 0007", 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, l := newPacedRig(t, c.opt.PublishRate, c.opt.PublishBytes, c.version)
				n := int(3.5 * c.rate)
				at := publishedAfter(t, r, l, fromHex(t, c.frame), n)
				for i, after := range at {
					due := time.Duration(max(0, float64(i)-c.rate) / c.rate * float64(time.Second))
					if after < due || after > due+time.Duration(float64(time.Second)/c.rate)+2*breath {
						t.Fatalf("publication %d came after %v, want about %v", i, after, due)
					}
				}
				if r.e.front.count.paused.Load() == 0 {
					t.Error("no pause was counted")
				}
			})
		})
	}
}

func TestPausedPublisherIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newPacedRig(t, 0, 10, 4) // one packet of 4000 bytes is paid for in more than six minutes
		r.in(append(fromHex(t, "30 a31f 0001 61"), make([]byte, 4000)...))
		r.in(fromHex(t, "30 03 0001 61"))
		for range 300 { // of a keep alive of 60 seconds
			time.Sleep(time.Second)
			if err := r.e.Tick(time.Now()); err != nil || r.link.closed {
				t.Fatalf("Tick: %v, closed: %v", err, r.link.cause)
			}
			r.in(nil)
		}
		if len(r.rest) == 0 {
			t.Error("it was not paused")
		}
	})
}

func TestRetriedPublicationIsPaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newPacedRig(t, 2, 0, 4)
		s := r.hub.session
		s.publish = core.ErrBusy
		r.in(fromHex(t, "32 05 0001 61 0001"))
		for range 5 {
			if err := r.e.Tick(time.Now()); err != nil {
				t.Fatal(err)
			}
			r.in(nil)
		}
		s.publish = nil
		if err := r.e.Tick(time.Now()); err != nil {
			t.Fatal(err)
		}
		r.expect("both", r.in(fromHex(t, "32 05 0001 61 0002")), "40020001 40020002")
	})
}

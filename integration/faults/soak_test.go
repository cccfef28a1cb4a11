package faults

import (
	"context"
	"flag"
	"testing"

	"pushhub/integration/hubtest"
)

var soakFor = flag.Duration("faults.soak", 0, "how long to soak a hub: stuck readers, reconnect churn, offline growth up to the limits")

// TestMemoryStaysFlat holds a hub's memory and descriptors in the last fifth of a
// soak against those in the third one.
func TestMemoryStaysFlat(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("a soak is asked for by -faults.soak=10m, or: make soak")
	}
	opt := options(t, hubtest.Binary(t))
	hub, err := NewHub(opt.Binary, opt.Dir, opt.Dir+"/data")
	if err != nil {
		t.Fatal(err)
	}
	hub.Extra = SoakArgs
	defer hub.Close()
	if _, err := hub.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), *soakFor)
	defer cancel()
	var samples []Sample
	err = Soak(ctx, hub, func(s Sample) {
		samples = append(samples, s)
		if n := len(samples); n%30 == 0 {
			t.Logf("%4.0f s: RSS %d MiB, %d descriptors; acknowledged %d, delivered %d, connects %d",
				s.At.Seconds(), s.RSS>>20, s.Descriptors, s.Acked, s.Delivered, s.Connects)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.Stop(); err != nil {
		t.Error(err)
	}
	for _, bad := range hub.Trouble() {
		t.Errorf("the hub's log says %q", bad)
	}
	middle, end := mean(samples, 2, 3), mean(samples, 4, 5)
	t.Logf("mean of the third fifth: RSS %d MiB, %d descriptors; of the last: %d MiB, %d", middle.RSS>>20, middle.Descriptors, end.RSS>>20, end.Descriptors)
	const slack = 16 << 20
	if end.RSS > middle.RSS+middle.RSS/10+slack || end.Descriptors > middle.Descriptors+20 {
		t.Error("the hub grows")
	}
	if end.Acked == middle.Acked || end.Delivered == middle.Delivered {
		t.Error("nothing moves any more")
	}
}

// mean is the average of the samples between two fifths.
func mean(samples []Sample, from, to int) (m Sample) {
	part := samples[len(samples)*from/5 : len(samples)*to/5]
	for _, s := range part {
		m.RSS += s.RSS
		m.Descriptors += s.Descriptors
		m.Acked, m.Delivered = s.Acked, s.Delivered
	}
	n := max(len(part), 1)
	m.RSS, m.Descriptors = m.RSS/int64(n), m.Descriptors/n
	return m
}

package wire

import "time"

// A Bucket says how fast something may go on: so much a second, after a second's
// worth at once. What is taken may exceed what is there, and is paid for later,
// so that no single thing is too large to pass. It belongs to one goroutine.
type Bucket struct {
	rate float64 // a second
	have float64
	at   time.Time
}

// NewBucket makes a full one; nil for a rate of 0 or less: no bound.
func NewBucket(rate float64) *Bucket {
	if rate <= 0 {
		return nil
	}
	return &Bucket{rate: rate, have: rate}
}

// Wait is how long it takes until something is there again; 0: it is there now.
func (k *Bucket) Wait(now time.Time) time.Duration {
	if k == nil {
		return 0
	}
	k.fill(now)
	if k.have >= min(1, k.rate) {
		return 0
	}
	return time.Duration((min(1, k.rate)-k.have)/k.rate*float64(time.Second)) + 1
}

// Take takes n.
func (k *Bucket) Take(now time.Time, n float64) {
	if k == nil {
		return
	}
	k.fill(now)
	k.have -= n
}

func (k *Bucket) fill(now time.Time) {
	if !k.at.IsZero() {
		k.have = min(k.rate, k.have+k.rate*max(0, now.Sub(k.at).Seconds()))
	}
	k.at = now
}

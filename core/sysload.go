package core

import (
	"math"
	"time"
)

// loadSpans are the times over which a load is averaged.
var loadSpans = [...]struct {
	name string
	span time.Duration
}{{"1min", time.Minute}, {"5min", 5 * time.Minute}, {"15min", 15 * time.Minute}}

// A load is how fast a counter rises, a minute, as exponential averages.
type load struct {
	last uint64
	avg  [len(loadSpans)]float64
}

// sample takes the counter's value, read that long after the one before. A
// counter that went back, as a sum does whose parts are not read at once, stood still.
func (l *load) sample(value uint64, elapsed time.Duration) {
	if elapsed <= 0 {
		return
	}
	rate := float64(max(value, l.last)-l.last) * float64(time.Minute) / float64(elapsed)
	l.last = max(value, l.last)
	for i, s := range loadSpans {
		l.avg[i] = rate + math.Exp(-float64(elapsed)/float64(s.span))*(l.avg[i]-rate)
	}
}

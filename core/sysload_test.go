package core

import (
	"math"
	"testing"
	"time"
)

func TestLoadIsAnExponentialAverage(t *testing.T) {
	var l load
	value := uint64(0)
	for range 6 { // a minute of 100 a second
		value += 1000
		l.sample(value, 10*time.Second)
	}
	for i, s := range loadSpans {
		want := 6000 * (1 - math.Exp(-float64(time.Minute)/float64(s.span)))
		if math.Abs(l.avg[i]-want) > 1e-6 {
			t.Errorf("%s is %f after a minute, want %f", s.name, l.avg[i], want)
		}
	}
	l.sample(value-500, 10*time.Second) // a sum whose parts are read one after the other
	if l.last != value || l.avg[0] < 0 {
		t.Errorf("a counter that went back: last %d, average %f", l.last, l.avg[0])
	}
	for range 1000 {
		l.sample(value, time.Minute)
	}
	if l.avg[0] > 0.001 {
		t.Errorf("the average of a counter at rest is %f", l.avg[0])
	}
}

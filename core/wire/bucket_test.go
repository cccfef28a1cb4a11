package wire

import (
	"testing"
	"time"
)

func TestBucketKeepsItsRate(t *testing.T) {
	for _, rate := range []float64{0.5, 1, 7, 1000, 1e6} {
		k, now := NewBucket(rate), time.Unix(0, 0)
		taken := 0.0
		for end := now.Add(20 * time.Second); now.Before(end); {
			wait := k.Wait(now)
			if wait > 0 {
				now = now.Add(max(wait, time.Millisecond))
				continue
			}
			k.Take(now, 1)
			taken++
		}
		if most := rate * 21; taken > most+1 || taken < most-rate-1 {
			t.Errorf("at %g a second, %g passed in 20 seconds", rate, taken)
		}
	}
}

func TestBucketLendsToWhatIsTooLarge(t *testing.T) {
	k, now := NewBucket(100), time.Unix(0, 0)
	k.Take(now, 1000)
	if wait := k.Wait(now); wait < 9*time.Second || wait > 9100*time.Millisecond {
		t.Errorf("nine hundred are owed, to be paid in %v", wait)
	}
	if wait := k.Wait(now.Add(9100 * time.Millisecond)); wait != 0 {
		t.Errorf("%v are left when it is paid", wait)
	}
	now = now.Add(time.Hour)
	k.Take(now, 100)
	if k.Wait(now) == 0 {
		t.Error("more than a second's worth was saved up")
	}
}

func TestNoBucketNeverWaits(t *testing.T) {
	k := NewBucket(0)
	k.Take(time.Unix(0, 0), 1e9)
	if wait := k.Wait(time.Unix(0, 0)); wait != 0 {
		t.Errorf("it waits %v", wait)
	}
}
